"""A side of which something is not known, because facts were refused or masked, is not free."""
from __future__ import annotations

from streams.assess import Previous, assess
from streams.clearance.state import FACTS_MORE, FACTS_PER_SCOPE_MAX, add
from tests.streams.border_world import BOX, CN_EXIT, KZ_ENTRY, T0, demand, doc, presence, reference, shipment
from topics.events.internal import MaskFacts
from topics.events.outputs import ClearanceUpdate
from topics.facts import HOUR, Fact, Rank, merge

MASK = MaskFacts(source="customs-kz", since=T0 + 5 * HOUR, until=T0 + 7 * HOUR, record="m1", version=1)


def bound() -> Fact:
    return Fact(side="*", key=("bound",), at=T0, source="fwd", rank=Rank.FORWARDER, scope=BOX, id="bound", value={"since": T0, "empty": False})


def released() -> list[Fact]:
    return [
        shipment(enrolments=[]), bound(), doc(KZ_ENTRY, "pi", "P1", "registered", T0, "KZ"),
        presence(KZ_ENTRY, "presented", T0 + 3 * HOUR, source="term", rank=Rank.TERMINAL), doc(KZ_ENTRY, "td", "T1", "released", T0 + 4 * HOUR, "KZ")]


def side(facts: list[Fact], name: str = KZ_ENTRY, masks: tuple[MaskFacts, ...] = (), limited: tuple[str, ...] = ()) -> ClearanceUpdate:
    found = assess("S1", list(merge({}, facts).values()), reference(), masks, T0 + 8 * HOUR, "pack", Previous(limited=limited))
    return next(u for u in found.updates if u.side == name)


def flags(count: int) -> list[Fact]:
    return [Fact(side=KZ_ENTRY, key=("flag", f"x{i}"), at=T0, source="KZ", scope=BOX, id=str(i)) for i in range(count)]


def test_a_side_that_has_refused_facts_keeps_its_state_and_does_not_move() -> None:
    free = side(released())
    assert free.state == "RELEASED"
    assert free.movable
    said = side(released(), limited=(KZ_ENTRY,))
    assert said.state == "RELEASED"
    assert not said.movable
    assert not said.ready
    assert not any(s.movable for s in said.scopes)
    assert "FACTS_LIMIT" in said.flags


def test_the_limit_of_one_side_does_not_bind_another() -> None:
    assert side(released(), limited=(CN_EXIT,)).movable
    assert side(released(), limited=("@CN/office/1",)).movable
    assert not side(released(), limited=("@KZ/office/1",)).movable


def test_a_side_that_has_refused_facts_is_not_cleared_before_arrival() -> None:
    facts = [shipment(enrolments=[]), bound(), doc(KZ_ENTRY, "pi", "P1", "registered", T0, "KZ"),
             Fact(side=KZ_ENTRY, key=("condition", "risk_cleared"), at=T0 + HOUR, source="KZ", value="proven")]
    rows = reference()
    rows = reference(side_rows=tuple(
        type(r)(**{**{f: getattr(r, f) for f in r.__struct_fields__}, "conditions": ("risk_cleared",)}) if r.id == "eaeu-entry" else r for r in rows.side_rows))

    def state(limited: tuple[str, ...]) -> ClearanceUpdate:
        found = assess("S1", facts, rows, (), T0 + 8 * HOUR, "pack", Previous(limited=limited))
        return next(u for u in found.updates if u.side == KZ_ENTRY)

    assert state(()).state == "PRE_CLEARED"
    said = state((KZ_ENTRY,))
    assert said.state == "ACCEPTED"
    assert "PRE_CLEARED" not in said.counts
    assert not said.ready


def test_what_stops_goods_is_kept_when_other_facts_are_refused() -> None:
    held, _, refused, _ = add((), flags(FACTS_PER_SCOPE_MAX))
    assert not refused
    _, _, refused, _ = add(held, flags(FACTS_PER_SCOPE_MAX + 1)[-1:])
    assert refused == [(0, KZ_ENTRY)]
    stops = [demand(KZ_ENTRY, "hold", f"H{n}", "opened", T0 + 3 * HOUR, "KZ", scope=BOX) for n in range(FACTS_MORE + 1)]
    held, _, refused, _ = add(held, stops[:1])
    assert not refused
    held, _, refused, _ = add(held, [doc(KZ_ENTRY, "td", "T1", "revoked", T0 + 3 * HOUR, "KZ", scope=BOX)])
    assert not refused
    _, _, refused, _ = add(held, stops[1:])
    assert refused


def test_masked_words_of_an_authority_are_said_and_nothing_moves() -> None:
    held = [*released(), demand(KZ_ENTRY, "hold", "H1", "opened", T0 + 6 * HOUR, "KZ")]
    assert side(held).state == "HELD"
    said = side(held, masks=(MASK,))
    assert said.state == "RELEASED"
    assert not said.movable
    assert "FACTS_MASKED" in {f.code for f in said.findings}


def test_a_mask_that_covers_nothing_of_the_shipment_changes_nothing() -> None:
    free = side(released(), masks=(MASK,))
    assert free.movable
    assert "FACTS_MASKED" not in free.flags
    held = [*released(), demand(KZ_ENTRY, "hold", "H1", "opened", T0 + 6 * HOUR, "KZ")]
    assert "FACTS_MASKED" not in side(held, name=CN_EXIT, masks=(MASK,)).flags


def test_a_word_that_comes_under_a_mask_is_seen_by_the_next_step_too() -> None:
    before = released()
    first = assess("S1", before, reference(), (MASK,), T0 + 8 * HOUR, "pack")
    after = [*before, demand(KZ_ENTRY, "hold", "H1", "opened", T0 + 6 * HOUR, "KZ")]
    again = assess("S1", after, reference(), (MASK,), T0 + 8 * HOUR, "pack", memo=first.memo)
    assert again.updates == assess("S1", after, reference(), (MASK,), T0 + 8 * HOUR, "pack").updates
    assert not next(u for u in again.updates if u.side == KZ_ENTRY).movable
