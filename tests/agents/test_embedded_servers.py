"""Both servers together: what they leave behind in every way of ending, and the kept directory."""
from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from agents.embedded import EmbeddedError, EmbeddedServers, jars, read_servers, running
from agents.embedded.jars import cache_directory, class_path, locked

pytestmark = pytest.mark.integration

CHILD = Path(__file__).with_name("embedded_child.py")
ROOT = Path(__file__).resolve().parents[2]
GONE_S = 20.0
"""Generous: the machine may be busy. Measured: well below one second."""


@contextlib.contextmanager
def child(*arguments: str, before: tuple[str, ...] = ()) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    process = subprocess.Popen([*before, sys.executable, str(CHILD), *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT,
                               env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        assert said, "the child did not start its servers"
        yield process, json.loads(said)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def left_of(directory: str, pids: list[int]) -> list[str]:
    """Processes that are of a data directory, and shared memory that they made."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                    continue  # ended; its new parent has not noticed
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if int(entry.name) in pids or directory in command or os.readlink(entry / "cwd").startswith(directory):
                    found.append(f"{entry.name} {command[:60]}")
    memory = [row.split() for row in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    return found + [f"shared memory {row[1]}" for row in memory if int(row[4]) in pids]


def assert_nothing_left(told: dict[str, Any], *, data_too: bool) -> None:
    pids = [*told["pids"], *([told["reaper"]] if told["reaper"] else [])]
    end = time.monotonic() + GONE_S
    while (left := left_of(told["data"], pids) + ([told["data"]] if data_too and Path(told["data"]).exists() else [])) and time.monotonic() < end:
        time.sleep(0.05)
    assert left == []


def test_a_killed_process_leaves_no_server_no_shared_memory_and_no_temporary_data() -> None:
    with child("all") as (process, told):
        assert len(left_of(told["data"], [*told["pids"], told["reaper"]])) > 4, "the servers run, and this test sees them"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert_nothing_left(told, data_too=True)


def test_servers_of_a_killed_process_end_even_if_its_reaper_was_killed_first() -> None:
    with child("postgres") as (process, told):
        os.kill(told["reaper"], signal.SIGKILL)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert_nothing_left(told, data_too=False)
        shutil.rmtree(told["data"])


def test_a_process_killed_while_it_makes_a_database_leaves_no_shared_memory(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, str(CHILD), "postgres", str(tmp_path / "pg")], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
                               stdout=subprocess.DEVNULL)
    lines: list[str] = []
    while len(lines) < 7 and process.poll() is None:
        with contextlib.suppress(OSError):
            lines = (tmp_path / "pg" / "data.new" / "postmaster.pid").read_text().splitlines()
    process.kill()
    process.wait()
    assert len(lines) >= 7, "it was killed in the middle"
    assert_nothing_left({"data": str(tmp_path / "pg"), "pids": [abs(int(lines[0]))], "reaper": None}, data_too=False)


async def test_a_kept_directory_survives_a_kill_and_reopens_with_its_data(tmp_path: Path) -> None:
    keep = tmp_path / "kept"
    assert running(keep) is None
    with child("all", str(keep)) as (process, told):
        found = running(keep)
        assert found is not None
        assert (found.bootstrap, found.dsn) == (told["bootstrap"], told["dsn"])
        assert (keep / "servers.json").stat().st_mode & 0o077 == 0, "it holds a password"
        with pytest.raises(EmbeddedError, match=f"run already, started by process {process.pid}"):
            EmbeddedServers(keep=keep).start()
        admin = KafkaAdminClient(bootstrap_servers=found.bootstrap)
        admin.create_topics([NewTopic("kept", 1, 1)], wait_for_metadata=True)
        admin.close()
        producer = KafkaProducer(bootstrap_servers=found.bootstrap)
        producer.send("kept", b"written before the kill").get(30)
        producer.close()
        connection = await asyncpg.connect(found.dsn)
        await connection.execute("create table kept as select 42 as answer")
        process.send_signal(signal.SIGKILL)
        process.wait()
        connection.terminate()
        assert_nothing_left(told, data_too=False)
    assert running(keep) is None
    assert read_servers(keep) is not None

    async with EmbeddedServers(keep=keep, aot="use") as servers:
        assert running(keep) is not None
        assert servers.dsn == told["dsn"]
        connection = await asyncpg.connect(servers.dsn)
        assert await connection.fetchval("select answer from kept") == 42
        await connection.close()
        consumer = KafkaConsumer("kept", bootstrap_servers=servers.bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=30_000)
        assert next(consumer).value == b"written before the kill"
        consumer.close()
        begun = time.monotonic()
    assert time.monotonic() - begun < 5, "the promised limit of a stop"
    assert_nothing_left(told, data_too=False)
    closed = read_servers(keep)
    assert closed is not None
    assert closed.processes == ()
    with pytest.raises(EmbeddedError, match="made with 1 brokers, not 3"):
        EmbeddedServers(keep=keep, brokers=3).start()


def test_a_machine_without_a_java_cache_records_one_beside_the_work_and_gives_up_when_the_work_ends(embedded: EmbeddedServers, tmp_path: Path) -> None:
    assert embedded.bootstrap, "the cache is filled"
    shutil.copytree(cache_directory() / "jars", tmp_path / "jars")
    said: list[str] = []
    with EmbeddedServers(cache=tmp_path, on_progress=said.append) as servers:
        assert servers.recorder is not None
        told = {"data": str(servers.data), "pids": [p.pid for p in servers.processes], "reaper": None}
        begun = time.monotonic()
    assert time.monotonic() - begun < 5, "the promised limit of a stop"
    assert "run after" in said[-1]
    assert_nothing_left(told, data_too=True)
    assert not list(tmp_path.glob("*.aot"))
    assert not list(tmp_path.glob("*.new"))


def test_before_the_start_there_are_no_addresses() -> None:
    servers = EmbeddedServers()
    with pytest.raises(EmbeddedError, match="not started"):
        _ = servers.bootstrap
    servers.stop()


def test_a_servers_file_that_is_not_ours_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "servers.json").write_text('{"kafka": true}')
    with pytest.raises(EmbeddedError, match=r"servers\.json"):
        running(tmp_path)


def test_a_second_start_needs_no_network(embedded: EmbeddedServers) -> None:
    if os.geteuid() or subprocess.run(["unshare", "-n", "true"], check=False).returncode:
        pytest.skip("only root may take the network away")
    assert embedded.bootstrap, "the cache is filled"
    with child("offline", before=("unshare", "-n")) as (_, told):
        assert told["bootstrap"]


def test_with_a_filled_cache_nothing_is_fetched_and_a_damaged_jar_alone_is_fetched_again(
    embedded: EmbeddedServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert embedded.bootstrap, "the cache is filled"
    shutil.copytree(cache_directory() / "jars", tmp_path / "jars")
    asked: list[str] = []
    monkeypatch.setattr(jars, "fetch", lambda jar, repository: asked.append(jar.artifactId))
    said: list[str] = []
    whole = class_path(tmp_path, said.append)
    assert whole.count(".jar") == len(locked())
    assert (asked, said) == ([], [])
    with (tmp_path / "jars" / locked()[3].path).open("ab") as file:
        file.write(b"one byte too many")
    assert class_path(tmp_path, said.append) == whole
    assert asked == [locked()[3].artifactId]
    assert "fetching 1 of 45 jars" in said[0]
