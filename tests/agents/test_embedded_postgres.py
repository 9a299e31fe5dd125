"""PostgreSQL alone, as every kind of user."""
from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from agents.embedded import EmbeddedError, Postgres
from agents.embedded import postgres as module
from agents.embedded.accounts import Account, server_account

pytestmark = pytest.mark.integration

CHILD = Path(__file__).with_name("embedded_child.py")
ROOT = Path(__file__).resolve().parents[2]
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


async def value(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def shared_memory_of(pid: int) -> list[str]:
    return [row for row in Path("/proc/sysvipc/shm").read_text().splitlines()[1:] if int(row.split()[4]) == pid]


async def test_a_killed_server_leaves_no_shared_memory_and_recovers_what_was_committed() -> None:
    with Postgres() as server:
        assert server.process is not None
        connection = await asyncpg.connect(server.dsn)
        await connection.execute("create table kept as select generate_series(1, 1000) as n")
        pid = server.process.pid
        assert shared_memory_of(pid)
        server.kill()
        connection.terminate()
        assert not server.running
        assert not shared_memory_of(pid)
        server.start().wait()
        assert await value(server.dsn, "select count(*) from kept") == 1000
        with pytest.raises(EmbeddedError, match="runs already"):
            server.start()
        base = server.base
    assert not base.exists()


async def test_a_clean_stop_and_a_start_keep_the_data_below_a_private_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    server = Postgres(tmp_path / "pg", password="kept")
    server.start().wait()
    try:
        await value(server.dsn, "create table kept as select 1")
        server.stop()
        assert "database system is shut down" in server.log.read_text()
        server.start().wait()
        assert await value(server.dsn, "select count(*) from kept") == 1
        assert await value(server.dsn, "show fsync") == "on"
        with pytest.raises(EmbeddedError, match="another PostgreSQL runs"):
            Postgres(tmp_path / "pg", password="kept").start()
    finally:
        server.close()
    assert (tmp_path / "pg").exists()


async def test_a_pid_file_that_names_a_living_stranger_does_not_stop_the_start(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "pg")
    server.start().wait()
    server.stop()
    (server.data / "postmaster.pid").write_text(f"{os.getppid()}\n{server.data}\n1\n{server.port}\n\n127.0.0.1\n  1  999999\nready\n")
    server.start().wait()
    assert await value(server.dsn, "select 1") == 1
    server.close()


async def test_no_client_gets_in_without_the_password() -> None:
    with Postgres() as server:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await value(server.dsn.replace(server.password, "guessed"), "select 1")
        assert await value(server.dsn, "select 1") == 1


def test_a_server_that_cannot_start_says_why() -> None:
    with Postgres() as first:
        second = Postgres(port=first.port)
        with pytest.raises(EmbeddedError, match=r"(?s)ended while starting.*could not bind"):
            second.start().wait()
        second.close()


@root_only
async def test_an_installation_below_a_private_home_is_copied_to_where_the_server_reaches_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    installed = module._installed()
    private = tmp_path / installed.parent.name / installed.name
    shutil.copytree(installed, private, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
    libraries = installed.parent.with_name(f"{installed.parent.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, tmp_path / libraries.name)
    monkeypatch.setattr(module, "_installed", lambda: private)
    with Postgres() as server:
        assert await value(server.dsn, "select 1") == 1
        copy = server._copy
        assert copy is not None
        assert copy.exists()
    assert not copy.exists()


@root_only
def test_an_account_knows_what_it_reaches(tmp_path: Path) -> None:
    account = server_account(tmp_path)
    assert (account.name, account.switches) == ("nobody", True)
    with tempfile.TemporaryDirectory() as made:
        open_directory = Path(made)
        open_directory.chmod(0o755)
        file = open_directory / "file"
        file.touch(mode=0o644)
        assert account.reaches(file)
        file.chmod(0o600)
        assert not account.reaches(file)
        account.own(file)
        assert account.reaches(file)
        open_directory.chmod(0o700)
        assert not account.reaches(file)
    assert Account(who="-", uid=0, gid=0, name="root").reaches(tmp_path)


@pytest.fixture
def anybodys() -> Iterator[Path]:
    """A directory that every user can write in."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o777)
        yield Path(made)


PACKAGES = f"{ROOT}{os.pathsep}{sysconfig.get_paths()['purelib']}"


def python_for(before: list[str]) -> str:
    """A Python that such a process can run, and start itself from: ours may be below root's private home."""
    check = "import subprocess, sys, agents.embedded; subprocess.run([sys.executable, '-c', ''], check=True)"
    for candidate in (sys.executable, shutil.which(f"python3.{sys.version_info.minor}", path=os.defpath)):
        if candidate and subprocess.run([*before, candidate, "-B", "-c", check], check=False, capture_output=True, cwd=ROOT,
                                        env={"PYTHONPATH": PACKAGES}).returncode == 0:
            return candidate
    pytest.skip("another user can run no Python here")


async def serves(before: list[str], home: Path) -> None:
    """Start a server from another kind of process, and use it."""
    process = subprocess.Popen([*before, python_for(before), "-B", str(CHILD), "postgres"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               cwd=ROOT, env={"PYTHONPATH": PACKAGES, "TMPDIR": str(home), "HOME": str(home), "PATH": os.defpath})
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        said = process.stdout.readline()
        assert said, process.stderr.read()
        assert await value(json.loads(said)["dsn"], "select 1") == 1
    finally:
        process.kill()
        process.communicate()


def can_unshare(*before: str) -> bool:
    return bool(shutil.which("unshare")) and subprocess.run([*before, "unshare", "--user", "true"], check=False, capture_output=True).returncode == 0


@root_only
@pytest.mark.parametrize("uid", [65534, 54321], ids=["a named user", "a number without a name"])
async def test_it_runs_as_an_unprivileged_user(anybodys: Path, uid: int) -> None:
    before = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    try:
        pwd.getpwuid(uid)
    except KeyError:
        if not can_unshare(*before):
            pytest.skip("a user without a name needs user namespaces")
    await serves(before, anybodys)


async def test_it_runs_as_a_root_that_may_not_become_another_user(anybodys: Path) -> None:
    if not can_unshare():
        pytest.skip("no user namespaces here")
    await serves(["unshare", "--user", "--map-root-user"], anybodys)
