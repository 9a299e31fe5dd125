"""What happens in a scenario, as data, and the row that a run gives."""
from __future__ import annotations

from typing import Final, Literal
from zlib import crc32

import msgspec

Do = Literal["kill", "freeze", "stop", "join", "leave", "revoke"]
"""kill: SIGKILL; a worker's supervisor starts it again, a server starts again after `seconds`. freeze: SIGSTOP for `seconds`. stop: cleanly, and
again after `seconds`. join: one more worker; it leaves by SIGTERM after `seconds`. leave: SIGTERM to a worker that nobody starts again for `seconds`.
revoke: the right to read a topic or a group is taken away for `seconds`."""


FAILOVER_S: Final = 10.0
"""From kill -9 until notices are at their borders again, as promised (docs/benchmarks.md)."""
TRANSACTION_S: Final = 10.0
"""With exactly-once what is open of a transaction ends first (agents.transport.claim.TRANSACTION_TIMEOUT_MS)."""


SEEDS: Final = 10_000
"""Worlds to take one from."""


class Act(msgspec.Struct, frozen=True):
    """One thing that is done."""

    at: float
    """Seconds after the first message."""
    do: Do
    whom: str
    """`worker:N`, `broker:N`, `leader:TOPIC/PARTITION`, `coordinator`, `controller`, `two brokers` (the last two), `postgres`, `topic:NAME`,
    `group`."""
    seconds: float = 0.0


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A run: what is sent, what is done meanwhile."""

    name: str
    acts: tuple[Act, ...]
    seconds: float = 40.0
    """Messages are spread evenly over so long."""
    trains: int = 3
    """Of the simulated world; about 400 messages each."""
    workers: int = 2
    exactly_once: bool = False
    secured: bool = False
    """SASL_SSL, every right granted by name."""
    static: bool = False
    """Workers are static members of their group: a crash stays in it, the one that is started again in place goes on."""
    should_s: float
    """So long after an act every partition with something to read should go on, on a machine that is not busy."""

    @property
    def seed(self) -> int:
        """Of its world: its own, and the same every time."""
        return crc32(f"{self.name}, {self.mode}".encode()) % SEEDS

    @property
    def progress_s_max(self) -> float:
        """A row that took longer is not well: machines are busy, so five times what should be."""
        return 5 * self.should_s

    @property
    def no_progress_s_max(self) -> float:
        """Nor one in which a partition stood longer in all, however many acts threw it back: six times what should be, or six times the failover that is
        promised. With workers killed every 4 s a partition may stand through all of it, because a worker needs longer than that to start on a busy machine:
        48 s of 60 were measured, with everything at once 65 s of 90. One that is stuck for less is not told from one that was thrown back."""
        return 6 * max(FAILOVER_S + (TRANSACTION_S if self.exactly_once else 0), self.should_s)

    @property
    def mode(self) -> str:
        return "exactly once" if self.exactly_once else "at least once"


class Row(msgspec.Struct, kw_only=True):
    """What came of it. Everything but times, duplicates and restarts must be 0."""

    name: str
    mode: str
    seed: int = 0
    """Of the world that was sent."""
    seconds: float
    """Wall time, servers' start and all checks included."""
    inputs: int
    """Outside messages in the log, poison included."""
    poison: int
    """Of them: what no stage can read; each must be in the dead letters with its bytes."""
    records: int
    """Inputs of all stages."""
    lost: int
    """Acknowledged messages that the log lacks; records without an outcome, or refused without a dead letter; records that a stage or the ledger has
    not read in the time given."""
    wrong_keys: int
    """Keys whose state, sides whose last status, partitions whose ledger are not what a fold over the input log gives."""
    backwards: int
    """Records of a state or status topic that are older than one before them of the same key."""
    repeated_revisions: int
    duplicates: int
    """Inputs of CLEARANCE whose outputs were published more than once."""
    duplicates_of: dict[str, int] = {}
    """The same of every other stage; they work at least once in either mode."""
    outputs: int = 0
    """Records on border, office, territory and status topics. Each publication in `clearance.history` must be on exactly the topics it belongs to."""
    wrong_outputs: int = 0
    """Of them: not in the history, not for this reader, or with another content."""
    output_duplicates: int = 0
    """Records of CLEARANCE, alerts included, that say again what was said last: after inputs, ticks and sweeps alike."""
    readiness_duplicates: int = 0
    """Records of `train.readiness` that say again what was said last of the train, or a revision again."""
    interrupted: int = 0
    """Publications that a crash left on some of their topics only, and whoever took over said again: of CLEARANCE at least once, of READINESS in either
    mode."""
    worker_restarts: int
    exit_codes: dict[str, int] = {}
    """Code with which workers ended -> times. -9 is done to them; 70 is a worker that saw that it must begin anew, 1 one that crashed."""
    ends: dict[str, int] = {}
    """Why workers ended by themselves, in their own last words -> times."""
    first_progress_s: float
    """The longest that any partition with something to read waited for its next outcome, counted from the last act before that outcome."""
    progress_s_max: float = 0.0
    """With more the row is not well; 0: no bound."""
    no_progress_s: float = 0.0
    """The same counted from the first act after which it stood still: acts that follow each other faster than a worker starts add up."""
    no_progress_s_max: float = 0.0
    """With more the row is not well either; 0: no bound."""
    slowest: str = ""
    """The partition that waited longest, and after which act."""
    noticed: tuple[str, ...] = ()
    """What the workers said of a right that was taken away."""
    faults: tuple[str, ...] = ()
    """The first faults, in words."""

    @property
    def wrongs(self) -> tuple[str, ...]:
        """Why this is not well, a line each: what is lost or wrong, what took too long, and in exactly-once mode what was said twice."""
        zero = ("lost", "wrong_keys", "wrong_outputs", "backwards", "repeated_revisions")
        if self.mode == "exactly once":
            zero += ("duplicates", "output_duplicates")
        said = [f"{name} {count}" for name in zero if (count := getattr(self, name))]
        if self.progress_s_max and self.first_progress_s > self.progress_s_max:
            said.append(f"no progress for {self.first_progress_s} s, {self.slowest}; at most {self.progress_s_max:.0f} s")
        if self.no_progress_s_max and self.no_progress_s > self.no_progress_s_max:
            said.append(f"no progress for {self.no_progress_s} s in all, over however many acts; at most {self.no_progress_s_max:.0f} s")
        return (*said, *self.faults)

    @property
    def well(self) -> bool:
        """Whether there is no such reason."""
        return not self.wrongs
