"""Who may still write: what a successor's claim refuses, what it does not, and what was in a socket when its worker was killed."""
from __future__ import annotations

import random
from collections import Counter

import pytest

from streams.effects import Await, Publish, PutState, Send
from tests.sim.cluster.broker import Log
from tests.sim.cluster.lane import GOOD, Lane, Publication, Semantics, Worker
from tests.sim.cluster.owners import Owners
from tests.sim.worlds import START

pytestmark = pytest.mark.sim

STATE, OUT = Send("tell.state", b"k", b"state", 0), Send("tell.out", b"k", b"word", 0)


class Never(random.Random):
    """Of what is handed over nothing is written at first, and all of it lies in a socket."""

    def random(self) -> float:
        return 0.0

    def randint(self, a: int, b: int) -> int:
        return a


def owners(semantics: Semantics = GOOD) -> Owners:
    return Owners(Log(START, 1, {}), Never(), Counter(), semantics)


def lane(generation: int, *, transactional: bool = False) -> Lane:
    made = Lane("tell", "tell.in", 0, Worker(generation, 0), generation, 0)
    made.transactional = transactional
    return made


def handed_over() -> Publication:
    made = Publication((Publish((OUT,)), PutState("tell.state", 0, ((b"k", b"state"),)), Await(), Publish((OUT,))), None)
    made.at, made.waiting = 2, [OUT, STATE]
    return made


def written(who: Owners) -> dict[str, int]:
    return {name: len(who.log.topic(name)) for name in ("tell.state", "tell.out")}


def test_before_the_claim_all_is_written_and_none_of_it_is_late() -> None:
    who, old = owners(), lane(1)
    who.claim(old, ("tell.state",))
    who.write(old, publication := handed_over())
    assert (written(who), who.late, publication.refused) == ({"tell.state": 1, "tell.out": 1}, set(), False)


def test_after_it_the_former_owner_writes_no_state_and_what_else_it_says_is_late() -> None:
    who, old, new = owners(), lane(1), lane(2)
    who.claim(old, ("tell.state",))
    who.claim(new, ("tell.state",))
    who.write(old, publication := handed_over())
    assert (written(who), publication.refused) == ({"tell.state": 0, "tell.out": 1}, True)
    assert who.late == {("tell.out", 0, 0)}
    assert who.log.part("tell.state", 0).next == 2, "each claim has left a marker"
    who.write(new, handed_over())
    assert written(who) == {"tell.state": 1, "tell.out": 2}


def test_a_claim_that_is_not_kept_refuses_nothing() -> None:
    who, old, new = owners(Semantics(claimed=False)), lane(1), lane(2)
    who.claim(old, ("tell.state",))
    who.claim(new, ("tell.state",))
    who.write(old, handed_over())
    assert written(who) == {"tell.state": 1, "tell.out": 1}


def test_of_a_transactional_lane_everything_is_refused() -> None:
    who, old, new = owners(), lane(1, transactional=True), lane(2, transactional=True)
    who.claim(old, ("tell.state",))
    assert not who.shut_out(old)
    who.claim(new, ("tell.state",))
    assert (who.shut_out(old), who.shut_out(new)) == (True, False)


@pytest.mark.parametrize(("claimed", "state"), [(False, 1), (True, 0)])
def test_what_a_killed_worker_had_in_a_socket_is_written_later_unless_a_claim_came_first(claimed: bool, state: int) -> None:
    who, old, new = owners(), lane(1), lane(2)
    who.claim(old, ("tell.state",))
    old.queue.append(handed_over())
    who.end(old)
    assert (written(who), who.lost) == ({"tell.state": 0, "tell.out": 0}, [OUT]), "what it had not handed over is lost at once"
    if claimed:
        who.claim(new, ("tell.state",))
    who.carry_out()
    assert written(who) == {"tell.state": state, "tell.out": 1}
    assert bool(who.late) is claimed
