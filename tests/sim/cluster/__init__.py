"""A simulated cluster: brokers with skewed clocks, workers that crash, are paused or taken over, and a database, all in one process.

What is simulated is what surrounds railclear (log, group membership, producer, PostgreSQL). What runs on it is railclear's own code: intake,
the folds in `agents.runner.partition`, the restore of `agents.transport`, the effects in `streams.effects`, the rows and the transaction of
`agents.ledger`.
"""
