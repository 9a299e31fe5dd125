"""Every deadline that railclear ships with, from the facts to the timing: open, at risk, overdue, late, in time."""
from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from streams.assess import assess
from streams.network.deadlines import lead_minutes
from streams.network.sides import SideSpec, route_sides, side_row
from streams.reference.model import FilingRow, SideRow
from streams.rules import pack_of
from tests.streams.border_world import BOX, T0, bound, box, doc, eta, presence, shipment
from tests.streams.test_assess_shipped import shipped
from topics.events.outputs import ClearanceUpdate, FilingSaid
from topics.facts import DAY, HOUR, MINUTE, Fact, Rank

CLOCK = T0 + 60 * DAY
"""When what the deadline is counted from happens, or is expected."""
ETAS = {"eta_first_station", "eta_customs_territory", "eta_office_of_first_entry", "eta_office_of_exit"}
FORESEEN = ETAS | {"presentation", "conveyance_declared", "loading_start"}
MARGIN = shipped().limits.at_risk_margin_minutes * MINUTE


class Due(NamedTuple):
    """A filing with a deadline, at a side whose row asks for it."""

    row: SideRow
    filing: FilingRow
    spec: SideSpec
    direction: str

    @property
    def at(self) -> int:
        lead = lead_minutes(self.filing, shipped().crossings[self.spec.crossing])
        assert lead is not None
        return CLOCK - lead * MINUTE

    def said(self, now: int, *facts: Fact) -> FilingSaid:
        return next(f for f in self.update(now, *facts).filings if f.kind == self.filing.kind)

    def update(self, now: int, *facts: Fact) -> ClearanceUpdate:
        boxes = [box(empty=True, goods=[], gross_kg=3_800.0)] if self.row.procedure == "empty" else [box()]
        declared = shipment(corridor="", crossings=[self.spec.crossing], direction=self.direction, containers=boxes, offices=[],
                            procedures={self.spec.authority: self.row.procedure} if self.row.procedure else {},
                            enrolments=[self.filing.enrolment] if self.filing.enrolment else [])
        found = assess("SAAAAAAAAAAAA", [declared, bound(), *facts], shipped(), (), now, pack_of(shipped()))
        return next(u for u in found.updates if u.side == self.spec.id)

    def expected(self) -> Fact:
        """The clock as it is foreseen."""
        side = self.spec.id
        if self.filing.clock_ref == "loading_start":
            return Fact(side=side, key=("loading_start",), at=T0, source="trains", rank=Rank.RAILWAY, scope=BOX, value=[CLOCK, CLOCK])
        return eta(side, CLOCK, spread=0)

    def happened(self) -> Fact:
        """The clock as it was."""
        side, authority = self.spec.id, self.spec.authority
        match self.filing.clock_ref:
            case "loading_start" | "unloading" as what:
                return Fact(side=side, key=(what,), at=CLOCK, source="term", rank=Rank.TERMINAL, scope=BOX)
            case "train_decl_review" | "conveyance_declared":
                return doc(side, "conveyance", "R1", "registered", CLOCK, authority)
            case "presentation":
                return presence(side, "presented", CLOCK, source=authority, rank=Rank.AUTHORITY)
            case "departure":
                return presence(side, "departed", CLOCK)
            case clock:
                assert clock in ETAS
                return presence(side, "seen", CLOCK)

    def registered(self, at: int) -> Fact:
        return doc(self.spec.id, self.filing.kind, "N1", "registered", at, self.spec.authority)


def sides_of(row: SideRow) -> Iterator[tuple[SideSpec, str]]:
    """Sides of the network that take this row."""
    for crossing in shipped().crossings.values():
        for direction in ("west", "east") if crossing.customs_border else ():
            for spec in route_sides(shipped(), [crossing.id], direction, (), ()):
                if spec.kind == row.kind and side_row(shipped(), spec, direction, row.procedure or "undecided", T0) is row:
                    yield spec, direction


def with_lead() -> list[Due]:
    found = []
    for row in shipped().side_rows:
        where = next(sides_of(row), None)
        found += [Due(row, f, *where) for f in row.filings if f.lead_minutes is not None and where is not None]
    return found


DUES = with_lead()
each = pytest.mark.parametrize("due", DUES, ids=[f"{d.row.id}-{d.filing.kind}" for d in DUES])


def test_every_row_with_a_deadline_is_tried() -> None:
    assert {(d.row.id, d.filing.kind) for d in DUES} == {(r.id, f.kind) for r in shipped().side_rows for f in r.filings if f.lead_minutes is not None}
    assert len(DUES) > 40


