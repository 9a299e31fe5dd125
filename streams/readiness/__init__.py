"""READINESS: per train run (and per yard) how ready the boxes on board are for every side ahead. Pure; key = run id."""
from streams.readiness.fold import ReadinessFold
from streams.readiness.state import Run

__all__ = ["ReadinessFold", "Run"]
