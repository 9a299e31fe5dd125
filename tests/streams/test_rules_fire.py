"""Every rule fires where it should and stays silent where it should not."""
from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec
import pytest

from streams.assess import assess
from streams.assess.restricted import restricted_of
from streams.reference.model import Agreement, Reference, RiskRow
from streams.rules import RULES, pack_of
from streams.rules.day import moment
from tests.streams.border_world import (
    BOX,
    BREST,
    CN_EXIT,
    DOSTYK,
    GTT,
    KZ_ENTRY,
    OTHER_BOX,
    PL_ENTRY,
    ROWS,
    T0,
    bound,
    box,
    condition,
    demand,
    doc,
    lodged,
    presence,
    reference,
    seal,
    shipment,
)
from tests.streams.test_assess_story import ARRIVAL, BY_THEN, KEY, at, broken, codes, look, read_at_dostyk, there, underway, verdicts
from topics.events.internal import FreshnessChanged
from topics.events.sites import CrossingCondition, RiskIndicator
from topics.facts import DAY, HOUR, MINUTE, Fact, Rank

EARLY = T0 + 5 * HOUR


class Seen(NamedTuple):
    """What to look at: facts, when, where, in which world."""

    facts: list[Fact]
    side: str = KZ_ENTRY
    now: int = EARLY
    ref: Reference = reference()
    said: tuple[msgspec.Struct, ...] = ()

    def found(self) -> set[str]:
        """Codes of findings and `RULE:verdict` of conditions."""
        update = at(look(self.facts, self.now, self.ref, self.said), self.side)
        return codes(update) | {f"{name}:{verdict}" for name, verdict in verdicts(update).items()}


def but(facts: list[Fact], *gone: str) -> list[Fact]:
    """Without facts that carry one of these words in their key."""
    return [f for f in facts if not set(gone) & set(f.key)]


def with_shipment(facts: list[Fact], **more: Any) -> list[Fact]:
    return [*but(facts, "shipment"), shipment(**more)]


def with_filing(facts: list[Fact], kind: str, number: str, authority: str, **content: Any) -> list[Fact]:
    return [*[f for f in facts if f.key[:3] != ("filing", kind, number)], lodged(kind, number, authority, T0 + HOUR, **content)]


def agreement(kind: str, parties: tuple[str, ...], **more: Any) -> Reference:
    row = Agreement(source="D", id=kind, kind=kind, parties=parties, in_force="2020-01-01", **more)
    return reference(agreements={GTT.id: GTT, kind: row})


def stale_kz(live: bool) -> FreshnessChanged:
    return FreshnessChanged(source="customs-kz", live=live, since=T0, last_event=T0)


def closed(state: str) -> CrossingCondition:
    return CrossingCondition(source="net", id="1", event_time=moment(T0), crossing=BREST, state=state, reason="wind")  # type: ignore[arg-type]


CONTROL = [demand(CN_EXIT, "control", "C1", "opened", T0 + 5, "CN"), demand(CN_EXIT, "control", "C1", "closed", T0 + 6, "CN")]
AEO = [{"role": "consignor", "name": "Shipper", "country": "CN", "aeo": "AEOCN1234567890"}, {"role": "consignee", "name": "Buyer", "country": "DE"}]
CERTIFICATE = Fact(side=KZ_ENTRY, key=("agency", "phyto", "", "P7", "certificate"), at=T0, source="phyto-kz", id="p7")
VALID = tuple(msgspec.structs.replace(r, filings=tuple(msgspec.structs.replace(f, validity_days=2) for f in r.filings)) if r.id == "eaeu-entry" else r
              for r in ROWS)
ANSWERED = tuple(msgspec.structs.replace(r, filings=tuple(msgspec.structs.replace(f, answer_minutes=120) if f.kind == "td" else f for f in r.filings))
                 for r in ROWS)
