"""Chaos on real Kafka: three brokers, PostgreSQL and worker processes, taken away in every way while simulated trains run.

A scenario is data (`plan`), `site` is what it happens to, `carry` carries it out, `checks` says from the logs alone what was lost.
"""
