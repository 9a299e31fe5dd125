"""faust-streaming as its documentation shows it: an agent over a stream, a table with a changelog, one event at a time.

Usage: python -m tests.bench.reference.stock_faust BOOTSTRAP TOPIC GROUP PARTITIONS
"""
from __future__ import annotations

import sys
import tempfile
from typing import Any

import faust


def build(bootstrap: str, topic: str, group: str, partitions: int, data_dir: str) -> Any:
    """The app with its one agent."""
    app = faust.App(group, broker=f"kafka://{bootstrap}", store="memory://", topic_partitions=partitions, topic_replication_factor=1, datadir=data_dir,
                    broker_commit_interval=0.5, topic_disable_leader=True, web_enabled=False, key_serializer="raw", value_serializer="json",
                    consumer_auto_offset_reset="earliest")
    source = app.topic(topic, key_type=bytes, value_type=None, key_serializer="raw", value_serializer="json")
    table = app.Table("last", partitions=partitions)

    @app.agent(source)
    async def keep(stream: Any) -> None:
        async for key, value in stream.items():
            table[key] = value

    return app


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        made = build(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), directory)
        faust.Worker(made, loglevel="info").execute_from_commandline()
