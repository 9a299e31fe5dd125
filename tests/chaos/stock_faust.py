"""The same crash test on stock Faust and on railclear's transport, on the same broker: it must show a loss there and none here.

24 messages, number 15 cannot be decoded, an event takes longer than it is between two commits, kill -9 in the middle, started again, left in peace
until the group has acknowledged everything. Stock Faust acknowledges what it could not decode when it fetches it, ahead of what waits in its queue; when
that is all that is acknowledged yet, it commits past every message before it, processed or not. The kill comes when the broker holds such a commit, not
after a time; a worker that happens to make none, because its first event was done before its first commit, is tried again.
"""
from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import KafkaError

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
EVENT_S: Final = 0.4
"""How long an event takes."""
FIRST_S: Final = 2.0
"""And the first one: some commits pass while it is all that is done."""
KILL_AT: Final = 6
"""Where nothing is committed ahead, the worker is killed at this event."""
TRIES_MAX: Final = 3
LONG_S: Final = 120.0
"""For anything that is waited for: five times what a start and all events take."""
QUIET_S: Final = 2.0
"""After everything is acknowledged, for outputs that are on their way."""
SESSION_S: Final = 6
COMMIT_S: Final = 0.3
ROOT: Final = Path(__file__).resolve().parents[2]


def begins(number: int) -> None:
    """Into the worker's log."""
    print(f"event {number} begins", file=sys.stderr, flush=True)


def takes(number: int) -> float:
    """Seconds."""
    return EVENT_S if number else FIRST_S


# -- the two workers -------------------------------------------------------------------------------------------------------
def stock_worker(name: str, bootstrap: str, directory: str) -> None:
    """A plain Faust app with a table, as its documentation shows one."""
    import asyncio

    import faust

    app = faust.App(name, broker=f"kafka://{bootstrap}", datadir=directory, web_enabled=False, topic_partitions=1, topic_replication_factor=1,
                    broker_commit_interval=COMMIT_S, broker_session_timeout=SESSION_S, broker_heartbeat_interval=1, consumer_auto_offset_reset="earliest")
    inputs = app.topic(f"{name}.in", value_type=int, value_serializer="json", key_type=bytes)
    outputs = app.topic(f"{name}.out", value_serializer="json")
    seen = app.Table("seen", default=int, partitions=1)

    @app.agent(inputs)
    async def count(stream: Any) -> None:
        async for number in stream:
            begins(number)
            await asyncio.sleep(takes(number))
            seen[str(number)] += 1
            await outputs.send(value=number)

    faust.Worker(app, loglevel="info", quiet=True).execute_from_commandline()


class Slow(Summing):
    """The toy fold with the same time per event. An event that is processed blocks the loop, which is worse than waiting."""

    def step(self, state: Sum | None, key: str, events: Any, world: World, now: int) -> Step[Sum]:
        for event in events:
            begins(event.id)
            time.sleep(takes(event.id))
        return super().step(state, key, events, world, now)

    def decode(self, value: bytes) -> Add | Factor:
        return codec.decode(value, Add | Factor)


def our_worker(name: str, bootstrap: str, directory: str) -> None:
    """A fold on railclear's transport."""
    app = faust_app.build(faust_app.TransportSettings(
        group=name, bootstrap=bootstrap, session_timeout_s=SESSION_S, commit_interval_s=COMMIT_S, data_dir=directory))
    register(app, fold_flow(Slow(name, f"{name}.in"), NO_REFERENCE))
    faust_app.run(app)


