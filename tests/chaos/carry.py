"""Carries a scenario out: servers and workers up, messages sent, faults done at their time, everything drained, everything checked."""
from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

from agents.demo.reader import NotDrained, Reader
from agents.ledger.verify import verify
from agents.ledger.writer import TOPICS as LEDGER_TOPICS
from agents.runner.clock import Clock
from agents.settings import STAGES
from tests.chaos.checks import Found, ahead, check
from tests.chaos.load import Load, messages
from tests.chaos.logs import Logs, read
from tests.chaos.outputs import BESIDE, OUTWARD, Span
from tests.chaos.plan import Act, Row, Scenario
from tests.chaos.progress import progress
from tests.chaos.site import GROUP, Site, Worker
from tests.sim.worlds import topics
from topics.registry import Kind

Say = Callable[[str], None]
DRAIN_S: Final = 240.0
LEDGER_S: Final = 120.0
LOOKS: Final = 5
QUIET_S: Final = 5.0
"""When all is read, for what is said a while later: five times as long as READINESS waits between two words on a train."""
SOON_MS: Final = 1_000
LATE_MS: Final = 5_000
"""What somebody who is gone had handed to its sockets is written by then, if the broker is there."""
NOTICED_MS: Final = 30_000
"""Who ends itself has lost its lanes at most so long before: five times the session."""
LEAVE_S: Final = 25.0
"""After SIGTERM a worker ends within 5 s; a bound is five times the limit."""
REFUSED: Final = ("AuthorizationFailed", "Not authorized", "not authorized", "is not granted", "may not be described")
"""How Kafka, its client, or a worker says that a right is missing."""
STAMP: Final = re.compile(r"^(\[[^]]*\] )*")
SAID_CHARS: Final = 240
DONE_TO_THEM: Final = frozenset({"-9", "0"})
"""Exit codes of workers that somebody ended. With another one the ends of their logs are shown: it is not wrong, but wants to be understood."""
KINDS: Final[tuple[Kind, ...]] = (
    "inbound", "fold_in", "state", "outcomes", "dead_letters", "clearance_status", "clearance_history", "alerts", *OUTWARD, *BESIDE)


