"""Intake on Kafka: one stateless flow over all outside topics. What is decided about a record is decided in `streams.intake`."""
from agents.intake.flow import effects_of, intake_flow, intake_process

__all__ = ["effects_of", "intake_flow", "intake_process"]
