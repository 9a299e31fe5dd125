"""No authority sees what another one said, unless a dated row lets that field through."""
from __future__ import annotations

import msgspec
import pytest

from topics.disclosure import allowed, for_reader
from topics.events.outputs import BasisSaid, ClearanceUpdate, ConditionSaid, Evidence, FindingSaid, FreshSaid, NextAction, SealSaid
from topics.facts import DAY

DAY_0 = 20_500 * DAY
"""2026-02-16."""


class Agreement(msgspec.Struct, frozen=True):
    parties: tuple[str, ...] = ("CN", "KZ")
    directional: bool = False
    scope: tuple[str, ...] = ("status", "time")
    in_force: str = "2026-01-01"
    suspended: bool = False
    enabled: bool = True
    crossings: tuple[str, ...] = ()
    valid_from: str = ""
    valid_to: str = ""


def update(authority: str = "KZ", **changes: object) -> ClearanceUpdate:
    said = ClearanceUpdate(
        shipment="S1", side=f"CN-KZ-ALASHANKOU-DOSTYK:{authority}:ENTRY", revision=7, state="ARRIVED", assessed_at=DAY_0, authority=authority,
        kind="ENTRY", crossing="CN-KZ-ALASHANKOU-DOSTYK", office="KZ57505", since=DAY_0 - 5, eta=(1, 2, 3), present=True, run="R1",
        basis=BasisSaid(kind="AUTHORITY", source=authority, code="x", number="KZ-1"),
        evidence=(Evidence(id="e-own", source="KZ", at=1, key=("doc", "td", "1", "registered")),
                  Evidence(id="e-cn", source="CN", at=1, key=("doc", "declaration", "1", "released")),
                  Evidence(id="e-cn-check", source="customs-cn", at=1, key=("condition", "inspection")),
                  Evidence(id="e-rail", source="ktz", at=1, key=("seen", "1"))),
        seals=(SealSaid(chain="customs_lock", container="CSQU3054383", verdict="OK", readings=(
            Evidence(id="s-cn", source="CN", at=1, key=("seal", "customs_lock", "checked_ok", "1")),
            Evidence(id="s-rail", source="ktz", at=2, key=("seal", "customs_lock", "checked_ok", "2")))),),
        conditions=(ConditionSaid(name="recognised", verdict="proven", evidence=("e-cn-check", "e-own"), detail="by CN"),
                    ConditionSaid(name="pi", verdict="proven", evidence=("e-own",), detail="kept")),
        findings=(FindingSaid(rule="REC-01", code="X", severity="info", titles={"en": "x"}, evidence=("e-cn",)),
                  FindingSaid(rule="ADV-01", code="Y", severity="info", titles={"en": "y"}, evidence=("e-own",)),
                  FindingSaid(rule="ADV-02", code="Z", severity="info", titles={"en": "z"}, side="X:CN:EXIT")),
        actions=(NextAction(role="carrier", side=f"CN-KZ-ALASHANKOU-DOSTYK:{authority}:ENTRY"), NextAction(role="carrier", side="RU:TERRITORY")),
        blocked_by=("RU:TERRITORY", "veterinary"), freshness=(FreshSaid(source="customs-cn", live=True), FreshSaid(source="ktz", live=True)),
        carriers=("ktz", "forwarder"))
    return msgspec.structs.replace(said, **changes)


def test_on_its_own_side_an_authority_sees_all_but_what_others_said() -> None:
    seen = for_reader(update(), "KZ", ())
    assert seen is not None
    assert [e.id for e in seen.evidence] == ["e-own", "e-rail"]
    assert [f.rule for f in seen.findings] == ["ADV-01"]
    assert [(c.name, c.verdict, c.detail) for c in seen.conditions] == [("recognised", "unknown", ""), ("pi", "proven", "kept")]
    assert [e.id for e in seen.seals[0].readings] == ["s-rail"], "what the carrier reads travels as the carrier's"
    assert seen.seals[0].verdict == "unknown", "a verdict that rests on a hidden reading is not told"
    assert [a.side for a in seen.actions] == ["CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY"]
    assert seen.blocked_by == ("veterinary",)
    assert [f.source for f in seen.freshness] == ["ktz"]
    assert seen.carriers == ()
    assert (seen.state, seen.eta, seen.present) == ("ARRIVED", (1, 2, 3), True)
    assert b"e-cn" not in msgspec.json.encode(seen)
    assert b"CN-1" not in msgspec.json.encode(seen)


def test_an_agreement_lets_exactly_its_fields_through() -> None:
    seen = for_reader(update(), "KZ", (Agreement(scope=("inspection", "scan")),))
    assert seen is not None
    assert [e.id for e in seen.evidence] == ["e-own", "e-cn-check", "e-rail"]
    assert seen.conditions[0].verdict == "proven"
    assert [e.id for e in seen.seals[0].readings] == ["s-rail"]
    sealed = for_reader(update(), "KZ", (Agreement(scope=("seal",)),))
    assert sealed is not None
    assert len(sealed.seals[0].readings) == 2
    assert sealed.seals[0].verdict == "OK"


def test_another_authoritys_side_is_nothing_without_a_row() -> None:
    assert for_reader(update(), "CN", ()) is None
    assert for_reader(update(), "PL", (Agreement(),)) is None, "a row between others is no row"
    assert for_reader(update(), "CN", (Agreement(scope=("seal",)),)) is None, "a seal alone is not the status"


def test_another_authoritys_side_shows_the_agreed_fields_and_no_more() -> None:
    seen = for_reader(update(), "CN", (Agreement(scope=("status",)),))
    assert seen is not None
    assert (seen.state, seen.present, seen.since, seen.office, seen.seals, seen.evidence) == ("ARRIVED", True, None, "", (), ())
    assert (seen.findings, seen.actions, seen.filings, seen.conditions, seen.flags) == ((), (), (), (), ())
    assert seen.basis == BasisSaid(kind="AUTHORITY"), "not its number"
    full = for_reader(update(), "CN", (Agreement(scope=("status", "time", "office", "seal", "inspection")),))
    assert full is not None
    assert (full.since, full.office) == (DAY_0 - 5, "KZ57505")
    assert all(e.source in ("KZ", "customs-kz") for e in full.evidence)


@pytest.mark.parametrize(("row", "fires"), [
    (Agreement(), True),
    (Agreement(in_force=""), False),
    (Agreement(in_force="2026-02-16"), True),
    (Agreement(in_force="2026-02-17"), False),
    (Agreement(suspended=True), False),
    (Agreement(enabled=False), False),
    (Agreement(valid_to="2026-02-16"), False),
    (Agreement(valid_from="2026-03-01"), False),
    (Agreement(crossings=("CN-MN-ERENHOT-ZAMYN-UUD",)), False),
    (Agreement(crossings=("CN-KZ-ALASHANKOU-DOSTYK",)), True),
    (Agreement(directional=True), False),
    (Agreement(parties=("KZ", "CN"), directional=True), True),
    (Agreement(parties=("EAEU", "CN")), True),
])
def test_a_row_counts_only_in_force_for_the_pair_the_way_and_the_place(row: Agreement, fires: bool) -> None:
    fields = allowed("KZ", "CN", (row,), "2026-02-16", "CN-KZ-ALASHANKOU-DOSTYK", {"KZ": "EAEU"})
    assert bool(fields) is fires
    assert (for_reader(update(), "CN", (row,), {"KZ": "EAEU"}) is not None) is fires
