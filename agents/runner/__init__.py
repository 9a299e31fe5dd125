"""Carries any fold of `streams` over batches of one partition: decode, group by key, step, effects, state, ticks, broadcasts.

`partition.py` and what it imports do no I/O and know no Kafka: the worker (`stage.py`) and the in-memory twin (`memory.py`)
run the same code.
"""