# -- the test --------------------------------------------------------------------------------------------------------------
class Trial:
    """One program, its topics, and what it does with the messages."""

    def __init__(self, program: str, number: int, servers: EmbeddedServers, admin: KafkaAdminClient) -> None:
        self.program, self.name, self.servers, self.admin = program, f"{program}{number}", servers, admin
        self.log = servers.data / f"{self.name}.log"
        self.seen: set[int] = set()

    def committed(self) -> int:
        """What the group has acknowledged: the next offset that it would read."""
        try:
            found = self.admin.list_group_offsets(self.name).get(self.name, {})
        except KafkaError:  # there is no such group yet
            return 0
        return max([0, *(meta.offset for tp, meta in found.items() if tp.topic == f"{self.name}.in")])

    def begun(self) -> int:
        """Events that the worker has begun."""
        return self.log.read_bytes().count(b" begins") if self.log.exists() else 0

    def run(self, values: list[bytes]) -> bool:
        """Leaves in `seen` which were processed, with a kill -9 on the way. Returns whether the broker held, at the kill, a commit past what was not done."""
        producer = KafkaProducer(bootstrap_servers=self.servers.bootstrap, acks="all")
        for number, value in enumerate(values):
            producer.send(f"{self.name}.in", value, key=b"k%d" % number)
        producer.flush()
        producer.close()
        consumer = KafkaConsumer(f"{self.name}.out", bootstrap_servers=self.servers.bootstrap, auto_offset_reset="earliest", group_id=None)
        try:
            ahead = self._worked(consumer, lambda: self.committed() > POISON_AT or self.begun() >= KILL_AT) > POISON_AT >= self.begun()
            self._worked(consumer, lambda: self.committed() >= MESSAGES)
            self._poll(consumer, QUIET_S)
        finally:
            consumer.close()
        return ahead

    def _worked(self, consumer: KafkaConsumer, done: Callable[[], bool]) -> int:
        """Let a worker work until `done`, kill it, and say what is committed then."""
        data = self.servers.data / f"{self.name}-data"
        data.mkdir(exist_ok=True)
        with self.log.open("ab") as out:
            process = spawn([sys.executable, "-m", "tests.chaos.stock_faust", self.program, self.name, self.servers.bootstrap, str(data)], cwd=ROOT, out=out,
                            env={"PYTHONPATH": str(ROOT)})
        end = time.monotonic() + LONG_S
        try:
            while not done():
                self._poll(consumer, 0.1)
                if process.poll() is not None or time.monotonic() > end:
                    raise TimeoutError(f"{self.name}: committed {self.committed()}, {self.begun()} begun, exit code {process.poll()}: {tail(self.log)}")
        finally:
            process.kill()
            process.wait()
        return self.committed()

    def _poll(self, consumer: KafkaConsumer, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for records in consumer.poll(int(left * 1000) + 1).values():
                self.seen |= {_number(record.value) for record in records}


def _number(value: bytes) -> int:
    said = json.loads(value)
    return said if isinstance(said, int) else int(said["key"][1:])


def compare() -> dict[str, Any]:
    """Loss of both: `valid` messages, `lost` by stock Faust in the last of `tries`, `ours_lost` by railclear's transport."""
    valid = set(range(MESSAGES)) - {POISON_AT}
    with EmbeddedServers(aot="use") as servers:
        admin = KafkaAdminClient(bootstrap_servers=servers.bootstrap)
        try:
            _topics(admin, [DEAD_LETTERS])
            for tries in range(1, TRIES_MAX + 1):
                stock = Trial("stock", tries, servers, admin)
                _topics(admin, [f"{stock.name}.in", f"{stock.name}.out"])
                if stock.run([b"\xff{" if n == POISON_AT else b"%d" % n for n in range(MESSAGES)]):
                    break
            ours = Trial("ours", 1, servers, admin)
            _topics(admin, topics_of(Summing(ours.name, f"{ours.name}.in")))
            ours.run([b"\xff{" if n == POISON_AT else msgspec.json.encode(Add(id=n)) for n in range(MESSAGES)])
        finally:
            admin.close()
    return {"valid": len(valid), "processed": len(stock.seen & valid), "lost": len(valid - stock.seen), "tries": tries,
            "ours_processed": len(ours.seen & valid), "ours_lost": len(valid - ours.seen)}


def _topics(admin: KafkaAdminClient, names: Sequence[str]) -> None:
    config = {"message.timestamp.type": "LogAppendTime"}
    admin.create_topics([NewTopic(n, 1, 1, topic_configs=config if n.endswith(".in") else {}) for n in names], wait_for_metadata=True)


if __name__ == "__main__":
    {"stock": stock_worker, "ours": our_worker}[sys.argv.pop(1)](sys.argv.pop(1), sys.argv.pop(1), sys.argv.pop(1))
