"""Apache Kafka and PostgreSQL on this machine, from wheels: for the demo, for one-machine use and for every test that needs a server.

May start processes and write to its cache and data directories; knows nothing of topics, folds or settings.
"""
from agents.embedded.kafka import Broker, cluster
from agents.embedded.postgres import Postgres
from agents.embedded.processes import EmbeddedError
from agents.embedded.servers import EmbeddedServers, ServersFile, read_servers, running

__all__ = ["Broker", "EmbeddedError", "EmbeddedServers", "Postgres", "ServersFile", "cluster", "read_servers", "running"]
