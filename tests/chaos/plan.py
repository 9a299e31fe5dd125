"""What happens in a scenario, as data, and the row that a run gives."""
from __future__ import annotations

from typing import Literal

import msgspec

Do = Literal["kill", "freeze", "stop", "join", "leave", "revoke"]
"""kill: SIGKILL; a worker's supervisor starts it again, a server starts again after `seconds`. freeze: SIGSTOP for `seconds`. stop: cleanly, and
again after `seconds`. join: one more worker; it leaves by SIGTERM after `seconds`. leave: SIGTERM to a worker that nobody starts again for `seconds`.
revoke: the right to read a topic is taken away for `seconds`."""


class Act(msgspec.Struct, frozen=True):
    """One thing that is done."""

    at: float
    """Seconds after the first message."""
    do: Do
    whom: str
    """`worker:N`, `broker:N`, `leader:TOPIC/PARTITION`, `coordinator`, `controller`, `two brokers` (the last two), `postgres`, `topic:NAME`."""
    seconds: float = 0.0


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A run: what is sent, what is done meanwhile."""

    name: str
    acts: tuple[Act, ...]
    seconds: float = 40.0
    """Messages are spread evenly over so long."""
    trains: int = 3
    """Of the simulated world; about 530 messages each."""
    seed: int = 1
    workers: int = 2
    exactly_once: bool = False
    secured: bool = False
    """SASL_SSL, every right granted by name."""
    static: bool = False
    """Workers are static members of their group: a crash stays in it, the one that is started again in place goes on."""

    @property
    def mode(self) -> str:
        return "exactly once" if self.exactly_once else "at least once"


class Row(msgspec.Struct, kw_only=True):
    """What came of it. Everything but times, duplicates and restarts must be 0."""

    name: str
    mode: str
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
    worker_restarts: int
    exit_codes: dict[str, int] = {}
    """Code with which workers ended -> times. -9 is done to them; 1 is a worker that saw that it must begin anew."""
    first_progress_s: float
    """The longest that any partition waited after a fault for its next outcome."""
    faults: tuple[str, ...] = ()
    """The first faults, in words."""

    @property
    def well(self) -> bool:
        """Whether nothing is lost or wrong, and in exactly-once mode nothing was said twice."""
        wrong = self.lost + self.wrong_keys + self.backwards + self.repeated_revisions + len(self.faults)
        return wrong == 0 and (self.mode == "at least once" or self.duplicates == 0)
