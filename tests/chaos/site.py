"""The place where it happens: brokers, PostgreSQL, and workers under a supervisor, each of which can be taken away."""
from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any, Final

from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType, UserScramCredentialUpsertion
from kafka.admin import ScramMechanism as Mechanism

from agents import provisioning
from agents.embedded.kafka import Broker
from agents.embedded.postgres import Postgres
from agents.embedded.processes import discard, free_ports, spawn, tail, temporary
from agents.embedded.quorum import Quorum
from agents.embedded.reaper import alive, postgres_in, started
from agents.embedded.security import Secured, secure
from agents.settings import STAGES, group_of
from tests.sim.worlds import topics

PAUSE_S: Final = 0.5
"""A supervisor's pause before it starts a worker again."""
ROOT: Final = Path(__file__).resolve().parents[2]
GROUP: Final = group_of("railclear", STAGES)
USER: Final = "worker"
SESSION_S: Final = 6.0
READY_S: Final = 180.0
WORDS_MAX: Final = 160
VERDICT_MAX: Final = 400
NUMBERS: Final = re.compile(r"\d+")
LAST: Final = re.compile(r"(?:\[CRITICAL\]|^CRITICAL .* -) ((?:FATAL|REFUSED) .*)")
"""As `agents.transport.fatal` says it, before and after Faust has set up its log."""
STARTS_MAX: Final = 5
"""A worker that ends more often before any fault never comes up."""


