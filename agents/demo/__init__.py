"""The demo: embedded servers, workers and the simulator, watched from outside.

`driver.py` plays simulated messages, `crew.py` holds the worker processes, `watch.py` and `board.py` show what comes out, `reader.py` audits.
"""
