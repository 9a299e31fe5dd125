"""Quix Streams: a stateful callback that keeps the last value. Runs in an environment of its own (requirements-quix.lock).

Usage: python quix.py BOOTSTRAP TOPIC GROUP
"""
import sys
import tempfile

from quixstreams import Application


def main(bootstrap: str, topic: str, group: str, directory: str) -> None:
    """Until killed."""
    app = Application(broker_address=bootstrap, consumer_group=group, auto_offset_reset="earliest", commit_interval=0.5, state_dir=directory,
                      loglevel="WARNING")
    source = app.topic(topic, key_deserializer="bytes", value_deserializer="json")

    def keep(value, state):  # type: ignore[no-untyped-def]
        state.set("last", value)
        return value

    app.dataframe(source).apply(keep, stateful=True)
    app.run()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as data:
        main(sys.argv[1], sys.argv[2], sys.argv[3], data)
