"""The scenarios: short ones for `make test`, the full set for `make chaos`."""
from __future__ import annotations

from typing import Final

import msgspec

from tests.chaos.plan import TRANSACTION_S, Act, Scenario

RESTART_S: Final = 7.0
"""A killed worker that is started again in place: until notices are at their borders, 6.75 s measured (docs/benchmarks.md, failover)."""
SESSION_S: Final = 9.0
"""Without a restart in place the session of the one that is gone must end first (6 s here), and whoever takes over restores."""
LEADERS_S: Final = 8.0
"""A broker that is gone: its registration ends after 3 s, others lead, clients look for them."""
FROZEN_S: Final = 15.0
"""A broker that answers nothing looks alive to its clients until it gives no sign for 10 s, or goes on."""

CALM: Final = Scenario(name="calm", should_s=1, acts=(), seconds=20, trains=2)
"""No fault: the checks say nothing, nothing is interrupted, nobody ends."""

SHORT: Final = Scenario(name="short, everything once", should_s=FROZEN_S, seconds=30, trains=2, static=True, acts=(
    Act(2, "freeze", "worker:1", 9), Act(5, "kill", "leader:clearance.in/0", 3), Act(14, "kill", "worker:0"), Act(17, "kill", "postgres", 4),
    Act(23, "kill", "worker:1")))
SHORT_EXACTLY: Final = Scenario(name="short, crash and pause", should_s=SESSION_S + TRANSACTION_S, seconds=20, trains=1, exactly_once=True, acts=(
    Act(2, "kill", "worker:0"), Act(7, "freeze", "worker:1", 9), Act(17, "kill", "worker:0")))

KILLS: Final = Scenario(name="workers killed", should_s=RESTART_S, seconds=34, static=True, acts=tuple(
    Act(3.0 + 4 * n, "kill", f"worker:{n % 2}") for n in range(8)))
BROKERS: Final = Scenario(name="brokers killed", should_s=LEADERS_S, seconds=40, acts=(
    Act(3, "kill", "leader:clearance.in/0", 4), Act(15, "kill", "coordinator", 4), Act(27, "kill", "controller", 4)))
FROZEN_WORKERS: Final = Scenario(name="workers frozen", should_s=SESSION_S, seconds=42, acts=(
    Act(3, "freeze", "worker:0", 10), Act(16, "freeze", "worker:1", 12), Act(30, "freeze", "worker:0", 10), Act(32, "freeze", "worker:1", 11)))
FROZEN_BROKER: Final = Scenario(name="broker frozen 15 s", should_s=FROZEN_S, seconds=30, acts=(Act(4, "freeze", "leader:clearance.in/0", 15),))
FROZEN_CONTROLLER: Final = Scenario(name="controller frozen 15 s", should_s=FROZEN_S, seconds=30, acts=(Act(4, "freeze", "controller", 15),))
FROZEN_WORKER_LONG: Final = Scenario(name="worker frozen 50 s", should_s=SESSION_S, seconds=60, acts=(Act(3, "freeze", "worker:0", 50),))
FROZEN_LONG: Final = Scenario(name="coordinator frozen 50 s", should_s=FROZEN_S, seconds=60, acts=(Act(3, "freeze", "coordinator", 50),))
CHURN: Final = Scenario(name="join and leave", should_s=SESSION_S, seconds=44, acts=(
    Act(2, "join", "guest:0", 10), Act(6, "leave", "worker:0", 5), Act(10, "join", "guest:1", 10), Act(15, "leave", "worker:1", 5),
    Act(20, "join", "guest:0", 8), Act(24, "leave", "worker:0", 5), Act(30, "join", "guest:1", 8), Act(34, "kill", "worker:1")))
POSTGRES: Final = Scenario(name="PostgreSQL stopped, frozen, killed", should_s=4, seconds=40, acts=(
    Act(3, "stop", "postgres", 8), Act(14, "freeze", "postgres", 14), Act(31, "kill", "postgres", 6)))
TWO_DOWN: Final = Scenario(name="two of three brokers down", should_s=LEADERS_S, seconds=40, acts=(Act(5, "kill", "two brokers", 20),))
REVOKED: Final = Scenario(name="READ revoked", should_s=SESSION_S, seconds=38, secured=True, acts=(Act(5, "revoke", "topic:clearance.in", 22),))
REVOKED_GROUP: Final = Scenario(name="READ on the group revoked", should_s=SESSION_S, seconds=38, secured=True, acts=(Act(5, "revoke", "group", 22),))
MIXED: Final = Scenario(name="all together", should_s=FROZEN_S, seconds=58, trains=4, static=True, acts=(
    Act(2, "freeze", "worker:1", 10), Act(5, "kill", "coordinator", 4), Act(8, "join", "guest:0", 15), Act(14, "kill", "worker:0"),
    Act(18, "kill", "postgres", 5), Act(22, "freeze", "leader:trains.in/1", 12), Act(28, "kill", "worker:1"), Act(37, "kill", "controller", 3),
    Act(42, "freeze", "worker:0", 9), Act(44, "freeze", "postgres", 8), Act(54, "kill", "worker:1")))

BOTH: Final = (KILLS, BROKERS, FROZEN_WORKERS, CHURN, FROZEN_BROKER, FROZEN_CONTROLLER, TWO_DOWN, FROZEN_WORKER_LONG, FROZEN_LONG, POSTGRES, MIXED,
               REVOKED, REVOKED_GROUP)
"""Run in both modes; the order is that of `make chaos`."""


def exactly(scenario: Scenario) -> Scenario:
    """The same in exactly-once mode."""
    return msgspec.structs.replace(scenario, exactly_once=True, should_s=scenario.should_s + TRANSACTION_S)


def full() -> tuple[Scenario, ...]:
    """Every scenario of `make chaos`."""
    return (CALM, *BOTH, exactly(CALM), *(exactly(s) for s in BOTH))
