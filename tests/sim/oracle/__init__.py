"""A second opinion on statuses: the same histories told in time order, written from status-model alone.

`walker`, `rows` and `histories` know `topics.facts` and nothing of the fold; `compare` sets the two against each other.
"""
