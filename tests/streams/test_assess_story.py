"""The customs-rail link from Chongqing to Poland, told with facts: pre-cleared, ready, released by notice; and what a broken lock does."""
from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streams.assess import Assessment, assess
from streams.reference.model import Reference
from streams.rules import pack_of
from tests.streams.border_world import (
    BOX,
    BY_EXIT,
    CN_EXIT,
    GTT,
    KZ_ENTRY,
    PL_ENTRY,
    T0,
    bound,
    box,
    condition,
    doc,
    eta,
    lodged,
    presence,
    reference,
    seal,
    shipment,
)
from topics.events.outputs import ClearanceUpdate
from topics.facts import HOUR, MINUTE, Fact, Rank

KEY = "SAAAAAAAAAAAA"
ARRIVAL = T0 + 48 * HOUR
BY_THEN = ARRIVAL + HOUR
REF = reference()


def look(facts: list[Fact], now: int, ref: Reference = REF, broadcasts: tuple[msgspec.Struct, ...] = ()) -> Assessment:
    return assess(KEY, facts, ref, broadcasts, now, pack_of(ref))


def at(found: Assessment, side: str) -> ClearanceUpdate:
    return next(u for u in found.updates if u.side == side)


def codes(update: ClearanceUpdate) -> set[str]:
    return {f.code for f in update.findings}


def verdicts(update: ClearanceUpdate) -> dict[str, str]:
    return {c.name: c.verdict for c in update.conditions}


def underway() -> list[Fact]:
    """Everything that must be so before the train reaches Dostyk."""
    return [
        shipment(), bound(), eta(KZ_ENTRY, ARRIVAL), eta(PL_ENTRY, T0 + 300 * HOUR), eta(BY_EXIT, T0 + 296 * HOUR),
        lodged("manifest", "M1", "CN", T0), doc("@CN/doc/manifest/M1", "manifest", "M1", "registered", T0 + 1, "CN"),
        doc("@CN/doc/manifest/M1", "manifest", "M1", "released", T0 + 2, "CN", code="BLR"),
        doc("@CN", "declaration", "D1", "registered", T0 + 3, "CN"), doc("@CN", "declaration", "D1", "released", T0 + 4, "CN", code="PAS"),
        lodged("gtt", "G1", "CN", T0), doc("@CN/doc/gtt/G1", "gtt", "G1", "sent", T0 + 5, "fwd", rank=Rank.FORWARDER),
        doc("@CN", "conveyance", "R1", "registered", T0 + HOUR, "CN", code="ETC"),
        condition("@CN", "inspection_waived", T0 + 6, "CN"),
        seal("applied", T0 + 7), seal("armed", T0 + 8),
        condition("@KZ", "gtt.partner_ack", T0 + 2 * HOUR, "KZ"), condition("@KZ", "gtt.recognised", T0 + 3 * HOUR, "KZ"),
        lodged("pi", "P1", "KZ", T0 + HOUR), doc("@KZ/doc/pi/P1", "pi", "P1", "registered", T0 + 2 * HOUR, "KZ"),
        lodged("ens", "E1", "PL", T0 + HOUR), doc("@PL/doc/ens/E1", "ens", "E1", "registered", T0 + 2 * HOUR, "PL", code="IE3R01"),
        lodged("td", "T1", "KZ", T0 + 4 * HOUR, office="KZ-DOSTYK", offices=["BY:BY-BREST"]),
    ]


def there() -> list[Fact]:
    return [
        *underway(), presence(CN_EXIT, "departed", ARRIVAL - 2 * HOUR), presence(KZ_ENTRY, "seen", ARRIVAL),
        doc("@KZ/doc/td/T1", "td", "T1", "registered", ARRIVAL + 20 * MINUTE, "KZ"),
        Fact(side="@KZ/office/KZ-DOSTYK", key=("presented", "1"), at=ARRIVAL + 10 * MINUTE, source="KZ", id="KZ/presented")]


