"""What happens to a train's consignments at one post: filings, presence, seals, checks, release. Gives when each may go on."""
from __future__ import annotations

import random
from dataclasses import dataclass

from streams.reference.model import FilingRow, Place, Reference, SideRow
from streams.simulate.cargo import Box, Consignment, Filing
from streams.simulate.clockwork import MINUTE
from streams.simulate.codebook import side_row
from streams.simulate.desk import Desk, Life, Post
from streams.simulate.incidents import strikes
from streams.simulate.numbers import Numbers
from streams.simulate.options import SimOptions
from streams.simulate.parcels import Parcels
from streams.simulate.pen import Pen
from streams.simulate.rails import Part
from streams.simulate.seals import Seals
from topics.events.sites import AgencyNotice, TerminalEvent

TRAIN_WIDE = frozenset({"manifest", "loading_manifest", "conveyance", "gtt", "fast_clearance", "arrival_report", "tally"})
"""Filings that speak of a whole train; all others of one consignment."""
WANTED = {
    "transit": ("td", "transit"), "import": ("import", "declaration"), "warehouse": ("warehouse", "import"), "export": ("declaration", "export", "dt"),
    "undecided": ("transit", "td", "import"), "empty": ("td", "import", "declaration"),
}
"""Kinds by which a planned procedure is released, the usual first."""
NEVER_GOES = 1 << 62
"""The consignment stays here for good."""
TRANSITS = frozenset({"td", "transit", "tir"})
AHEAD_HOURS = (12.0, 60.0)
"""How long before its deadline a pre-arrival filing is lodged in time: from the data at departure [D]."""
BEFORE_LOADING = {"manifest": (0.2, 2.0), "declaration": (8.0, 14.0), "loading_manifest": (16.0, 20.0)}
"""Hours after a train's documents are opened at its origin: manifest, then the goods are declared, then loaded (domain section 3)."""
STAND_IN = frozenset({"td", "transit", "dt", "export", "declaration", "import", "release"})
"""Documents under which an exit is permitted."""
AGENCIES = {"EU": "veterinary", "EAEU": "phyto", "": "border_guard"}


@dataclass
class Pending:
    """One consignment at one post."""

    consignment: Consignment
    row: SideRow
    ready: int
    """Nothing is released before."""
    presented: int = 0
    leaves: int = 0
    goes: bool = True
    """False: never released."""


