"""The demo as a newcomer runs it: it ends well, accounts for everything, and leaves nothing behind however it ends."""
from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from agents import reference as reference_files
from agents.demo.reader import Reader
from agents.embedded import EmbeddedServers
from topics import registry as topic_registry
from topics.events.outputs import BatchOutcomes

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

COMMAND = [sys.executable, "-m", "agents.cli", "demo"]
ROOT = Path(__file__).resolve().parent.parent.parent
STOP_SECONDS_MAX = 25.0
"""Five times the stated 5 s: the machine is noisy."""
FIRST_STATUS_SECONDS_MAX = 75.0
"""Five times the stated 15 s."""


def start(*arguments: str, tmp: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"TMPDIR": str(tmp)}
    return subprocess.Popen([*COMMAND, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def family(root: int) -> set[int]:
    """Every process whose ancestors include `root`, and those started in sessions of its children."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found, frontier = set[int](), {root}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier} - found
        found |= frontier
    return found


def living(pids: set[int]) -> set[int]:
    alive = set()
    for pid in pids:
        try:
            if (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                alive.add(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return alive


def wait_for(condition: object, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """One whole run over every corridor, its data kept."""
    directory = tmp_path_factory.mktemp("kept")
    process = start("--for", "45s", "--trains", "13", "--json", "--keep", str(directory), tmp=tmp_path_factory.mktemp("tmp"))
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, f"exit {process.returncode}\n{out[-2000:]}\n{err[-4000:]}"
    return directory, msgspec.json.decode(out.strip().splitlines()[-1])


def test_every_record_is_accounted_for_and_the_dead_letters_are_those_that_were_sent(kept: tuple[Path, dict[str, object]]) -> None:
    said = kept[1]
    assert said["unaccounted"] == 0
    assert said["ledger_behind"] == 0
    assert said["dead_letters"] == said["expected_dead_letters"]


def test_the_first_status_comes_soon_after_the_brokers_are_up(kept: tuple[Path, dict[str, object]]) -> None:
    first = kept[1]["first_status_s"]
    assert isinstance(first, float)
    assert 0 < first <= FIRST_STATUS_SECONDS_MAX


def test_at_least_eight_states_are_reached_on_all_corridors(kept: tuple[Path, dict[str, object]]) -> None:
    said = kept[1]
    statuses, corridors = said["statuses"], said["corridors"]
    assert isinstance(statuses, dict)
    assert isinstance(corridors, list)
    assert len(statuses) >= 8
    known = {c.id for c in reference_files.load(None).corridors.values() if c.enabled}
    assert set(corridors) == known


def test_the_reader_sees_one_record_that_lost_its_outcome(kept: tuple[Path, dict[str, object]]) -> None:
    directory = kept[0]
    known = reference_files.load(None)
    with EmbeddedServers(keep=directory) as servers:
        registry = topic_registry.build(known.parties.values(), known.authorities.values(), known.crossings.values(), partitions=servers.partitions)
        place = asyncio.run(single_outcome(servers.bootstrap, [s.name for s in registry.by_kind("outcomes")]))
        reader = Reader(servers.bootstrap, registry, (), ())
        assert asyncio.run(reader.account()).unaccounted == 0
        assert asyncio.run(reader.account(skip=place)).unaccounted == 1


async def single_outcome(bootstrap: str, topics: list[str]) -> tuple[str, int, int]:
    """Where an outcome record lies that covers one offset only, which no other record covers."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest")
    await consumer.start()
    covers: dict[tuple[str, int, int], list[tuple[str, int, int]]] = {}
    try:
        partitions = [TopicPartition(t, p) for t in topics for p in consumer.partitions_for_topic(t) or {0}]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                for record in records:
                    said = msgspec.json.decode(record.value, type=BatchOutcomes)
                    for offset in range(said.first, said.last + 1):
                        covers.setdefault((said.topic, said.partition, offset), []).append((tp.topic, tp.partition, record.offset))
    finally:
        await consumer.stop()
    alone = {places[0] for places in covers.values() if len(places) == 1}
    width: dict[tuple[str, int, int], int] = {}
    for places in covers.values():
        for place in places:
            width[place] = width.get(place, 0) + 1
    return next(place for place in sorted(alone) if width[place] == 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_behind_however_it_ends(number: signal.Signals, tmp_path: Path) -> None:
    process = start("--for", "120s", "--trains", "2", tmp=tmp_path)
    try:
        assert wait_for(lambda: len(family(process.pid)) >= 5, 120), "servers and workers did not start"
        time.sleep(5)
        children = family(process.pid)
        process.send_signal(number)
        code = process.wait(STOP_SECONDS_MAX)
        assert code == (130 if number == signal.SIGINT else -signal.SIGKILL)
        assert wait_for(lambda: not living(children), STOP_SECONDS_MAX), f"still running: {living(children)}"
        assert wait_for(lambda: not list(tmp_path.glob("railclear-*")), STOP_SECONDS_MAX), f"left: {list(tmp_path.glob('railclear-*'))}"
    finally:
        process.kill()
        process.communicate()
