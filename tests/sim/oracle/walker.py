"""The same world told as a sequence: things happen one by one and change what shows. Written from status-model alone.

Facts that count as absent (a masked feed) or whose hour is not known are told by beginning again: what is left, in the order
that is least favourable to release.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tests.sim.oracle.rows import Row
from topics.facts import DAY, Fact, Rank, merge

GOOD = ("registered", "released")
WORTH = ["none", "invalidated", "expired", "rejected", "sent", "registered", "released"]
AGAINST = ("rejected", "invalidated", "revoked")


def latest(f: Fact) -> int:
    return f.at + DAY - 1 if f.dated else f.at


@dataclass
class Paper:
    """One document as it stands."""

    stands: str = "none"
    word: int = -1
    registered: int = -1
    amended: int = -1
    proof: int = -1
    proof_latest: int = -1
    released: int = -1
    ended: int = -1
    untils: dict[tuple[str, str], tuple[int, int | None]] = field(default_factory=dict)

    def hear(self, f: Fact, phase: str) -> None:
        alive = self.stands in GOOD
        if phase == "sent" and not alive:
            self.stands = "sent"
        elif phase in ("registered", "released", "ended"):
            self.stands = "released" if phase == "released" else self.stands if alive else "registered"
            self.proof = self.word = f.at
            if phase == "registered":
                self.registered = max(self.registered, latest(f))
            else:
                self.proof_latest = max(self.proof_latest, latest(f))
                setattr(self, phase, f.at)
        elif phase == "amended":
            self.amended = max(self.amended, latest(f))
        elif phase == "revoked" and self.stands == "released":
            self.stands = "registered"
        elif phase in ("rejected", "invalidated"):
            self.stands, self.word = phase, f.at
        if phase in ("registered", "amended"):
            self.untils[phase, f.source] = (f.at, f.value) if type(f.value) is int else (-1, None)

    def now(self, judged: int) -> tuple[str, int]:
        """(what it is worth, when that was decided)."""
        if self.stands == "registered":
            until = max(self.untils.values(), key=lambda u: u[0], default=(-1, None))[1]
            if until is not None and until <= judged:
                return "expired", max(self.proof, until)
        return self.stands, self.word

    def filed_at(self) -> int:
        return max(self.registered if self.registered >= 0 else max(self.proof, self.proof_latest), self.amended)


@dataclass
class Asked:
    """One demand: the last time of each stage, and what has covered it since."""

    stages: dict[str, int] = field(default_factory=dict)
    covers: dict[Any, int] = field(default_factory=dict)


class Walker:
    """Told event by event, says what shows."""

    def __init__(self, row: Row) -> None:
        self.r = row
        self.told: list[Fact] = []
        self.deciding = {m.removeprefix("released:") for m in row.decision}
        self.docs: dict[tuple[str, str], Paper] = {}          # all that was ever said
        self.counting: dict[tuple[str, str], Paper] = {}      # without what an earlier visit used up
        self.demands: dict[tuple[str, str, str], Asked] = {}
        self.answered: dict[tuple[str, str], int] = {}
        self.proven: dict[str, int] = {}
        self.there: dict[tuple[str, str], int] = {}
        self.route, self.route_at, self.run, self.visit = "on", -1, "", "1"
        self.alarms: list[int] = []
        self.openings: list[tuple[int, int]] = []
        self.lost, self.reading, self.customs_read = False, "none", False
        self.stained: set[str] = set()
        self.agencies: list[dict[str, Any]] = []

    @classmethod
    def of(cls, row: Row, facts: Iterable[Fact]) -> Walker:
        """Told from the beginning: without what is withdrawn or masked, what has only a date at its worst."""
        kept = [f for f in merge({}, facts).values() if f.value is not None]
        masks = [f.value for f in kept if f.key == ("mask",) and isinstance(f.value, dict)]

        def absent(f: Fact) -> bool:
            return f.key == ("mask",) or any(m["source"] == f.source and _int(m["since"]) <= f.at <= _int(m["until"]) for m in masks)

        walker = cls(row)
        left = [f for f in kept if not absent(f)]
        for f in sorted((_at_worst(f) for f in left), key=lambda f: f.at):
            walker.happen(f)
        walker.told = left
        return walker

    def happen(self, f: Fact) -> None:
        self.told.append(f)
        getattr(self, "on_" + f.key[0])(f)

    def on_route(self, f: Fact) -> None:
        self.route, self.route_at = str(f.value), f.at

    def on_run(self, f: Fact) -> None:
        self.run = str(f.value)

    def on_visit(self, f: Fact) -> None:
        self.visit = str(f.value)
        self.reading, self.customs_read = "none", False
        self.counting = {kn: d for kn, d in self.counting.items() if kn[0] not in self.r.per_visit}

    def on_seen(self, f: Fact) -> None:
        self.there["here", f.key[1]] = f.at
        if f.rank >= Rank.TERMINAL:
            self.there["back", f.key[1]] = f.at

    on_handed_over = on_seen

    def on_presented(self, f: Fact) -> None:
        self.on_seen(f)
        if f.source == self.r.authority or f.rank is Rank.TERMINAL or f.source in self.r.presenters:
            self.there["presented", f.key[1]] = f.at

    def on_departed(self, f: Fact) -> None:
        self.there["left", f.key[1]] = f.at

    def on_condition(self, f: Fact) -> None:
        self.proven[f.key[1]] = f.at if f.value == "proven" else -1

    def on_agency(self, f: Fact) -> None:
        """Other agencies: what each has open, one entry per reference, or per message without one."""
        _, agency, kind, ref, phase = f.key
        mine = [a for a in self.agencies if (a["agency"], a["source"], a["ref"]) == (agency, f.source, ref)]
        if phase == "opened":
            if not (ref and any(a["kind"] == kind for a in mine)):
                self.agencies.append({"agency": agency, "source": f.source, "ref": ref, "kind": kind})
        elif phase == "discrepancy":
            plain = [a for a in mine if a["kind"] == "control"]
            if len(plain) == 1:
                plain[0]["kind"] = "found"
            elif not (ref and any(a["kind"] == "found" for a in mine)):
                self.agencies.append({"agency": agency, "source": f.source, "ref": ref, "kind": "found"})
        elif phase == "closed":
            self.lift([a for a in mine if (a["kind"] == "control" if kind else ref or a["kind"] != "control")], ref)

    def lift(self, meant: list[dict[str, Any]], ref: str) -> None:
        """Without reference it must mean one."""
        if ref or len(meant) == 1:
            self.agencies = [a for a in self.agencies if not any(a is m for m in meant)]

    def on_doc(self, f: Fact) -> None:
        _, kind, number, phase = f.key
        mine = f.source == self.r.authority
        if phase != "sent" and not mine and f.source not in self.r.by.get(kind, ()):
            return
        for docs in (self.docs, self.counting):
            docs.setdefault((kind, number), Paper()).hear(f, phase)
        if phase in AGAINST:
            self.stained.add(kind)
        for (k, subject, _), d in self.demands.items():
            self.cover(f, k, subject, d, mine)

    def cover(self, f: Fact, k: str, subject: str, d: Asked, mine: bool) -> None:
        """What this word about a document does to what is open."""
        _, kind, number, phase = f.key
        own, plain = subject == f"{kind}/{number}", k in ("control", "info")
        if own and mine and phase in ("rejected", "invalidated"):
            d.covers["end"] = max(d.covers.get("end", -1), f.at - (DAY - 1 if f.dated else 0))     # told last, but sure only from the day on
        if own and mine and phase == "assessed" and plain:
            d.covers["assessed"] = f.at
        if own and mine and phase in ("released", "revoked"):
            d.covers.pop("release", None)
            if phase == "released":
                d.covers["release"] = f.at
        if not subject and plain and kind in self.deciding and phase in ("released", *AGAINST):
            d.covers.pop((kind, number), None)
            if phase == "released" and mine:
                d.covers[kind, number] = f.at

    def on_demand(self, f: Fact) -> None:
        _, kind, subject, ref, phase = f.key
        if phase == "answered":
            self.answered["" if ref else subject, ref] = f.at
        elif f.source != self.r.authority:
            return
        elif phase == "closed":
            for (k, s, r), d in self.demands.items():
                if k == kind and r == ref and (ref or s == subject):
                    d.covers["closed"] = f.at
        else:
            self.demands.setdefault((kind, subject, ref), Asked()).stages[phase] = f.at

    def on_seal(self, f: Fact) -> None:
        what, skew = f.key[2], self.r.seal_skew
        if what == "tamper":
            self.alarms.append(f.at)
        elif what == "opened_authorised" and f.rank is Rank.AUTHORITY:
            self.openings.append((f.at - skew, (f.value if type(f.value) is int else f.at) + skew))
        elif what in ("lost", "restored"):
            self.lost = what == "lost"
        elif what == "reading":
            self.reading = "reading"
        elif what == "ok":
            self.reading, self.lost = "ok", False
            self.customs_read |= f.source == self.r.authority

    def seal(self) -> str:
        if not self.r.chains:
            return "none"
        if any(all(not a <= t <= b for a, b in self.openings) for t in self.alarms):
            return "FAILED"
        return "READING" if self.reading == "reading" else "UNPROVEN" if self.lost else "OK" if self.reading == "ok" else "NO"

    def live(self, judged: int) -> dict[tuple[str, str, str], tuple[set[str], int]]:
        """What is open: the stages that stand, and the last of all."""
        found = {}
        for (k, subject, ref), d in self.demands.items():
            about, _, number = subject.partition("/")
            if about in self.r.per_run and number != self.run:
                continue
            covered = self.covered(subject, d, judged)
            stages = {s for s, at in d.stages.items() if at > covered}
            if stages:
                found[k, subject, ref] = stages, max(d.stages.values())
        return found

    def covered(self, subject: str, d: Asked, judged: int) -> int:
        """Which of what closes it counts for this demand as it stands."""
        about, _, number = subject.partition("/")
        found = [at for name, at in d.covers.items() if not ("discrepancy" in d.stages and (name == "assessed" or isinstance(name, tuple)))]
        held = self.docs.get((about, number), Paper())
        if subject and about in self.deciding and held.now(judged)[0] not in GOOD:
            found += [p.released for (kind, _), p in self.docs.items() if kind in self.deciding and p.stands == "released"]
        return max(found, default=-1)

    def shows(self, now: int) -> str:
        """The name of the state."""
        r, seal = self.r, self.seal()
        here, left, back, presented = (self.there.get((w, self.visit), -1) for w in ("here", "left", "back", "presented"))
        judged = min(now, presented) if presented >= 0 else now
        live = self.live(judged)
        stages = {k: set[str]().union(*(s for (kk, _, _), (s, _) in live.items() if kk == k)) for k, _, _ in live}
        if "refusal" in stages:
            return "REFUSED"
        if "hold" in stages or "discrepancy" in stages.get("control", ()):
            return "HELD"
        if "control" in stages:
            return "UNDER_CONTROL" if "started" in stages["control"] else "CONTROL_ORDERED"
        if self.route == "not_required":
            return "NOT_REQUIRED"
        if left >= 0 and left >= back and not r.demands_only:
            return "DEPARTED"
        docs = {kn: (*d.now(judged), d) for kn, d in self.counting.items() if not (kn[0] in r.per_run and kn[1] != self.run)}
        off = self.route == "off" and here <= self.route_at
        if off or ({s for s, _, _ in docs.values()} - {"none"} == {"invalidated"} and not r.demands_only):
            return "CANCELLED"
        if any(k == "info" and self.answered.get(("" if ref else subject, ref), -1) <= at for (k, subject, ref), (_, at) in live.items()):
            return "INFO_REQUESTED"
        if r.demands_only:
            return "NOT_REQUIRED"
        return self.progress(Desk(self, docs, seal, presented, bool(live)), here >= 0 or left >= 0, seal)

    def progress(self, desk: Desk, present: bool, seal: str) -> str:
        if desk.released():
            return "RELEASED"
        if desk.rejected:
            return "FILING_REJECTED"
        if present:
            return "SEAL_CHECK" if seal == "READING" else "ARRIVED"
        if desk.ready:
            return "PRE_CLEARED"
        if desk.registered:
            return "ACCEPTED"
        return "FILED" if desk.needed and all(desk.best(k) in ("sent", *GOOD) for k in desk.needed) else "EXPECTED"

    def blocked(self) -> set[tuple[str, str, str]]:
        """Other agencies' demands that are open."""
        return {(a["agency"], a["ref"], a["source"]) for a in self.agencies}

    def movable(self, now: int) -> bool:
        state = self.shows(now)
        if self.blocked() or (self.r.demands_only and self.live(now)):
            return False
        return state in ("RELEASED", "NOT_REQUIRED") or (state == "DEPARTED" and self.had_leave())

    def had_leave(self) -> bool:
        """As it stood when it left."""
        left = self.there["left", self.visit]
        then = Walker.of(self.r, [f for f in merge({}, self.told).values() if f.at <= left and f.key[0] != "departed"])
        return then.shows(left) in ("RELEASED", "NOT_REQUIRED")