def read_at_dostyk() -> Fact:
    return seal("ok", ARRIVAL + 30 * MINUTE, source="KZ", rank=Rank.AUTHORITY, place="dostyk", read_at=KZ_ENTRY)


def test_with_every_condition_before_arrival_proven_the_entry_side_is_pre_cleared() -> None:
    update = at(look(underway(), T0 + 5 * HOUR), KZ_ENTRY)
    assert verdicts(update) == {
        "GTT-01": "proven", "GTT-02": "proven", "GTT-03": "proven", "GTT-04": "proven", "GTT-05": "proven", "GTT-06": "proven", "GTT-07": "proven",
        "GTT-08": "proven", "GTT-09": "unknown", "GTT-10": "proven", "GTT-11": "proven", "GTT-12": "proven"}
    assert (update.state, update.basis.kind) == ("PRE_CLEARED", "INFERRED")


@pytest.mark.parametrize("missing", ["gtt.partner_ack", "gtt.recognised", "inspection_waived", "armed", "gtt"])
def test_without_one_of_them_it_stays_accepted(missing: str) -> None:
    kept = [f for f in underway() if missing not in f.key[1:] and not (missing == "armed" and f.key[0] == "seal")]
    assert at(look(kept, T0 + 5 * HOUR), KZ_ENTRY).state == "ACCEPTED"


def test_not_enrolled_the_side_has_no_link_conditions_and_none_of_its_own_so_it_is_accepted() -> None:
    facts = [f for f in underway() if f.key[0] != "shipment"] + [shipment(enrolments=[])]
    update = at(look(facts, T0 + 5 * HOUR), KZ_ENTRY)
    assert (update.state, update.conditions) == ("ACCEPTED", ())


def test_on_arrival_it_is_ready_only_once_the_lock_is_read_there() -> None:
    before = at(look(there(), BY_THEN), KZ_ENTRY)
    after = at(look([*there(), read_at_dostyk()], BY_THEN), KZ_ENTRY)
    assert (before.state, before.ready, after.state, after.ready) == ("ARRIVED", False, "ARRIVED", True)
    assert "SEAL_UNREAD" in codes(before)
    assert "SEAL_UNREAD" not in codes(after)
    assert verdicts(after)["GTT-09"] == "proven"


def test_only_the_authoritys_notice_releases() -> None:
    facts = [*there(), read_at_dostyk(), doc("@KZ/doc/td/T1", "td", "T1", "released", ARRIVAL + 45 * MINUTE, "KZ", code="TD-RELEASED")]
    update = at(look(facts, BY_THEN), KZ_ENTRY)
    assert (update.state, update.basis.kind, update.basis.source, update.basis.code) == ("RELEASED", "AUTHORITY", "KZ", "TD-RELEASED")
    by_forwarder = [*there(), read_at_dostyk(), doc("@KZ/doc/td/T1", "td", "T1", "released", ARRIVAL + 45 * MINUTE, "fwd", rank=Rank.FORWARDER)]
    assert at(look(by_forwarder, BY_THEN), KZ_ENTRY).state == "ARRIVED"


def test_without_the_notice_an_alert_says_whom_to_call() -> None:
    facts = [*there(), read_at_dostyk()]
    soon = look(facts, ARRIVAL + 2 * HOUR)
    late = look(facts, ARRIVAL + 26 * HOUR)
    assert not [a for a in soon.alerts if a.name == "NoNoticeFromAuthority"]
    alert = next(a for a in late.alerts if a.name == "NoNoticeFromAuthority")
    assert (alert.side, alert.call) == (KZ_ENTRY, "+7 000 000")
    assert soon.next_due is not None
    waiting = at(soon, KZ_ENTRY).actions[0]
    assert (waiting.wait_for, waiting.call) == ("decision of KZ", "+7 000 000")


def broken() -> list[Fact]:
    return [*there(), seal("tamper", ARRIVAL + 40 * MINUTE, side="*", place="dostyk")]


