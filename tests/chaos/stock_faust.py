"""The same crash test on stock Faust and on railclear's transport, on the same broker: it must show a loss there and none here.

24 messages, number 15 cannot be decoded, an event takes longer than it is between two commits, kill -9 in the middle, started again, left in peace
until nothing more happens. Stock Faust acknowledges what it could not decode when it fetches it, ahead of what waits in its queue; when that is all
that is acknowledged yet, it commits past every message before it, processed or not.
"""
from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from agents.embedded import EmbeddedServers
from agents.embedded.processes import spawn, tail
from agents.runner.draft import DEAD_LETTERS
from agents.runner.stage import fold_flow
from agents.transport import faust_app
from agents.transport.faust_plugin import register
from streams.fold import Step, World
from tests.agents.runner_toy import NO_REFERENCE, Add, Factor, Sum, Summing, topics_of
from topics import codec

MESSAGES: Final = 24
POISON_AT: Final = 14
EVENT_S: Final = 0.6
"""How long an event takes."""
KILL_S: Final = 2.0
"""After the work has begun: some are done, most wait."""
QUIET_S: Final = 5.0
"""So long without a new event, and it is over."""
RESUME_S: Final = 45.0
"""By then the next worker has begun: start, and the time after which the broker gives the dead one up."""
SESSION_S: Final = 6
COMMIT_S: Final = 0.3
BEGUN: Final = {"ours": b" generation "}
"""What a worker logs just before it is given records, if it says nothing of the first record before the last one is done."""
LONG_S: Final = 60.0
ROOT: Final = Path(__file__).resolve().parents[2]


# -- the two workers -------------------------------------------------------------------------------------------------------
def stock_worker(bootstrap: str, directory: str) -> None:
    """A plain Faust app with a table, as its documentation shows one."""
    import asyncio

    import faust

    app = faust.App("stock", broker=f"kafka://{bootstrap}", datadir=directory, web_enabled=False, topic_partitions=1, topic_replication_factor=1,
                    broker_commit_interval=COMMIT_S, broker_session_timeout=SESSION_S, broker_heartbeat_interval=1, consumer_auto_offset_reset="earliest")
    inputs = app.topic("stock.in", value_type=int, value_serializer="json", key_type=bytes)
    outputs = app.topic("stock.out", value_serializer="json")
    seen = app.Table("seen", default=int, partitions=1)

    @app.agent(inputs)
    async def count(stream: Any) -> None:
        async for number in stream:
            await asyncio.sleep(EVENT_S)
            seen[str(number)] += 1
            await outputs.send(value=number)

    faust.Worker(app, loglevel="info", quiet=True).execute_from_commandline()


class Slow(Summing):
    """The toy fold with the same time per event. An event that is processed blocks the loop, which is worse than waiting."""

    def step(self, state: Sum | None, key: str, events: Any, world: World, now: int) -> Step[Sum]:
        time.sleep(EVENT_S * len(events))
        return super().step(state, key, events, world, now)

    def decode(self, value: bytes) -> Add | Factor:
        return codec.decode(value, Add | Factor)


def our_worker(bootstrap: str, directory: str) -> None:
    """A fold on railclear's transport."""
    app = faust_app.build(faust_app.TransportSettings(
        group="ours", bootstrap=bootstrap, session_timeout_s=SESSION_S, commit_interval_s=COMMIT_S, data_dir=directory))
    register(app, fold_flow(Slow("ours", "ours.in"), NO_REFERENCE))
    faust_app.run(app)


# -- the test --------------------------------------------------------------------------------------------------------------
def _run(name: str, servers: EmbeddedServers, values: list[bytes], output: str) -> set[int]:
    """Numbers of the messages that were processed, with a kill -9 on the way."""
    producer = KafkaProducer(bootstrap_servers=servers.bootstrap, acks="all")
    for number, value in enumerate(values):
        producer.send(f"{name}.in", value, key=b"k%d" % number)
    producer.flush()
    producer.close()
    log = servers.data / f"{name}.log"
    consumer = KafkaConsumer(output, bootstrap_servers=servers.bootstrap, auto_offset_reset="earliest", group_id=None)
    seen: set[int] = set()
    try:
        process = _start(name, servers, log)
        try:
            _watch(consumer, seen, lambda _: bool(seen) or (name in BEGUN and BEGUN[name] in log.read_bytes()), log)
            _watch(consumer, seen, lambda since: time.monotonic() - since > KILL_S, log)
        finally:
            process.kill()
            process.wait()
        before, began = len(seen), time.monotonic()
        process = _start(name, servers, log)
        try:
            _watch(consumer, seen, lambda since: len(seen) == MESSAGES - 1 or (time.monotonic() - since > QUIET_S and (
                len(seen) > before or time.monotonic() - began > RESUME_S)), log, restart=True)
        finally:
            process.kill()
            process.wait()
    finally:
        consumer.close()
    return seen


def _start(name: str, servers: EmbeddedServers, log: Path) -> subprocess.Popen[bytes]:
    data = servers.data / f"{name}-data"
    data.mkdir(exist_ok=True)
    with log.open("ab") as out:
        return spawn([sys.executable, "-m", "tests.chaos.stock_faust", name, servers.bootstrap, str(data)], cwd=ROOT, out=out, env={"PYTHONPATH": str(ROOT)})


def _watch(consumer: KafkaConsumer, seen: set[int], done: Callable[[float], bool], log: Path, *, restart: bool = False) -> None:
    """Collect what is said until `done`, which is given the instant from when to count: the start, or (with `restart`) the last new event."""
    since, end = time.monotonic(), time.monotonic() + LONG_S
    while not done(since):
        for records in consumer.poll(200).values():
            for record in records:
                number = _number(record.value)
                if restart and number not in seen:
                    since = time.monotonic()
                seen.add(number)
        if time.monotonic() > end:
            raise TimeoutError(f"nothing came of it: {tail(log)}")


def _number(value: bytes) -> int:
    said = json.loads(value)
    return said if isinstance(said, int) else int(said["key"][1:])


def compare() -> dict[str, Any]:
    """Loss of both: `valid` messages, `lost` by stock Faust, `ours_lost` by railclear's transport."""
    with EmbeddedServers(aot="use") as servers:
        admin = KafkaAdminClient(bootstrap_servers=servers.bootstrap)
        names = ("stock.in", "stock.out", DEAD_LETTERS, *topics_of(Summing("ours", "ours.in")))
        config = {"message.timestamp.type": "LogAppendTime"}
        admin.create_topics([NewTopic(n, 1, 1, topic_configs=config if n.endswith(".in") else {}) for n in names], wait_for_metadata=True)
        admin.close()
        valid = set(range(MESSAGES)) - {POISON_AT}
        stock = _run("stock", servers, [b"\xff{" if n == POISON_AT else b"%d" % n for n in range(MESSAGES)], "stock.out")
        ours = _run("ours", servers, [b"\xff{" if n == POISON_AT else msgspec.json.encode(Add(id=n)) for n in range(MESSAGES)], "ours.out")
    return {"valid": len(valid), "processed": len(stock & valid), "lost": len(valid - stock), "ours_processed": len(ours & valid),
            "ours_lost": len(valid - ours)}


if __name__ == "__main__":
    {"stock": stock_worker, "ours": our_worker}[sys.argv.pop(1)](sys.argv.pop(1), sys.argv.pop(1))