SENT_TD = doc("@KZ/doc/td/T1", "td", "T1", "sent", T0 + 4 * HOUR, "fwd", rank=Rank.FORWARDER)
RELEASED_TD = doc("@KZ/doc/td/T1", "td", "T1", "released", ARRIVAL + 45 * MINUTE, "KZ")
QUEUED = Seen([*there(), read_at_dostyk()], now=ARRIVAL + 26 * HOUR)

CASES: dict[str, tuple[str, Callable[[], Seen], Callable[[], Seen]]] = {
    # rule: (what is looked for, where it is found, where it is not)
    "GTT-01": ("GTT-01:proven", lambda: Seen(underway()), lambda: Seen(with_shipment(underway(), enrolments=[]))),
    "GTT-02": ("GTT_LATE", lambda: Seen([*but(underway(), "gtt"), doc("@CN/doc/gtt/G1", "gtt", "G1", "sent", T0 + 2 * HOUR, "fwd", rank=Rank.FORWARDER)]),
               lambda: Seen(underway())),
    "GTT-03": ("GTT_ARMED_LATE", lambda: Seen([*but(underway(), "seal"), seal("armed", T0 + 3 * HOUR), presence(CN_EXIT, "departed", T0 + 2 * HOUR)]),
               lambda: Seen(underway())),
    "GTT-04": ("GTT_BINDING", lambda: Seen(with_filing(underway(), "gtt", "G1", "CN", containers=[box(seals=["L-999"])])), lambda: Seen(underway())),
    "GTT-05": ("GTT_DATA", lambda: Seen(with_shipment(underway(), parties=[])), lambda: Seen(underway())),
    "GTT-06": ("GTT_ACK_LATE", lambda: Seen([*but(underway(), "gtt.partner_ack"), condition("@KZ", "gtt.partner_ack", ARRIVAL - HOUR, "KZ")]),
               lambda: Seen(underway())),
    "GTT-07": ("GTT_INSPECTION_DISCREPANCY", lambda: Seen([*underway(), condition("@CN", "inspection", T0 + 9, "CN", "failed")]),
               lambda: Seen([*but(underway(), "inspection_waived"), condition("@CN", "inspection", T0 + 9, "CN")])),
    "GTT-08": ("GTT_REFUSED", lambda: Seen([*but(underway(), "gtt.recognised"), condition("@KZ", "gtt.recognised", T0 + 9, "KZ", "failed")]),
               lambda: Seen(underway())),
    "GTT-09": ("GTT-09:proven", lambda: Seen([*there(), read_at_dostyk()], now=BY_THEN), lambda: Seen(there(), now=BY_THEN)),
    "GTT-10": ("GTT_SEAL_FAILED", lambda: Seen([*underway(), seal("broken", T0 + 4 * HOUR)]), lambda: Seen(underway())),
    "GTT-11": ("GTT_DEVIATION", lambda: Seen([*underway(), seal("deviation", T0 + 4 * HOUR)]), lambda: Seen(underway())),
    "GTT-12": ("GTT_BOX_CHANGED_UNSUPERVISED", lambda: Seen([*but(underway(), "bound"), bound(replaces=OTHER_BOX)]),
               lambda: Seen([*but(underway(), "bound"), bound(replaces=OTHER_BOX, act="A-7")])),
    "GTT-13": ("GTT_EXPIRED", lambda: Seen(underway(), now=T0 + 60 * HOUR, ref=reference(side_rows=VALID)),
               lambda: Seen(underway(), ref=reference(side_rows=VALID))),
    "ADV-01": ("FILING_AT_RISK", lambda: Seen(but(underway(), "pi"), now=ARRIVAL - 5 * HOUR), lambda: Seen(but(underway(), "pi"))),
    "ADV-02": ("FILING_OVERDUE", lambda: Seen(but(there(), "pi"), now=BY_THEN), lambda: Seen(there(), now=BY_THEN)),
    "ADV-03": ("FILING_LATE", lambda: Seen([*but(there(), "pi"), doc(KZ_ENTRY, "pi", "P1", "registered", ARRIVAL - HOUR, "KZ")], now=BY_THEN),
               lambda: Seen([*but(there(), "pi"), doc(KZ_ENTRY, "pi", "P1", "registered", ARRIVAL - 2 * HOUR, "KZ")], now=BY_THEN)),
    "ADV-04": ("FILING_MISSING", lambda: Seen([*but(underway(), "manifest"), presence(CN_EXIT, "seen", T0 + 4 * HOUR)], side=CN_EXIT),
               lambda: Seen([*underway(), presence(CN_EXIT, "seen", T0 + 4 * HOUR)], side=CN_EXIT)),
    "ADV-05": ("FILING_REJECTED", lambda: Seen([*underway(), doc("@PL/doc/ens/E1", "ens", "E1", "rejected", T0 + 4 * HOUR, "PL", code="IE3N01",
                                                                  value={"path": "/HouseConsignment/HS", "reason": "12"})], side=PL_ENTRY),
               lambda: Seen(underway(), side=PL_ENTRY)),
    "ADV-06": ("FILING_EXPIRED", lambda: Seen([*but(underway(), "pi"), doc(KZ_ENTRY, "pi", "P1", "registered", T0, "KZ", value={"valid_until": T0 + HOUR})]),
               lambda: Seen([*but(underway(), "pi"), doc(KZ_ENTRY, "pi", "P1", "registered", T0, "KZ", value={"valid_until": T0 + DAY})])),
    "ADV-08": ("PROCEDURE_UNDECIDED", lambda: Seen(with_shipment(underway(), procedures={}), side=PL_ENTRY),
               lambda: Seen([*underway(), lodged("transit", "N1", "PL", T0 + HOUR, office="PL301010")], side=PL_ENTRY)),
    "ADV-09": ("FILING_UNANSWERED", lambda: Seen([*underway(), SENT_TD], now=T0 + 7 * HOUR, ref=reference(side_rows=ANSWERED)),
               lambda: Seen([*underway(), SENT_TD], now=T0 + 6 * HOUR, ref=reference(side_rows=ANSWERED))),
    "SEAL-01": ("SEAL_FAILED", lambda: Seen(broken(), now=BY_THEN), lambda: Seen(there(), now=BY_THEN)),
    "SEAL-02": ("SEAL_UNPROVEN", lambda: Seen([*underway(), seal("lost", T0 + 4 * HOUR)]),
                lambda: Seen([*underway(), seal("lost", T0 + 4 * HOUR), seal("restored", T0 + 4 * HOUR + 1)])),
    "SEAL-03": ("SEAL_UNREAD", lambda: Seen(there(), now=BY_THEN), lambda: Seen([*there(), read_at_dostyk()], now=BY_THEN)),
    "SEAL-04": ("SEAL_DIFFERS", lambda: Seen(broken(), side=PL_ENTRY, now=BY_THEN), lambda: Seen(there(), side=PL_ENTRY, now=BY_THEN)),
    "REC-01": ("RECOGNITION_WITHDRAWN", lambda: Seen(broken(), now=BY_THEN), lambda: Seen(with_shipment(broken(), enrolments=[]), now=BY_THEN)),
    "REC-02": ("RECOGNITION_WITHHELD", lambda: Seen([*underway(), seal("battery_low", T0 + 4 * HOUR)]), lambda: Seen(underway())),
    "REC-03": ("RECOGNITION_ASKED", lambda: Seen([*underway(), *CONTROL], ref=agreement("recognition", ("CN", "KZ"))), lambda: Seen([*underway(), *CONTROL])),
    "BORD-01": ("LEFT_WITHOUT_RELEASE", lambda: Seen([*there(), presence(KZ_ENTRY, "departed", ARRIVAL + HOUR)], now=BY_THEN + HOUR),
                lambda: Seen([*there(), RELEASED_TD, presence(KZ_ENTRY, "departed", ARRIVAL + HOUR)], now=BY_THEN + HOUR)),
    "BORD-02": ("NO_NOTICE", lambda: QUEUED, lambda: Seen([*there(), read_at_dostyk()], now=BY_THEN)),
    "BORD-03": ("POST_CLOSED", lambda: Seen(there(), now=night()), lambda: Seen(there(), now=night() + 14 * HOUR)),
    "BORD-04": ("CROSSING_CLOSED", lambda: Seen(underway(), side=PL_ENTRY, said=(closed("closed"),)),
                lambda: Seen(underway(), side=PL_ENTRY, said=(closed("open"),))),
    "GAUGE-01": ("NO_NEXT_TRAIN", lambda: Seen([*there(), RELEASED_TD], now=BY_THEN),
                 lambda: Seen([*there(), RELEASED_TD, Fact(side=KZ_ENTRY, key=("run",), at=T0, source="trains", rank=Rank.RAILWAY, scope=BOX, value="R2")],
                              now=BY_THEN)),
    "STALE-01": ("SOURCE_STALE", lambda: Seen(underway(), said=(stale_kz(False),)), lambda: Seen(underway(), said=(stale_kz(True),))),
    "ROUTE-01": ("SIDE_AMBIGUOUS", lambda: Seen([*lithuania(), doc("@PL", "transit", "N1", "released", T0, "PL")], side=PL_ENTRY, ref=twice()),
                 lambda: Seen([*lithuania(), doc("@PL/office/PL301010", "transit", "N1", "released", T0, "PL")], side=PL_ENTRY, ref=twice())),
    "ROUTE-02": ("UNMAPPED_OFFICE", lambda: Seen(with_shipment(underway(), offices=["DE:DE999999"]), side="DE999999:DE:OFFICE"),
                 lambda: Seen(with_shipment(underway(), offices=["DE:DE004851"]), side="DE004851:DE:OFFICE")),
    "ROUTE-03": ("BLOCKED_BY_TERRITORY", lambda: Seen([*underway(), demand("@RU", "hold", "H1", "opened", T0 + HOUR, "RU")], side=PL_ENTRY),
                 lambda: Seen([*underway(), demand("@RU", "hold", "H1", "opened", T0 + HOUR, "RU"), demand("@RU", "hold", "H1", "closed", T0 + 2 * HOUR, "RU")],
                              side=PL_ENTRY)),
    "AEO-01": ("AEO_MISSING", lambda: Seen(with_filing(with_shipment(underway(), parties=AEO), "ens", "E1", "PL", parties=[{"role": "consignor"}]),
                                           side=PL_ENTRY, ref=agreement("aeo_mra", ("CN", "EU"))),
               lambda: Seen(with_filing(with_shipment(underway(), parties=AEO), "ens", "E1", "PL", parties=AEO), side=PL_ENTRY,
                            ref=agreement("aeo_mra", ("CN", "EU")))),
    "LANE-01": ("GREEN_LANE_LOST", lambda: Seen(with_shipment(underway(), enrolments=["green_lane"]), ref=agreement("green_lane", ("CN", "KZ"))),
                lambda: Seen([*with_shipment(underway(), enrolments=["green_lane"]), CERTIFICATE], ref=agreement("green_lane", ("CN", "KZ")))),
    "TRN-01": ("TRANSIT_ENDING", lambda: Seen([*there(), RELEASED_TD], now=ARRIVAL + 6 * DAY + 2 * HOUR), lambda: Seen([*there(), RELEASED_TD], now=BY_THEN)),
    "TRN-02": ("TRANSIT_ENQUIRY", lambda: Seen([*there(), RELEASED_TD, doc("@KZ/doc/td/T1", "td", "T1", "enquiry", ARRIVAL + DAY, "KZ", code="IE140")],
                                               now=ARRIVAL + 2 * DAY),
               lambda: Seen([*there(), RELEASED_TD], now=ARRIVAL + 2 * DAY)),
    "TRN-03": ("LEG_UNCOVERED", lambda: Seen([*but(there(), "td"), presence(KZ_ENTRY, "departed", ARRIVAL + HOUR)], now=BY_THEN + HOUR),
               lambda: Seen([*there(), RELEASED_TD, presence(KZ_ENTRY, "departed", ARRIVAL + HOUR)], now=BY_THEN + HOUR)),
    "DOC-01": ("MASS_DIFFERS", lambda: Seen(with_filing(underway(), "pi", "P1", "KZ", containers=[box(gross_kg=20_300.0)])),
               lambda: Seen(with_filing(underway(), "pi", "P1", "KZ", containers=[box(gross_kg=20_100.0)]))),
    "DOC-02": ("WEIGHED_DIFFERS", lambda: Seen([*underway(), weighed(27_800.0)]), lambda: Seen([*underway(), weighed(20_100.0)])),
    "DOC-03": ("PACKAGES_DIFFER", lambda: Seen(with_filing(underway(), "pi", "P1", "KZ", containers=[box(packages=99)])), lambda: Seen(underway())),
    "DOC-04": ("HS_SHORT", lambda: Seen(with_filing(underway(), "ens", "E1", "PL", containers=[box(goods=[{"description": "Laptops", "hs": "8471"}])]),
                                        side=PL_ENTRY),
               lambda: Seen(underway(), side=PL_ENTRY)),
    "DOC-05": ("EMPTY_BUT_HEAVY", lambda: Seen(with_shipment(underway(), containers=[box(empty=True, gross_kg=19_000.0)])),
               lambda: Seen(with_shipment(underway(), containers=[box(empty=True, gross_kg=3_800.0)]))),
    "DOC-06": ("CONTAINER_NUMBER_INVALID", lambda: Seen(with_shipment(underway(), containers=[box("MZWU2146681")])), lambda: Seen(underway())),
    "DOC-07": ("DESCRIPTION_VAGUE", lambda: Seen(with_filing(underway(), "pi", "P1", "KZ", containers=[box(goods=[{"description": "Parts", "hs": "847330"}])]),
                                                 ref=vague()),
               lambda: Seen(underway(), ref=vague())),
}


