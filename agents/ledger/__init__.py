"""The ledger: a projection of the event log in PostgreSQL. Facts, statuses, alerts and outcomes, append-only, three times each.

`writer.py` fills it (from where `origin.py` lets it; `gaps.py`: what people went on without), `queries.py` reads it, `sql/` holds the schema. An outage of
PostgreSQL stops nothing else.
"""