class Run:
    """One scenario on one site."""

    def __init__(self, scenario: Scenario, say: Say = print, keep: Path | None = None, site: Site | None = None) -> None:
        self.scenario, self.say, self.keep = scenario, say, keep
        self.site = site or Site(workers=scenario.workers, exactly_once=scenario.exactly_once, secured=scenario.secured, static=scenario.static)
        self.instants: list[int] = []
        """When waiting counts from, ms UTC: of a kill when it is done, of what has an end when it is over."""
        self.beside: list[int] = []
        """The same of acts on what no partition depends on: PostgreSQL."""
        self.cuts: list[Span] = []
        """When somebody may have been cut short in the middle of what it said, ms UTC."""
        self.away: list[Span] = []
        """When a broker was away: what somebody who is gone had sent may be written only after that."""
        self.kills = 0
        self.faults: list[str] = []
        self.noticed: list[str] = []
        self._acted_on_broker = asyncio.Lock()
        """On a busy machine a broker that starts again is not back when the next act comes, which waits for it: two that are away at once are what another
        scenario is for."""

    async def row(self) -> Row:
        """Raises EmbeddedError, TimeoutError when the site does not come up, or does not come back after an act."""
        begun = time.monotonic()
        what, base = messages(self.scenario.trains, self.scenario.seed)
        clock = Clock(origin=time.time_ns() // 1000, base=base)
        load: Load | None = None
        found, logs = Found(), Logs()
        try:
            await asyncio.to_thread(self.site.start, clock.origin, clock.base)
            self.say(f"  {self.scenario.name}: up after {time.monotonic() - begun:.0f} s, {len(what)} messages in {self.scenario.seconds:.0f} s")
            load = Load(self.site.quorum.bootstrap, self.site.client(), what)
            await load.start()
            await self._play(load)
            await self._drain()
            logs, kept = await self._all()
            self._save(logs)
            found = await asyncio.to_thread(check, logs, load.acknowledged, clock, kept, exactly_once=self.scenario.exactly_once,
                                            cuts=self._cuts())
            self._killed()
        finally:
            if load is not None:
                await load.stop()
            said, ends = self.site.said(6000), self.site.ends
            if self.keep is not None:
                self.site.keep_logs(self.keep / self._file)
            left = await asyncio.to_thread(self.site.close)
        if self.faults or found.faults or not set(self.site.exits) <= DONE_TO_THEM:
            self.say(said)
        return self._row(begun, load, found, logs, left, ends)

    def _row(self, begun: float, load: Load | None, found: Found, logs: Logs, left: list[str], ends: dict[str, int]) -> Row:
        waited = progress(logs, self.instants, self.beside)
        return Row(
            name=self.scenario.name, mode=self.scenario.mode, seed=self.scenario.seed, seconds=round(time.monotonic() - begun, 1),
            inputs=len(load.acknowledged) if load else 0, poison=len(load.poison) if load else 0, records=found.records, lost=found.lost,
            wrong_keys=found.wrong_keys, backwards=found.backwards, repeated_revisions=found.repeated_revisions, duplicates=found.duplicates,
            duplicates_of=found.duplicates_of, outputs=found.outputs, wrong_outputs=found.wrong_outputs, output_duplicates=found.output_duplicates,
            readiness_duplicates=found.readiness_duplicates, interrupted=found.interrupted, worker_restarts=self.site.restarts, exit_codes=self.site.exits,
            ends=ends, first_progress_s=waited.after_act, progress_s_max=self.scenario.progress_s_max, no_progress_s=waited.in_all,
            no_progress_s_max=self.scenario.no_progress_s_max, slowest=waited.where, noticed=tuple(self.noticed), faults=(*self.faults, *found.faults, *left))

    # -- the run -------------------------------------------------------------------------------------------------------------
    async def _play(self, load: Load) -> None:
        supervising, under_way = asyncio.create_task(self._supervise()), list[asyncio.Task[None]]()
        try:
            loading = asyncio.create_task(load.run(self.scenario.seconds))
            begun = time.monotonic()
            acting = [asyncio.create_task(self._act(act, begun)) for act in self.scenario.acts]
            under_way += [loading, *acting]
            await asyncio.gather(*under_way)
        finally:
            for task in (supervising, *under_way):          # when one has failed, others wait for their time, or for a broker
                task.cancel()
            await asyncio.gather(supervising, *under_way, return_exceptions=True)

    async def _supervise(self) -> None:
        while True:
            await asyncio.to_thread(self.site.supervise)
            await asyncio.sleep(0.1)

    async def _drain(self) -> None:
        """Until every stage has read all."""
        supervising = asyncio.create_task(self._supervise())
        site = self.site
        reader = Reader(site.quorum.bootstrap, topics(), (GROUP,), (), site.client())
        try:
            await reader.drained(seconds_max=DRAIN_S)
        except NotDrained as error:
            self.faults += [str(error), *[await asyncio.to_thread(w.verdict) for w in site.workers], *await asyncio.to_thread(site.transactions)]
        finally:
            supervising.cancel()
            await asyncio.gather(supervising, return_exceptions=True)

    async def _all(self) -> tuple[Logs, dict[tuple[str, int], tuple[int, bytes]]]:
        """The log, and where the ledger stands when it has had time to write it. Workers still run and may say an alert meanwhile: then both once more."""
        names = {spec.name for kind in KINDS for spec in topics().by_kind(kind)}
        supervising = asyncio.create_task(self._supervise())
        try:
            connection = await asyncpg.connect(self.site.postgres.dsn, timeout=10, command_timeout=60)
            try:
                await asyncio.sleep(QUIET_S)
                for _ in range(LOOKS):
                    logs = await read(self.site.quorum.bootstrap, self.site.client(), names)
                    kept = await self._ledger(connection, logs)
                    if not ahead(logs, kept):
                        break
                self.faults += [f"ledger {b.topic}/{b.partition}/{b.offset}: {b.reason}" for b in (await verify(connection)).broken]
            finally:
                await connection.close()
        finally:
            supervising.cancel()
            await asyncio.gather(supervising, return_exceptions=True)
        return logs, kept

    async def _ledger(self, connection: asyncpg.Connection, logs: Logs) -> dict[tuple[str, int], tuple[int, bytes]]:
        """Next offset and last link of each partition, when every record is in. Records count, not end offsets: those include markers of transactions."""
        mine = {*LEDGER_TOPICS, *(f"outcomes.{s}" for s in STAGES if s != "ledger")}
        wanted = {place: records[-1].offset + 1 for place, records in logs.parts.items() if place[0] in mine}
        end = time.monotonic() + LEDGER_S
        while True:
            rows = await connection.fetch("select topic, part, next_offset, hash from ledger_offset")
            kept = {(row["topic"], row["part"]): (row["next_offset"], row["hash"]) for row in rows}
            behind = sum(max(0, after - kept.get(place, (0, b""))[0]) for place, after in wanted.items())
            if behind == 0 or time.monotonic() > end:
                break
            await asyncio.sleep(0.5)
        if behind:
            self.faults.append(f"the ledger lacks {behind} records {LEDGER_S:.0f} s after the stages have read all")
        return kept

    @property
    def _file(self) -> str:
        return f"{self.scenario.name}-{self.scenario.mode}".replace(" ", "-").replace(",", "")

    def _save(self, logs: Logs) -> None:
        """For looking into a fault: all records, msgpack."""
        if self.keep is not None:
            self.keep.mkdir(parents=True, exist_ok=True)
            file = self.keep / f"{self._file}.msgpack"
            file.write_bytes(msgspec.msgpack.encode([list(records) for records in logs.parts.values()]))

    def _cuts(self) -> list[Span]:
        """Nobody was cut short when no worker was killed, frozen, or ended by itself."""
        cuts = [*self.cuts, *((at - NOTICED_MS, at + LATE_MS) for at in self.site.ended)]
        return [*cuts, *self.away] if cuts else []

    def _killed(self) -> None:
        """Every kill was one."""
        died = self.site.exits.get("-9", 0)
        if died != self.kills:
            self.faults.append(f"{self.kills} workers were killed here, {died} have died of it")

    # -- the acts ------------------------------------------------------------------------------------------------------------
    async def _act(self, act: Act, begun: float) -> None:
        await asyncio.sleep(max(0.0, begun + act.at - time.monotonic()))
        kind = act.whom.partition(":")[0]
        if kind == "worker" or act.do == "join":
            await self._worker(act)
        elif kind == "postgres":
            await self._postgres(act)
        elif kind in ("topic", "group"):
            await self._rights(act)
        elif act.whom == "two brokers":
            await self._brokers(act, [2, 3])
        else:
            await self._broker(act)

    def _now(self) -> None:
        self.instants.append(_ms())

    async def _worker(self, act: Act) -> None:
        site = self.site
        worker = site.spare[int(act.whom.partition(":")[2])] if act.do == "join" else site.workers[int(act.whom.partition(":")[2])]
        self.say(f"  {act.do} {worker.name}")
        if act.do == "kill":
            await self._kill(worker)
        elif act.do == "freeze":
            await self._runs(worker)
            worker.signal(signal.SIGSTOP)
            self._now()
            begun = _ms()
            await asyncio.sleep(act.seconds)
            worker.signal(signal.SIGCONT)
            self.cuts.append((begun, _ms() + LATE_MS))
        elif act.do == "join":
            site.hire(worker)
            await asyncio.sleep(act.seconds)
            site.dismiss(worker)
            self._now()
        else:
            await self._leave(worker, act.seconds)

    async def _runs(self, worker: Worker) -> None:
        """Nothing can be done to a worker that is down: what is to be done to it waits until it is started again."""
        end = time.monotonic() + LEAVE_S
        while not worker.running:
            if time.monotonic() > end:
                raise TimeoutError(f"{worker.name} was not started again in {LEAVE_S:.0f} s")
            await asyncio.sleep(0.05)

    async def _kill(self, worker: Worker) -> None:
        """Until one has died of it, and has not ended by itself just before."""
        code = 0
        while code != -signal.SIGKILL:
            await self._runs(worker)
            process = worker.process
            assert process is not None
            worker.signal(signal.SIGKILL)
            at = _ms()
            code = await asyncio.to_thread(process.wait)
        self.kills += 1
        self.instants.append(at)
        self.cuts.append((at - SOON_MS, at + LATE_MS))

    async def _leave(self, worker: Worker, seconds: float) -> None:
        self.site.dismiss(worker)
        self._now()
        await asyncio.sleep(seconds)
        end = time.monotonic() + LEAVE_S - seconds
        while worker.running and time.monotonic() < end:
            await asyncio.sleep(0.1)
        if worker.running:
            self.faults.append(f"{worker.name} has not ended {LEAVE_S:.0f} s after SIGTERM")
            worker.signal(signal.SIGKILL)
        if worker.process is not None:
            await asyncio.to_thread(worker.process.wait)
        self.site.hire(worker)

    async def _broker(self, act: Act) -> None:
        """Who has the part is asked when all are back: it may have passed to another meanwhile."""
        async with self._acted_on_broker:
            await self._away(act, [await asyncio.to_thread(self.site.node, act.whom)])

    async def _brokers(self, act: Act, nodes: list[int]) -> None:
        async with self._acted_on_broker:
            await self._away(act, nodes)

    async def _away(self, act: Act, nodes: list[int]) -> None:
        brokers = [self.site.quorum.broker(n) for n in nodes]
        self.say(f"  {act.do} {act.whom}: {', '.join(f'broker {n}' for n in nodes)} for {act.seconds:.0f} s")
        begin = {"kill": lambda b: b.kill(), "freeze": lambda b: b.freeze(), "stop": lambda b: b.stop()}[act.do]
        for broker in brokers:
            await asyncio.to_thread(begin, broker)
        if len(nodes) == 1:
            self._now()
        begun = _ms()
        await asyncio.sleep(act.seconds)
        if act.do == "freeze":
            for broker in brokers:
                broker.thaw()
        else:
            for broker in brokers:  # all of them before waiting for one: alone it has no quorum
                self.site.start_broker(broker)
            for broker in brokers:
                await asyncio.to_thread(broker.wait)
        self.away.append((begun, _ms() + LATE_MS))
        if len(nodes) > 1:
            self._now()
        await asyncio.to_thread(self.site.quorum.wait_whole)

    async def _postgres(self, act: Act) -> None:
        postgres = self.site.postgres
        self.say(f"  {act.do} postgres for {act.seconds:.0f} s")
        begin: dict[str, Callable[[], None]] = {"kill": postgres.kill, "freeze": postgres.freeze, "stop": postgres.stop}
        await asyncio.to_thread(begin[act.do])
        self.beside.append(_ms())  # statuses must not wait for it
        await asyncio.sleep(act.seconds)
        if act.do == "freeze":
            postgres.thaw()
        else:
            await asyncio.to_thread(self.site.restart_postgres)

    async def _rights(self, act: Act) -> None:
        """A worker that may not read something must say so, naming it and the right, and go on when it may."""
        site, what = self.site, GROUP if act.whom == "group" else act.whom.partition(":")[2]
        self.say(f"  revoke READ on {what} for {act.seconds:.0f} s")
        before = {worker: worker.written() for worker in site.workers}
        await asyncio.to_thread(site.rights, act.whom, granted=False)
        await asyncio.sleep(act.seconds)
        for worker, since in before.items():
            said = refusal(worker.wrote(since), what)
            self.say(f"  {worker.name}: {said or 'says nothing of it'}")
            if said:
                self.noticed.append(f"{worker.name}: {said}")
            else:
                self.faults.append(f"{worker.name} has not said in {act.seconds:.0f} s that it may not read {what}")
        await asyncio.to_thread(site.rights, act.whom, granted=True)
        self._now()


def _ms() -> int:
    """Now, ms UTC."""
    return time.time_ns() // 1_000_000


def refusal(written: str, what: str) -> str:
    """The first line of a log that names what may not be read and says that it may not; empty when there is none."""
    return next((STAMP.sub("", line)[:SAID_CHARS].strip() for line in written.splitlines() if what in line and any(word in line for word in REFUSED)), "")


async def carry(scenario: Scenario, say: Say = print, keep: Path | None = None) -> Row:
    """The row of one run."""
    return await Run(scenario, say, keep).row()