def night() -> int:
    """Two in the morning at Dostyk, after the arrival."""
    local = moment(BY_THEN) + timedelta(hours=5)
    return BY_THEN + int((timedelta(hours=26) - timedelta(hours=local.hour, minutes=local.minute)).total_seconds()) * 1_000_000


def weighed(kg: float) -> Fact:
    return Fact(side="*", key=("mass", "dostyk"), at=T0 + HOUR, source="term", rank=Rank.TERMINAL, scope=BOX, id="term/w", value={"gross_kg": kg})


def vague() -> Reference:
    return reference(risks=(RiskRow(source="D", risk_class="vague", kind="keyword", value="parts", language="en"),))


def twice() -> Reference:
    """Poland has two sides on this route: in at Małaszewicze, out and in again."""
    base = reference()
    again = msgspec.structs.replace(base.crossings[BREST], id="PL-BY-KUZNICA-BRUZGI", a="kuznica", b="bruzgi", a_authority="PL", b_authority="BY", offices={})
    return msgspec.structs.replace(base, crossings={**base.crossings, again.id: again})


def lithuania() -> list[Fact]:
    return with_shipment(but(underway(), "ens"), crossings=[DOSTYK, BREST, "PL-BY-KUZNICA-BRUZGI"], enrolments=[])


