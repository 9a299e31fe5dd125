"""A transport that breaks one of its promises is found out within a few seeds: the simulation would see the loss if there were one."""
from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from tests.sim.cluster.lane import Semantics
from tests.sim.plan import Plan, plan_of
from tests.sim.simulate import judge

pytestmark = pytest.mark.sim


class Mutant(msgspec.Struct, frozen=True, kw_only=True):
    """A promise that is broken, and the runs in which it must show."""

    name: str
    broken: Semantics
    seeds: Sequence[int]
    """Tried in this order; one of them must fail."""
    kinds: frozenset[str] | None = None
    """Only these faults; None = those of the seed."""
    leased: bool = True

    def plans(self) -> list[Plan]:
        if self.kinds is None:
            return [plan_of(seed) for seed in self.seeds]
        return [Plan(seed=seed, kinds=self.kinds, leased=self.leased, trains=1) for seed in self.seeds]


CRASHES, ZOMBIES = frozenset({"crash", "rebalance"}), frozenset({"zombie", "rebalance"})
MUTANTS = (
    Mutant(name="state is written before the outputs", broken=Semantics(outputs_before_state=False), seeds=(1, 0, 3)),
    Mutant(name="nothing is awaited", broken=Semantics(awaits=False), seeds=(0, 1, 3)),
    Mutant(name="a fetch that survived a rebalance is dropped (H1)", broken=Semantics(fetch_seeks_back=False), seeds=(0, 1, 3)),
    Mutant(name="what the state holds is applied again", broken=Semantics(offset_check=False), seeds=(2, 4, 3, 7)),
    Mutant(name="more is committed than is acknowledged", broken=Semantics(acked_prefix=False), seeds=(0, 1, 2), kinds=CRASHES),
    Mutant(name="the revision topic is not read at restore", broken=Semantics(revision_floors=False), seeds=(5, 8, 6), kinds=frozenset({"crash", "reorder"})),
    Mutant(name="what may have been worked on before is merged per key again", broken=Semantics(again_singly=False), seeds=(1173,)),
    Mutant(name="restore takes the last record instead of the highest", broken=Semantics(highest_wins=False), seeds=(0, 1), kinds=ZOMBIES, leased=False),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=[m.name for m in MUTANTS])
def test_a_broken_transport_is_found_out_and_a_good_one_is_not(mutant: Mutant) -> None:
    for plan in mutant.plans():
        if not judge(plan, mutant.broken).well:
            assert judge(plan).findings == {}
            return
    pytest.fail(f"{mutant.name}: {len(mutant.seeds)} seeds did not notice")