class Border:
    """One journey's posts."""

    def __init__(self, reference: Reference, pen: Pen, desk: Desk, seals: Seals, numbers: Numbers, rng: random.Random, options: SimOptions) -> None:
        self.reference, self.pen, self.desk, self.seals = reference, pen, desk, seals
        self.numbers, self.rng, self.options = numbers, rng, options
        self.parcels = Parcels(pen, desk, numbers, rng)

    # -- one post ------------------------------------------------------------------------------------------------------------
    def visit(self, part: Part, post: Post, onward: tuple[str, ...], site: tuple[str, str], *, office_role: str = "") -> dict[int, int]:
        """Everything up to the release at this post. `onward`: offices that transit documents name beside this one; `site`: terminal place and
        operator. Gives per consignment (by id()) when it may leave; NEVER_GOES when it stays."""
        pending = [p for c in part.consignments if (p := self._pending(part, c, post, office_role)) is not None]
        unknown = {id(c): post.arrives for c in part.consignments}
        self._file_all(part, post, pending, onward, before=True)
        self._present(part, post, pending, site)
        self._file_all(part, post, pending, onward, before=False)
        self._wide_release(part, post, pending)
        for one in pending:
            self._decide(post, one)
        return unknown | {id(p.consignment): p.leaves if p.goes else NEVER_GOES for p in pending}

    def _pending(self, part: Part, c: Consignment, post: Post, office_role: str) -> Pending | None:
        authority = self.reference.authorities.get(post.authority)
        row = side_row(self.reference.side_rows, authority=post.authority, union=authority.union if authority else "", kind=post.kind,
                       direction=c.direction, procedure=c.procedures.get(post.authority, "undecided"), crossing=post.crossing, office_role=office_role)
        return Pending(c, row, post.since) if row else None

    # -- filings -------------------------------------------------------------------------------------------------------------
    def _file_all(self, part: Part, post: Post, pending: list[Pending], onward: tuple[str, ...], *, before: bool) -> None:
        wide: dict[str, tuple[FilingRow, list[Pending]]] = {}
        for one in pending:
            for row in one.row.filings:
                if _early(row) is not before or not self._applies(row, one, post) or row.kind in one.row.per_run:
                    continue
                if row.kind in TRAIN_WIDE:
                    wide.setdefault(row.kind, (row, []))[1].append(one)
                elif (post.authority, row.kind) not in one.consignment.filings or post.kind != "EXIT":
                    self._file(part, post, row, [one], onward)
            if not before:
                self._file_missing(part, post, one, onward)
        for row, many in wide.values():
            if (post.authority, row.kind) not in part.filings or post.kind != "EXIT":
                self._file(part, post, row, many, onward)

    def _file_missing(self, part: Part, post: Post, one: Pending, onward: tuple[str, ...]) -> None:
        """What the release needs though no filing row of this side names it, or only waives it: import at an office, a local release."""
        for group in one.row.release:
            what, _, kind = self._member(one, post, group).partition(":")
            if what not in ("released", "ended", "registered") or kind in TRAIN_WIDE or kind in one.row.per_run:
                continue
            if self._known(one, post, kind) is None and not (kind == "exit" and self._stand_in(one, post)):
                self._file(part, post, FilingRow(kind=kind, before_arrival=False, role="declarant"), [one], onward)

    def _applies(self, row: FilingRow, one: Pending, post: Post) -> bool:
        c = one.consignment
        if ("empty" in row.waived_for and c.empty) or c.procedures.get(post.authority, "") in row.waived_for:
            return False
        if row.enrolment and row.enrolment not in c.enrolments:
            return False
        group = next((g for g in one.row.release if any(m.endswith(f":{row.kind}") for m in g)), ())
        return len(group) < 2 or self._member(one, post, group).endswith(f":{row.kind}")

    def _member(self, one: Pending, post: Post, group: tuple[str, ...]) -> str:
        """Of alternative members of a release group the one that this consignment goes by."""
        kinds = {m.partition(":")[2]: m for m in group}
        if len(kinds) == 1 or not one.row.release:
            return group[0]
        if post.kind == "EXIT" and "exit" in kinds:
            return kinds["exit"]
        procedure = one.consignment.procedures.get(post.authority, "") or one.row.procedure
        wanted = WANTED.get(procedure, ("import", "declaration", "release"))
        filed = {f.kind for f in one.row.filings}
        for choice in ([k for k in wanted if k in kinds and k in filed], [k for k in kinds if self._known(one, post, k) and k in wanted],
                       [k for k in wanted if k in kinds], [k for k in kinds if k in filed]):
            if choice:
                return kinds[choice[0]]
        return group[0]

    def _file(self, part: Part, post: Post, row: FilingRow, many: list[Pending], onward: tuple[str, ...]) -> None:
        rng, rates, first = self.rng, self.options.rates, many[0].consignment
        presented = max(one.presented for one in many)
        late = row.before_arrival and strikes(rng, first, "late", rates.late, post)
        at = self._when(post, row, presented, late)
        own = row.kind not in TRAIN_WIDE
        life = Life(
            reject=(own or row.kind == "manifest") and strikes(rng, first, "rejection", rates.rejection, post),
            amend=own and strikes(rng, first, "amendment", rates.amendment, post),
            inform=own and strikes(rng, first, "information", rates.information, post),
            withdraw=own and _early(row) and strikes(rng, first, "withdrawal", rates.withdrawal, post), story="late" if late else "")
        filer = self.desk.filer(row, post.authority, first, part.railway)
        names = (onward or first.offices) if row.kind in TRANSITS else ()
        filing, settled = self.desk.file(row, post, [one.consignment for one in many], at, filer, life, offices=names,
                                         procedure=many[0].consignment.procedures.get(post.authority, ""), train=part.train if row.kind in TRAIN_WIDE else None)
        for condition in many[0].row.assessments:
            said = self.desk.book.condition(post.authority, condition, row.kind)
            if said is not None and (said.row.document_kind == row.kind or (not said.row.document_kind and row.kind in ("td", "pi"))):
                settled = max(settled, self._assessed(filing, post, condition, settled))
        for one in many:
            one.ready = max(one.ready, settled)
            one.consignment.filings[post.authority, row.kind] = filing
        if row.kind in TRAIN_WIDE:
            part.filings[post.authority, row.kind] = filing
        if row.kind == "gtt":
            self._recognise(filing, post, settled)

    def _recognise(self, filing: Filing, post: Post, at: int) -> None:
        """The data exchange with the partner (domain 1.2, steps 5 to 7; codes ours)."""
        crossing = self.reference.crossings[post.crossing]
        partner = crossing.b_authority if post.authority == crossing.a_authority else crossing.a_authority
        there = Post(authority=partner, kind="ENTRY", office=office_of(self.reference, post.crossing, partner), crossing=post.crossing, country=partner,
                     since=at, arrives=at, leaves=at)
        for authority, code, where in ((post.authority, "ENROLLED", post), (post.authority, "INSPECTION-NOT-ORDERED", post),
                                       (post.authority, "DATA-TRANSMITTED", post), (partner, "PARTNER-ACK", there), (partner, "RECOGNISED", there)):
            at += self.desk.wait(0.03, 0.2)
            said = self.desk.book.named(authority, "GTT", code)
            if said is not None:
                self.desk.tell(filing, where, "", at, said=said)

    def _assessed(self, filing: Filing, post: Post, condition: str, at: int) -> int:
        at += self.desk.wait(0.1, 1)
        self.desk.tell(filing, post, "", at, said=self.desk.book.condition(post.authority, condition, filing.kind))
        return at

    def _when(self, post: Post, row: FilingRow, presented: int, late: bool) -> int:
        """When it is lodged: as the deadline asks, with hours to spare, or a little too late."""
        if not _early(row):
            return max(presented, post.arrives) + self.desk.wait(0.1, 1.0)
        if row.clock_ref == "loading_start":
            return post.since + self.desk.wait(*BEFORE_LOADING.get(row.kind, (1, 3))) + (self.desk.wait(24, 30) if late else 0)
        if not row.before_arrival:
            return max(post.arrives - self.desk.wait(1, 6), post.since + self.desk.wait(0.1, 0.5))
        lead = max(row.lead_minutes or 0, 0) * MINUTE
        if late:
            return max(post.arrives - lead + self.desk.wait(0.2, 1.0), post.since + MINUTE)
        return max(post.arrives - lead - self.desk.wait(*AHEAD_HOURS), post.since + self.desk.wait(0.1, 1.5))

    # -- presence and seals ---------------------------------------------------------------------------------------------------
    def _present(self, part: Part, post: Post, pending: list[Pending], site: tuple[str, str]) -> None:
        place, operator = site
        for one in pending:
            one.presented = post.arrives + self.desk.wait(0.3, 1.5)
            if not any("presented" in group for group in one.row.release) and post.kind != "ENTRY" and not one.row.chains:
                continue
            for box in one.consignment.boxes:
                self._presented(post, one, box, place, operator)
                self.seals.read(box, post, one.row.chains, one.presented + self.desk.wait(0.05, 0.4), one.consignment, place)

    def _presented(self, post: Post, one: Pending, box: Box, place: str, operator: str) -> None:
        if operator:
            self.pen.say(TerminalEvent, operator, one.presented, key=box.number, container=box.number, place=place, what="presented", wagon=box.wagon)
            return
        kind = next((f.kind for f in one.row.filings if (post.authority, f.kind) in one.consignment.filings), "")
        said = self.desk.book.presented(post.authority, kind)
        filing = one.consignment.filings.get((post.authority, kind))
        if said is not None:
            self.pen.notice(post.authority, said.row, one.presented, document=filing.known_as if filing and said.row.document_kind else None,
                            office=post.office, container=box.number, reason=said.reason, values=said.values)

    # -- checks and release ----------------------------------------------------------------------------------------------------
    def _decide(self, post: Post, one: Pending) -> None:
        c, rng, rates = one.consignment, self.rng, self.options.rates
        early = not any("presented" in g for g in one.row.release) and any(f.before_arrival for f in one.row.filings)
        at = max(one.ready, post.since if early else post.arrives, one.presented if post.kind == "ENTRY" else 0) + self._processing(c, post)
        at = self._checked(post, one, at)
        if one.goes and post.kind == "ENTRY" and strikes(rng, c, "agency_hold", rates.agency_hold, post):
            at = max(at, self._agency(post, c, at))
        if one.goes and strikes(rng, c, "missing_notice", rates.unreleased, post):
            one.goes = False
        if not one.goes:
            return
        if c.ecommerce and post.authority == "CN":
            at = self.parcels.clear(c, post, at)
        silent = strikes(rng, c, "left_without_release", 0.0, post)
        one.leaves = at if silent else self._release(post, one, at)

    def _processing(self, c: Consignment, post: Post) -> int:
        if "gtt" in c.enrolments and post.authority in ("CN", "KZ"):
            return self.desk.wait(0.1, 0.4)
        return self.desk.wait(0.3, 2.0)

    def _checked(self, post: Post, one: Pending, at: int) -> int:
        """Control and hold; gives when they are over. A discrepancy or hold may end in refusal."""
        c, rng, rates = one.consignment, self.rng, self.options.rates
        lock_bad = next((box for box in c.boxes if box.lock_bad), None)
        check = strikes(rng, c, "inspection", rates.inspection_aeo if c.aeo else rates.inspection, post) or lock_bad is not None
        found = (check and strikes(rng, c, "discrepancy", rates.discrepancy, post)) or strikes(rng, c, "discrepancy", 0.0, post)
        if check or found:
            at = self._control(post, one, at, found, lock_bad)
        if one.goes and strikes(rng, c, "hold", rates.hold, post):
            at = self._hold(post, one, at, "hold")
        if one.goes and strikes(rng, c, "left_behind", 0.0, post):
            at = self._hold(post, one, at, "left_behind")
        if one.goes and strikes(rng, c, "refusal", rates.refusal, post):
            self._refuse(post, one, at)
        return at

    def _deciding(self, one: Pending, post: Post) -> Filing | None:
        """The filing that the decision is about, if it is lodged."""
        for member in one.row.decision:
            filing = one.consignment.filings.get((post.authority, member.partition(":")[2]))
            if filing is not None:
                return filing
        return next((f for (a, k), f in one.consignment.filings.items() if a == post.authority and k not in TRAIN_WIDE), None)

    def _control(self, post: Post, one: Pending, at: int, found: bool, lock_bad: Box | None) -> int:
        story = "lock_broken" if lock_bad else "discrepancy" if found else "inspection"
        filing, box = self._deciding(one, post), lock_bad or self.rng.choice(one.consignment.boxes)
        reference = self.numbers.reference(post.authority)
        say = self.desk.demand
        at = max(at, one.presented) if one.presented else at
        if not say(post, "control", "opened", at, reference, filing=filing, container=box.number, reason="SCAN", story=story):
            return at
        at += self.desk.wait(0.5, 3)
        say(post, "control", "started", at, reference, filing=filing, container=box.number, story=story)
        at += self.desk.wait(0.5, 4)
        if lock_bad is not None:
            at = self.seals.replace(box, post, at, one.consignment)
        if found and say(post, "control", "discrepancy", at, reference, filing=filing, container=box.number, reason="PACKAGES", story=story):
            at += self.desk.wait(8, 40)
        say(post, "control", "closed", at, reference, filing=filing, container=box.number, story=story)
        return at + self.desk.wait(0.1, 0.5)

    def _hold(self, post: Post, one: Pending, at: int, story: str) -> int:
        """A hold of the goods as such; gives when it is lifted."""
        box, reference = one.consignment.boxes[0], self.numbers.reference(post.authority)
        at = max(at, one.presented)
        if not self.desk.demand(post, "hold", "opened", at, reference, filing=None, container=box.number, reason="DOCUMENTS", story=story):
            return at
        at = max(at + self.desk.wait(4, 20), post.leaves + self.desk.wait(8, 20)) if story == "left_behind" else at + self.desk.wait(4, 30)
        if not self.desk.demand(post, "hold", "closed", at, reference, filing=None, container=box.number, story=story):
            one.goes = False                       # no code lifts it: the authority never says that it is over
        return at + self.desk.wait(0.1, 0.5)

    def _refuse(self, post: Post, one: Pending, at: int) -> None:
        if self.desk.demand(post, "refusal", "opened", max(at, one.presented), self.numbers.reference(post.authority), filing=None,
                            container=one.consignment.boxes[0].number, reason="PROHIBITED", story="refusal"):
            one.goes = False

    def _agency(self, post: Post, c: Consignment, at: int) -> int:
        """Another agency stops the goods and lets them go."""
        authority = self.reference.authorities.get(post.authority)
        agency = AGENCIES.get(authority.union if authority else "", "border_guard")
        source = self.pen.cast.who("agency", post.authority) if self.pen.cast.has("agency", post.authority) else f"customs-{post.authority.lower()}"
        reference, box = self.numbers.reference(post.authority), c.boxes[0]
        for what in ("hold", "lift"):
            self.pen.say(AgencyNotice, source, at, key=box.number, story="agency_hold", agency=agency, authority=post.authority, what=what,
                         reference=reference, crossing=post.crossing, container=box.number, reason="Certificate is missing" if what == "hold" else "")
            at += self.desk.wait(2, 10)
        return at

    def _release(self, post: Post, one: Pending, at: int) -> int:
        """Every group of the release set, the decision last. Gives when it is complete."""
        for group in sorted(one.row.release, key=lambda g: bool(set(g) & set(one.row.decision))):
            what, _, kind = self._member(one, post, group).partition(":")
            if what not in ("released", "ended") or kind in one.row.per_run:
                continue
            if kind in TRAIN_WIDE:
                continue
            target = self._known(one, post, kind) or self._stand_in(one, post)
            said = self.desk.book.document(post.authority, kind, what, post.kind)
            if target is not None and said is not None:
                self.desk.tell(target, post, what, at, said=said)
                at += self.desk.wait(0.02, 0.15)
                if what == "ended":
                    self._write_off(target, at)
        if post.kind == "EXIT" and not any(m.startswith("ended:") for group in one.row.release for m in group):
            self._end_own_transit(one, post, at)
        return at

    def _end_own_transit(self, one: Pending, post: Post, at: int) -> None:
        """A transit of this authority alone is over when the goods leave it."""
        for (authority, kind), filing in one.consignment.filings.items():
            if authority == post.authority and kind in TRANSITS and self.desk.tell(filing, post, "ended", at):
                self._write_off(filing, at)

    def _write_off(self, filing: Filing, at: int) -> None:
        """The office at which a transit began tells the holder that it is over (NCTS IE045; in the EAEU by exchange between offices, S89)."""
        at += self.desk.wait(2, 20)
        began = Post(authority=filing.authority, kind="ENTRY", office=filing.office, country=filing.authority, since=at, arrives=at, leaves=at)
        self.desk.tell(filing, began, "ended", at)

    def _wide_release(self, part: Part, post: Post, pending: list[Pending]) -> None:
        """A manifest is released once for the train; what is held is held by demands of its own."""
        for kind in sorted({m.partition(":")[2] for p in pending for g in p.row.release for m in g if m.startswith("released:")} & TRAIN_WIDE):
            filing = part.filings.get((post.authority, kind))
            if filing is not None and not filing.released:
                filing.released = self.desk.tell(filing, post, "released", filing.registered_at + self.desk.wait(0.3, 1.5))

    def _known(self, one: Pending, post: Post, kind: str) -> Filing | None:
        """The living filing of a kind: this authority's, else, where the row lets others handle it, the latest of another."""
        own = one.consignment.filings.get((post.authority, kind))
        if own is not None or kind not in one.row.by:
            return own
        return next((f for (_, k), f in reversed(one.consignment.filings.items()) if k == kind), None)

    def _stand_in(self, one: Pending, post: Post) -> Filing | None:
        """A document through which a decision reaches the goods when the kind itself is never lodged (exit permission on the TD)."""
        union = self._union(post.authority)
        for (authority, kind), filing in reversed(one.consignment.filings.items()):
            if kind in STAND_IN and (authority == post.authority or (union and self._union(authority) == union)):
                return filing
        return None

    def _union(self, authority: str) -> str:
        row = self.reference.authorities.get(authority)
        return row.union if row else ""

    # -- documents of the run ---------------------------------------------------------------------------------------------------
    def conveyance(self, part: Part, post: Post, at: int) -> None:
        """What must be lodged and released for the train that leaves this post."""
        done: set[str] = set()
        for c in part.consignments:
            one = self._pending(part, c, post, "")
            for row in one.row.filings if one else ():
                if one is None or row.kind not in one.row.per_run or row.kind in done:
                    continue
                done.add(row.kind)
                filer = self.desk.filer(row, post.authority, c, part.railway)
                self.desk.conveyance(row, post, part.train, filer, at - self.desk.wait(1.1, 2.5), part.consignments)
                self.desk.about_train(post, part.train, "registered", row.kind, at - self.desk.wait(0.6, 0.9))
                self.desk.about_train(post, part.train, "released", row.kind, at - self.desk.wait(0.1, 0.4))

    def weigh(self, box: Box, place: str, operator: str, at: int, c: Consignment, story: str) -> None:
        self.pen.say(TerminalEvent, operator, at, key=box.number, story=story, container=box.number, place=place, what="weighed",
                     gross_kg=round(box.true_gross_kg, 1), tare_kg=box.tare_kg)


def office_of(reference: Reference, crossing: str, authority: str) -> str:
    """Office code of a post, as notices and filings name it; the crossing's id where no code is known."""
    return reference.crossings[crossing].offices.get(authority) or crossing


def site_of(places: dict[str, Place], operators: dict[str, str], stop: Place) -> tuple[str, str]:
    """(place, operator) of the terminal at a stop: its own, or one of the same crossing and country; operator empty when there is none."""
    if stop.id in operators:
        return stop.id, operators[stop.id]
    for place_id in sorted(operators):
        place = places.get(place_id)
        if place and stop.crossing and place.crossing == stop.crossing and place.country == stop.country:
            return place_id, operators[place_id]
    return stop.id, ""


def _early(row: FilingRow) -> bool:
    """Lodged before the goods are at the post: due before arrival, or before the train is loaded or reviewed."""
    return row.before_arrival or row.clock_ref in ("loading_start", "train_decl_review") or row.kind == "fast_clearance"
