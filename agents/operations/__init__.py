"""Tools for bad days: acts of operators sent and followed, input that waits, states rebuilt beside the old ones, a worker in the shadow.

What an act means is decided by intake and the folds; here is what needs Kafka and the ledger. Nothing else in `agents/` imports this but the
composition root and the command line.
"""