TOLD_ELSEWHERE = {"ADV-07", "RISK-01", "RISK-02", "ROUTE-04", "ROUTE-05"}


@pytest.mark.parametrize("answer", ["registered", "rejected"])
def test_an_answer_of_the_authority_ends_the_wait_and_the_clock_alone_begins_to_ask(answer: str) -> None:
    ref, sent = reference(side_rows=ANSWERED), [*underway(), SENT_TD]
    assert look(sent, T0 + 5 * HOUR, ref).next_due == T0 + 6 * HOUR + 1
    said = doc("@KZ/doc/td/T1", "td", "T1", answer, T0 + 7 * HOUR, "KZ")
    assert "FILING_UNANSWERED" not in Seen([*sent, said], now=T0 + 9 * HOUR, ref=ref).found()
    assert "FILING_UNANSWERED" not in Seen(sent, now=T0 + 9 * HOUR).found(), "no time is known in which it has to be answered"


def test_every_rule_has_a_case_both_ways() -> None:
    assert {r.id for r in RULES} == set(CASES) | TOLD_ELSEWHERE
    assert len({r.id for r in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", sorted(CASES))
def test_a_rule_fires(rule: str) -> None:
    what, yes, _ = CASES[rule]
    assert what in yes().found()


@pytest.mark.parametrize("rule", sorted(CASES))
def test_and_does_not_fire_without_cause(rule: str) -> None:
    what, _, no = CASES[rule]
    assert what not in no().found()


@pytest.mark.parametrize(("sent", "code"), [(T0 + 1, "FAST_CLEARANCE_BEFORE_MANIFEST"), (ARRIVAL + HOUR, "FAST_CLEARANCE_AFTER_ENTRY"), (T0 + HOUR, "")])
def test_fast_clearance_data_come_after_the_manifest_and_before_entry(sent: int, code: str) -> None:
    entry = "CN-KZ-ALASHANKOU-DOSTYK:CN:ENTRY"
    facts = [shipment(direction="east", enrolments=["fast_clearance"]), bound(), doc(entry, "manifest", "M1", "registered", T0 + 2, "CN"),
             presence(entry, "seen", ARRIVAL), doc(entry, "fast_clearance", "F1", "sent", sent, "fwd", rank=Rank.FORWARDER)]
    found = codes(at(look(facts, ARRIVAL + 2 * HOUR), entry))
    assert {c for c in found if c.startswith("FAST")} == ({code} if code else set())


def restricted(facts: list[Fact], *said: msgspec.Struct, now: int = EARLY) -> dict[str, set[str]]:
    ref = reference()
    found = assess(KEY, facts, ref, (), now, pack_of(ref))
    views, _ = restricted_of(found, ref, {str(n): b for n, b in enumerate(said)}, (), now)
    return {v.side: {f.code for f in v.findings} for v in views}


@pytest.mark.parametrize(("goods", "found"), [
    ({"description": "Hunting rifles", "hs": "93032000"}, False), ({"description": "Rifles", "hs": "93010000"}, True),
    ({"description": "Solvent", "hs": "29141100"}, False), ({"description": "Acetone", "hs": "29141100"}, True)])
def test_one_strong_hint_or_two_weak_ones_of_different_kinds(goods: dict[str, str], found: bool) -> None:
    facts = [f for f in with_shipment(underway(), containers=[box(goods=[goods])]) if f.key[0] != "filing"]
    assert bool(restricted(facts)) is found


def test_an_indicator_hits_only_sides_of_its_participants() -> None:
    hit = RiskIndicator(source="risk-kz", id="i1", event_time=moment(T0), authority="KZ", valid_from=moment(T0), valid_until=moment(T0 + DAY),
                        containers=(BOX,), score=0.9)
    assert restricted(underway(), hit) == {KZ_ENTRY: {"INDICATOR_HIT"}}
    shared = msgspec.structs.replace(hit, secrecy="participants", participants=("PL",))
    assert set(restricted(underway(), shared)) == {KZ_ENTRY, PL_ENTRY}
    assert restricted(underway(), hit, now=T0 + 2 * DAY) == {}