@each
def test_nothing_is_said_to_be_due_before_its_clock_is_known(due: Due) -> None:
    said = due.said(T0 + HOUR)
    assert (said.due, said.timing) == (None, "open")


@each
def test_it_is_open_well_before_and_at_risk_when_the_forecast_comes_near(due: Due) -> None:
    clock = due.expected() if due.filing.clock_ref in FORESEEN else due.happened()
    far = due.said(due.at - MARGIN, clock)
    assert (far.due, far.timing) == (due.at, "open")
    near = due.said(due.at - MARGIN + 1, clock)
    assert (near.due, near.timing) == (due.at, "at_risk")


@each
def test_it_is_late_only_when_it_was_registered_after_what_has_really_happened(due: Due) -> None:
    now = max(due.at, CLOCK) + DAY
    assert due.said(now, due.happened(), due.registered(due.at)).timing == "in_time"
    assert due.said(now, due.happened(), due.registered(due.at + 1)).timing == "late"
    if due.filing.clock_ref in FORESEEN:
        assert due.said(now, due.expected(), due.registered(due.at + 1)).timing == "at_risk", "a forecast makes nothing late"


@each
def test_it_is_overdue_once_the_time_is_over_and_not_a_moment_before(due: Due) -> None:
    if due.filing.clock_ref == "departure":
        return                                          # what has left is late or in time
    assert due.said(due.at, due.happened()).timing in ("at_risk", "open")
    assert due.said(due.at + 1, due.happened()).timing == "overdue"


def of(row: str, kind: str) -> Due:
    return next(d for d in DUES if (d.row.id, d.filing.kind) == (row, kind))


def test_the_manifest_comes_before_the_goods_are_declared_also_when_loading_is_far() -> None:
    due = of("cn-exit-kz", "manifest")
    declared = doc(due.spec.id, "declaration", "D1", "registered", T0 + 4 * DAY, "CN")
    assert due.said(T0 + 5 * DAY, due.expected(), declared).timing == "overdue"
    assert due.said(T0 + 5 * DAY, due.expected(), declared, due.registered(T0 + 4 * DAY + 1)).timing == "late"
    assert due.said(T0 + 5 * DAY, due.expected(), declared, due.registered(T0 + 4 * DAY)).timing == "in_time"
    assert due.said(T0 + 5 * DAY, due.expected()).timing == "open"
    after = doc(due.spec.id, "declaration", "D1", "registered", CLOCK, "CN")
    assert due.said(CLOCK, due.happened(), after, due.registered(due.at)).due == due.at, "two hours before loading is sooner"


def test_fourteen_days_for_the_import_declaration_run_from_presentation_or_from_arrival_under_a_registered_manifest() -> None:
    due = of("cn-entry-kz", "declaration")
    side = due.spec.id
    seen, manifest = presence(side, "seen", CLOCK), doc(side, "manifest", "M1", "registered", CLOCK - DAY, "CN")
    assert due.said(CLOCK + DAY, seen).due is None
    assert due.said(CLOCK + DAY, seen, manifest).due == CLOCK + 14 * DAY
    presented = presence(side, "presented", CLOCK + HOUR, source="CN", rank=Rank.AUTHORITY)
    assert due.said(CLOCK + DAY, seen, manifest, presented).due == CLOCK + HOUR + 14 * DAY
    own = doc(side, "conveyance", "R1", "registered", CLOCK + 2 * HOUR, "CN")
    assert due.said(CLOCK + DAY, seen, manifest, presented, own).due == CLOCK + 2 * HOUR + 14 * DAY
    assert due.said(CLOCK - DAY, manifest, eta(side, CLOCK, spread=0)).due == CLOCK + 14 * DAY


def test_a_terminals_word_that_loading_began_is_taken_before_the_announced_departure() -> None:
    due = of("cn-exit-kz", "manifest")
    began = Fact(side=due.spec.id, key=("loading_start",), at=CLOCK - 5 * HOUR, source="term", rank=Rank.TERMINAL, scope=BOX)
    assert due.said(CLOCK, due.expected(), began).due == CLOCK - 7 * HOUR


@pytest.mark.parametrize(("kind", "severity"), [("manifest", "warning"), ("declaration", "info")])
def test_a_deadline_that_is_only_tracked_is_said_and_warns_nobody(kind: str, severity: str) -> None:
    due = of("cn-exit-kz", kind)
    update = due.update(CLOCK + DAY, due.happened(), due.registered(due.at + 1))
    assert [f.severity for f in update.findings if f.code == "FILING_LATE"] == [severity]
