"""The ledger: a projection of the event log in PostgreSQL. Facts, statuses, alerts and outcomes, append-only, three times each.

`writer.py` fills it, `queries.py` reads it, `sql/` holds the schema. An outage of PostgreSQL stops nothing else.
"""
