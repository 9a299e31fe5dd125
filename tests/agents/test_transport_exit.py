"""How a worker ends: when a service of Faust's crashes, with the code of any other crash, after its own cleaning up; and when another has its name."""
from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, UnknownMemberIdError
from faust.transport.drivers import aiokafka as driver

from agents.embedded.processes import free_ports
from agents.ledger import writer
from agents.transport import faust_app, faust_plugin, faust_thread, stop
from agents.transport.fatal import EXIT_CRASH
from agents.transport.lane import boot_clock

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from agents.runner.stage import fold_flow
from agents.transport.faust_app import TransportSettings, build, run
from agents.transport.faust_plugin import register
from tests.agents.runner_toy import NO_REFERENCE, Summing

app = build(TransportSettings(group="g", bootstrap=sys.argv[1], data_dir=sys.argv[2]))
register(app, fold_flow(Summing("toy", "toy.in"), NO_REFERENCE))
try:
    run(app)
finally:
    print("cleaned up")
"""


def test_a_crash_of_fausts_own_services_ends_with_our_code_and_is_named(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    ended = subprocess.run([sys.executable, "-c", PROGRAM, nobody, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == EXIT_CRASH, ended.stderr
    assert "cleaned up" in ended.stdout
    assert "FATAL a service of the worker crashed: KafkaConnectionError" in ended.stderr


STOPPING = """
import asyncio, sys, time
from concurrent.futures import ThreadPoolExecutor
import mode
from agents.transport import stop

stop.SLOW_S, stop.ENDLESS_S = 0.5, float(sys.argv[2])

class Forgets(mode.Service):
    @mode.Service.task
    async def _goes_on(self):
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass

class Blocks(mode.Service):
    async def on_stop(self):
        time.sleep(3600)

class Slow(mode.Service):
    async def on_stop(self):
        await asyncio.sleep(2)

class Disk(mode.Service):
    async def on_stop(self):
        ThreadPoolExecutor(1).submit(time.sleep, 3600)

class Quick(mode.Service): ...

class Worker(stop.Bounded):
    async def on_started(self):
        print("started", flush=True)
        await super().on_started()

Worker(globals()[sys.argv[1]](), loglevel="warning", redirect_stdouts=False).execute_from_commandline()
"""
FOREVER = "FATAL the worker does not stop in 2 s, it waits for "
SLOW = "the worker has not stopped in 0 s, it waits for "


@pytest.mark.parametrize(
    ("service", "endless_s", "code", "says", "never"),
    [
        ("Forgets", 2, EXIT_CRASH, [SLOW + "Forgets._goes_on > sleep (tasks.py:", FOREVER + "Forgets._goes_on > sleep (tasks.py:"], ""),
        ("Blocks", 2, EXIT_CRASH, [SLOW, FOREVER], ""),
        ("Disk", 2, EXIT_CRASH, [SLOW, FOREVER], ""),
        ("Slow", 300, 0, [SLOW], "FATAL"),
        ("Quick", 300, 0, [], "FATAL"),
    ],
)
def test_a_stop_that_does_not_end_is_ended_and_says_what_it_waits_for(service: str, endless_s: int, code: int, says: list[str], never: str) -> None:
    """A task that missed its cancellation has kept a worker for ever that had given up its partitions. Faust also waits for threads, in the loop's own."""
    worker = subprocess.Popen([sys.executable, "-c", STOPPING, service, str(endless_s)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "started\n"
        worker.terminate()
        _, logged = worker.communicate(timeout=120)
    finally:
        worker.kill()
    assert worker.returncode == code, logged
    assert [line in logged for line in says] == [True] * len(says), logged
    assert not never or never not in logged


def test_a_worker_has_that_end_and_it_is_far_beyond_what_a_stop_takes() -> None:
    assert issubclass(faust_app.Worker, stop.Bounded)
    parts = faust_plugin.DRAIN_S + faust_plugin.COMMIT_TIMEOUT_S + faust_plugin.SNAPSHOTS_AT_EXIT_S + 4 * stop.STOP_S
    assert parts <= 45 < stop.SLOW_S
    assert 5 * (parts + 2 * writer.STOP_SECONDS_MAX) <= stop.ENDLESS_S


@pytest.mark.parametrize("instance", ["one", ""])
async def test_a_replaced_static_member_that_hears_of_it_at_a_commit_ends_instead_of_joining_again(monkeypatch: pytest.MonkeyPatch, instance: str) -> None:
    """It would throw out whoever has its name now. A dynamic member joins again under a new id."""

    class Ended(Exception):
        pass

    def ended(what: str, error: Exception | None = None) -> None:
        raise Ended(f"{what}: {error}")

    async def nothing(_: Any) -> None: ...

    async def unknown(assignment: Any, offsets: Any) -> None:
        raise UnknownMemberIdError("g")

    monkeypatch.setattr(faust_thread, "fatal", ended)
    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_start", nothing)
    coordinator = SimpleNamespace(member_id="m", _do_heartbeat=None, _do_commit_offsets=unknown, _push_error_to_user=None)
    thread = object.__new__(faust_thread.Thread)
    thread.app = SimpleNamespace(client_only=False, conf=SimpleNamespace(consumer_group_instance_id=instance, broker_session_timeout=10))
    thread._consumer = SimpleNamespace(_coordinator=coordinator)
    thread.beat = boot_clock()
    await faust_thread.Thread.on_start(thread)
    with pytest.raises(Ended if instance else UnknownMemberIdError, match="another process runs under this name" if instance else "g"):
        await coordinator._do_commit_offsets(None, {})


async def test_an_error_that_only_a_fetch_would_take_and_a_crash_of_its_thread_end_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member without partitions never fetches, and a worker that stops step by step asks a thread that is gone."""
    ended: list[tuple[str, str, int]] = []

    async def nothing(*_: Any) -> None: ...

    monkeypatch.setattr(faust_thread, "fatal", lambda what, error: ended.append((what, repr(error), threading.get_ident())))
    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_start", nothing)
    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "crash", nothing)
    coordinator = SimpleNamespace(group_id="g", member_id="", _do_heartbeat=None, _do_commit_offsets=None, _push_error_to_user=nothing)
    thread = object.__new__(faust_thread.Thread)
    thread.app = SimpleNamespace(client_only=False, conf=SimpleNamespace(consumer_group_instance_id="", broker_session_timeout=10))
    thread._consumer, thread.parent_loop = SimpleNamespace(_coordinator=coordinator), asyncio.get_running_loop()

    async def elsewhere() -> None:
        await faust_thread.Thread.on_start(thread)
        await coordinator._push_error_to_user(GroupAuthorizationFailedError("g"))
        await thread.crash(RuntimeError("broken"))

    await asyncio.to_thread(asyncio.run, elsewhere())
    main = threading.get_ident()
    assert ended == [("no part in group g", "GroupAuthorizationFailedError('g')", main), ("the consumer's thread", "RuntimeError('broken')", main)]
