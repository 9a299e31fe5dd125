"""The way in: bytes of an outside party are decoded, judged, stamped and routed to the folds. Pure; refusals go back to the sender.

`gate.py` holds the whole (Intake, IntakeResult), `reading.py` decodes, `checks.py` and `content.py` judge, `routing.py` addresses.
"""
from streams.intake.gate import STAGE, Intake, IntakeResult, intake

__all__ = ["STAGE", "Intake", "IntakeResult", "intake"]
