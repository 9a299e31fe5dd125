"""TRAINS: per train name its runs, where they have been and will be, and what is on board.

`inputs` what is kept and merged · `line` where a position is on the route · `legs` the sides of the route · `stones` milestones · `boxes`
who is on board · `run` all of one run · `fold` the step. Pure: may import `topics` and the rest of `streams`.
"""
from streams.trains.fold import TrainsFold

__all__ = ["TrainsFold"]