class Desk:
    """The papers of this visit and run, laid out on the desk."""

    def __init__(self, w: Walker, docs: dict[tuple[str, str], tuple[str, int, Paper]], seal: str, presented: int, busy: bool) -> None:
        self.w, self.r, self.docs, self.presented, self.busy = w, w.r, docs, presented, busy
        kinds = {k for k, _ in docs}
        self.needed = [k for k, pre in self.r.filings.items() if pre] or list(self.r.filings) or sorted(kinds)
        self.registered = bool(self.needed) and all(self.best(k) in GOOD for k in self.needed)
        self.rejected = any(self.best(k) == "rejected" for k in (self.r.filings or kinds))
        last = max((d.filed_at() for (k, _), (s, _, d) in docs.items() if k in self.needed and s in GOOD), default=-1)
        self.ready = (
            self.registered and bool(self.r.assessments or self.r.conditions) and not busy and not self.rejected and seal not in ("FAILED", "UNPROVEN")
            and all(w.proven.get(c, -1) > last for c in self.r.assessments) and all(w.proven.get(c, -1) > -1 for c in self.r.conditions))
        self.agreed = self.ready and presented >= 0 and bool(self.r.chains) and seal == "OK" and w.customs_read

    def best(self, kind: str) -> str:
        mine = [(s, word) for (k, _), (s, word, _) in self.docs.items() if k == kind]
        top = max((s for s, _ in mine), key=WORTH.index, default="none")
        decided = max((word for s, word in mine if s in GOOD), default=0)
        bad = [s for s, word in mine if s in ("expired", "rejected") and word >= decided]
        return min(bad, key=WORTH.index) if top in GOOD and bad else top

    def got(self, member: str) -> bool:
        if member == "presented":
            return self.presented >= 0
        what, kind = member.split(":")
        living = [(s, d) for (k, _), (s, _, d) in self.docs.items() if k == kind and s in GOOD]
        unspent = [s for s, d in living if d.ended < 0]
        if what == "ended":
            return bool(living) and not unspent
        return self.best(kind) in GOOD and (what == "registered" or (bool(unspent) and set(unspent) == {"released"}))

    def gift(self, group: frozenset[str]) -> bool:
        return self.agreed and bool(group & self.r.auto_release) and not self.w.stained & {m.partition(":")[2] for m in group}

    def released(self) -> bool:
        groups = [g if g & self.r.decision else g - self.r.not_observed for g in self.r.release]
        return not self.busy and any(g & self.r.decision for g in groups) and all(any(map(self.got, g)) or self.gift(g) for g in groups if g)


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def _at_worst(f: Fact) -> Fact:
    """Of a day without times: what opens, ends or leaves comes last, what closes or grants comes first."""
    late = f.key[0] == "departed" or (f.key[0] == "doc" and f.key[3] in AGAINST) or (f.key[0] == "demand" and f.key[4] not in ("closed", "answered"))
    return msgspec.structs.replace(f, at=latest(f)) if late else f