class Worker:
    """One worker's place: it is started there again as often as it ends."""

    def __init__(self, name: str, directory: Path, port: int) -> None:
        self.name, self.port = name, port
        self.log = directory / f"{name}.log"
        self.data = directory / f"{name}-data"
        self.process: subprocess.Popen[bytes] | None = None
        self.wanted = False
        self.ended_at = 0.0
        self.restarts = 0
        self.exits: list[int] = []
        self.ended_itself: list[int] = []
        """When it was seen to have ended by itself, ms UTC."""

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        """By pid, and only while it is certainly ours."""
        if self.process is not None and self.running:
            self.process.send_signal(number)

    def ready(self) -> bool:
        return self._asked()[0] == 200

    def verdict(self) -> str:
        """Whether it runs, and what it says of itself."""
        status, text = self._asked()
        return f"{self.name}: {'runs' if self.running else 'does not run'}, /ready {status or 'does not answer'} {text[:VERDICT_MAX]}".strip()

    def _asked(self) -> tuple[int, str]:
        """Status and text of its readiness; 0: no answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=2) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except (urllib.error.URLError, OSError):
            return 0, ""

    def written(self) -> int:
        """Bytes of its log so far."""
        return self.log.stat().st_size if self.log.exists() else 0

    def wrote(self, since: int) -> str:
        """Its log from there on."""
        with self.log.open("rb") as file:
            file.seek(since)
            return file.read().decode(errors="replace")


class Site:
    """`start`, then faults by the methods, `supervise` every now and then, `close`."""

    def __init__(self, *, workers: int = 2, exactly_once: bool = False, secured: bool = False, static: bool = False) -> None:
        self.directory = temporary("railclear-chaos-")
        self.security: Secured | None = secure(self.directory / "security") if secured else None
        s = self.security
        admin = {} if s is None else self._sasl(s.username, s.password)
        self.quorum = Quorum(conf=s.conf if s else None, scram=s.scram if s else (), client=admin)
        self.postgres = Postgres(self.directory / "postgres", durable=False)
        ports = free_ports(workers + 2)
        self.workers = [Worker(f"worker-{n}", self.directory, ports[n]) for n in range(workers)]
        self.spare = [Worker(f"guest-{n}", self.directory, ports[workers + n]) for n in range(2)]
        self.exactly_once = exactly_once
        self.static = static
        self.settings: dict[str, str] = {}
        self.closed = False
        self._begun: dict[int, int] = {}

    def _sasl(self, user: str, password: str) -> dict[str, Any]:
        assert self.security is not None
        return {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": user, "sasl_plain_password": password,
                "ssl_cafile": str(self.security.ca_file)}

    # -- up and down ---------------------------------------------------------------------------------------------------------
    def start(self, origin_us: int, base_us: int) -> None:
        """Servers, topics, rights, workers; returns when all workers are ready. `origin_us`, `base_us`: the workers' clock."""
        self.quorum.start()
        self.postgres.start().wait()
        for server in (*(b.process for b in self.quorum.brokers), self.postgres.process):
            self._note(server)
        admin = self.quorum.admin()
        try:
            provisioning.apply(admin, provisioning.plan(admin, topics().topics.values(), replication=self.quorum.size))
            if self.security is not None:
                self._grant_all(admin)
        finally:
            admin.close()
        self.settings = self._environment(origin_us, base_us)
        for worker in self.workers:
            self.hire(worker)
        end = time.monotonic() + READY_S
        while not all(w.ready() for w in self.workers):
            self.supervise()
            if self.closed or time.monotonic() > end or self.restarts > STARTS_MAX * len(self.workers):
                raise TimeoutError(f"workers are not ready: {self.said()}")
            time.sleep(0.2)

    def _environment(self, origin_us: int, base_us: int) -> dict[str, str]:
        found = {
            "RAILCLEAR_BOOTSTRAP": self.quorum.bootstrap, "RAILCLEAR_DSN": self.postgres.dsn, "RAILCLEAR_PARTITIONS": "4",
            "RAILCLEAR_SESSION_TIMEOUT_S": str(SESSION_S), "RAILCLEAR_COMMAND_TIMEOUT_S": "5", "RAILCLEAR_CLOCK_ORIGIN": str(origin_us),
            "RAILCLEAR_CLOCK_BASE": str(base_us), "RAILCLEAR_EXACTLY_ONCE": str(self.exactly_once).lower(),
        }
        if self.security is not None:
            found |= {"RAILCLEAR_SECURITY_PROTOCOL": "SASL_SSL", "RAILCLEAR_SASL_USERNAME": USER, "RAILCLEAR_SASL_PASSWORD": self.security.password,
                      "RAILCLEAR_SSL_CAFILE": str(self.security.ca_file)}
        return found

    def close(self) -> list[str]:
        """End everything by pid; returns what would not go (nothing, or it is a fault)."""
        self.closed = True
        for worker in (*self.workers, *self.spare):
            worker.wanted = False
            if worker.process is not None:
                if worker.running:
                    worker.process.kill()
                worker.process.wait()
        self.quorum.close()
        self.postgres.kill()
        left = [f"process {pid} still runs" for pid, start in self._begun.items() if alive(pid, start)]
        left += [f"a process of PostgreSQL still runs: {pid}" for pid in postgres_in(self.postgres.data)]
        discard(self.directory)
        if self.directory.exists():
            left.append(f"{self.directory} is still there")
        return left

    def _note(self, process: subprocess.Popen[bytes] | None) -> None:
        if process is not None and (start := started(process.pid)) is not None:
            self._begun[process.pid] = start

    # -- workers -------------------------------------------------------------------------------------------------------------
    def hire(self, worker: Worker) -> None:
        """Start it; from now on it is started again when it ends. Does nothing on a closed site (an interrupt while it came up)."""
        if self.closed:
            return
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RAILCLEAR_")} | self.settings
        environment |= {"RAILCLEAR_DATA_DIR": str(worker.data)}
        if self.static and worker in self.workers:
            environment |= {"RAILCLEAR_MEMBERSHIP": "static", "RAILCLEAR_INSTANCE": worker.name}
        worker.data.mkdir(exist_ok=True)
        with worker.log.open("ab") as out:
            worker.process = spawn([sys.executable, "-m", "agents.cli", "worker", "--http-port", str(worker.port)], cwd=ROOT, out=out,
                                   env=environment)
        worker.wanted, worker.ended_at = True, 0.0
        self._note(worker.process)

    def supervise(self) -> None:
        """Start again whoever has ended. Call often."""
        now = time.monotonic()
        for worker in (*self.workers, *self.spare):
            if not worker.wanted or worker.running or worker.process is None:
                continue
            if worker.ended_at == 0.0:
                worker.ended_at = now
                worker.exits.append(worker.process.returncode)
                if worker.process.returncode != -signal.SIGKILL:
                    worker.ended_itself.append(time.time_ns() // 1_000_000)
            elif now - worker.ended_at >= PAUSE_S:
                worker.restarts += 1
                self.hire(worker)

    def dismiss(self, worker: Worker) -> None:
        """SIGTERM, and nobody starts it again."""
        worker.wanted = False
        worker.signal(signal.SIGTERM)

    @property
    def restarts(self) -> int:
        return sum(w.restarts for w in (*self.workers, *self.spare))

    @property
    def ended(self) -> list[int]:
        """When workers ended by themselves, ms UTC."""
        return [at for w in (*self.workers, *self.spare) for at in w.ended_itself]

    @property
    def exits(self) -> dict[str, int]:
        """Exit code -> times."""
        return dict(sorted(Counter(str(code) for w in (*self.workers, *self.spare) for code in w.exits).items()))

    @property
    def ends(self) -> dict[str, int]:
        """Why workers ended by themselves, as their logs say -> times; numbers are left out."""
        found = Counter[str]()
        for worker in (*self.workers, *self.spare):
            found.update(last_words(worker.wrote(0)) if worker.log.exists() else ())
        return dict(sorted(found.items()))

    def said(self, bytes_max: int = 1500) -> str:
        """The ends of the workers' logs."""
        return "\n".join(f"--- {w.name} {w.exits}\n{tail(w.log)[-bytes_max:]}" for w in (*self.workers, *self.spare) if w.process is not None)

    def keep_logs(self, directory: Path) -> None:
        """Copies of the workers' whole logs."""
        directory.mkdir(parents=True, exist_ok=True)
        for worker in (*self.workers, *self.spare):
            if worker.log.exists():
                shutil.copyfile(worker.log, directory / worker.log.name)

    def transactions(self) -> list[str]:
        """Transactions that are neither over nor empty, as their coordinators say: what one of them holds, nobody reads."""
        admin = self.quorum.admin()
        try:
            every = [one.transactional_id for found in admin.list_transactions().values() for one in found]
            told = admin.describe_transactions(every).items()
            now = time.time() * 1000
            return [f"transaction {name}: {t.state}, coordinator {t.coordinator_id}, epoch {t.producer_epoch}, begun "
                    f"{(now - t.transaction_start_time_ms) / 1000:.0f} s ago, {sorted(f'{p.topic}/{p.partition}' for p in t.topic_partitions)[:6]}"
                    for name, t in sorted(told) if not str(t.state.value).startswith(("Complete", "Empty"))]
        except Exception as error:  # noqa: BLE001  it only helps to understand
            return [f"the transactions cannot be listed: {error!r}"]
        finally:
            admin.close()

    # -- servers -------------------------------------------------------------------------------------------------------------
    def node(self, whom: str) -> int:
        """Id of the broker that is meant, as things are now."""
        if whom.startswith("broker:"):
            return int(whom.removeprefix("broker:"))
        if whom == "coordinator":
            return self.quorum.coordinator(GROUP)
        if whom == "controller":
            return self.quorum.controller()
        topic, _, partition = whom.removeprefix("leader:").rpartition("/")
        return self.quorum.leader(topic, int(partition))

    def start_broker(self, broker: Broker) -> None:
        """Does nothing on a closed site (an act that failed while another one was under way)."""
        if self.closed:
            return
        broker.start()
        self._note(broker.process)

    def restart_postgres(self) -> None:
        self.postgres.start().wait()
        self._note(self.postgres.process)

    # -- rights --------------------------------------------------------------------------------------------------------------
    def client(self) -> dict[str, Any]:
        """Of aiokafka, for those who load and check: the administrator."""
        from agents.ledger.writer import security_of

        s = self.security
        return {} if s is None else security_of("SASL_SSL", s.username, s.password, str(s.ca_file))

    def _grant_all(self, admin: Any) -> None:
        assert self.security is not None
        admin.alter_user_scram_credentials([UserScramCredentialUpsertion(USER, Mechanism.SCRAM_SHA_512, password=self.security.password, iterations=8192)])
        rights = [right(op, ResourceType.TOPIC, name) for name in topics().topics for op in (ACLOperation.READ, ACLOperation.WRITE, ACLOperation.DESCRIBE)]
        rights += [right(ACLOperation.READ, ResourceType.GROUP, name) for name in (GROUP, "railclear-ledger")]
        rights += [right(op, ResourceType.TRANSACTIONAL_ID, "*") for op in (ACLOperation.WRITE, ACLOperation.DESCRIBE)]
        failed = admin.create_acls(rights)["failed"]
        if failed:
            raise RuntimeError(f"{len(failed)} rights were not granted: {failed[0]}")

    def rights(self, whom: str, *, granted: bool) -> None:
        """Take the right to read (and see) a topic, `topic:NAME`, or to read the workers' group, `group`, away, or give it back."""
        kind, _, name = whom.partition(":")
        these = ([right(ACLOperation.READ, ResourceType.GROUP, GROUP)] if kind == "group" else
                 [right(op, ResourceType.TOPIC, name) for op in (ACLOperation.READ, ACLOperation.DESCRIBE)])
        admin = self.quorum.admin()
        try:
            if granted:
                admin.create_acls(these)
            else:
                admin.delete_acls(these)
        finally:
            admin.close()


def last_words(written: str) -> list[str]:
    """The reasons in a worker's log for which it ended itself, without what is different every time."""
    return [NUMBERS.sub("N", found[1])[:WORDS_MAX].strip() for found in map(LAST.search, written.splitlines()) if found]


def right(operation: ACLOperation, kind: ResourceType, name: str) -> ACL:
    """A right of the workers' user."""
    return ACL(principal=f"User:{USER}", host="*", operation=operation, permission_type=ACLPermissionType.ALLOW,
               resource_pattern=ResourcePattern(kind, name))