def test_a_lock_that_breaks_at_dostyk_withdraws_recognition_there_and_predicts_control() -> None:
    update = at(look(broken(), BY_THEN), KZ_ENTRY)
    assert {"SEAL_FAILED", "RECOGNITION_WITHDRAWN"} <= codes(update)
    assert {"control_likely", "recognition_withdrawn"} <= set(update.flags)
    assert verdicts(update)["GTT-10"] == "failed"
    assert update.state == "ARRIVED", "control is the authority's to order"


@pytest.mark.parametrize(("side", "documents"), [(BY_EXIT, "note, TD"), (PL_ENTRY, "note, ENS")])
def test_later_sides_see_a_seal_that_differs_until_the_replacement_is_on_their_documents(side: str, documents: str) -> None:
    found = next(f for f in at(look(broken(), BY_THEN), side).findings if f.code == "SEAL_DIFFERS")
    assert (found.present, found.scope) == (documents, BOX)
    assert "RECOGNITION_WITHDRAWN" not in codes(at(look(broken(), BY_THEN), side)), "the CN–KZ agreement extends to nobody"
    new = seal("opened_authorised", ARRIVAL + 50 * MINUTE, source="KZ", rank=Rank.AUTHORITY, side="*", until=ARRIVAL + 55 * MINUTE, new="L-200", act="A1")
    half = [*broken(), new]
    assert next(f for f in at(look(half, BY_THEN), side).findings if f.code == "SEAL_DIFFERS").expected == "L-200"
    amended = renewed(half, "L-200")
    assert "SEAL_DIFFERS" not in codes(at(look(amended, BY_THEN), side))


@pytest.mark.parametrize(("side", "kind", "name"), [(BY_EXIT, "td", "TD"), (PL_ENTRY, "ens", "ENS")])
def test_an_amendment_that_names_the_new_seal_counts_once_the_authority_has_registered_it(side: str, kind: str, name: str) -> None:
    number, authority, at_once = {"td": "T1", "ens": "E1"}[kind], {"td": "KZ", "ens": "PL"}[kind], ARRIVAL + 57 * MINUTE
    new = seal("opened_authorised", ARRIVAL + 50 * MINUTE, source="KZ", rank=Rank.AUTHORITY, side="*", until=ARRIVAL + 55 * MINUTE, new="L-200", act="A1")
    place = f"@{authority}/doc/{kind}/{number}"
    sent = doc(place, kind, number, "amendment_sent", at_once, "fwd", rank=Rank.FORWARDER)
    lodged_only = [*renewed([*broken(), new], "L-200"), sent]
    found = next(f for f in at(look(lodged_only, BY_THEN), side).findings if f.code == "SEAL_DIFFERS")
    assert (found.present, found.expected) == (name, "L-200")
    registered = [*lodged_only, doc(place, kind, number, "amended", at_once + MINUTE, authority)]
    assert "SEAL_DIFFERS" not in codes(at(look(registered, BY_THEN), side))


def renewed(facts: list[Fact], lock: str) -> list[Fact]:
    def fresh(f: Fact) -> Fact:
        if f.key[0] in ("filing", "shipment") and isinstance(f.value, dict):
            return msgspec.structs.replace(f, version=1, value={**f.value, "containers": [box(seals=[lock])]})
        return f
    return [fresh(f) for f in facts]


def test_a_lock_that_holds_leaves_later_sides_without_that_finding() -> None:
    assert "SEAL_DIFFERS" not in codes(at(look([*there(), read_at_dostyk()], BY_THEN), PL_ENTRY))


def test_with_an_agreement_that_extends_to_poland_recognition_is_withdrawn_there_too() -> None:
    wide: dict[str, Any] = {GTT.id: msgspec.structs.replace(GTT, extends_to=("PL",))}
    found = at(look(broken(), BY_THEN, reference(agreements=wide)), PL_ENTRY)
    assert "RECOGNITION_WITHDRAWN" in codes(found)
    assert "recognition_withdrawn" in found.flags
