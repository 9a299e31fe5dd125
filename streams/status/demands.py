"""What the authority has open: refusals, holds, controls, requests. Open until something later closes it (section 5)."""
from __future__ import annotations

from collections.abc import Callable

from streams.status.documents import Documents
from streams.status.states import RUNG, Block, Demand, Document, State, evidence_of, instant_in, text_in
from streams.status.view import View, last_instant, outranks, standing
from topics.facts import NEVER, Fact

Name = tuple[str, str, str, str, str]
"""(kind, subject, reference, scope, record); record tells demands without reference apart (DOCUMENTS and CUSTODY put the message's id there)."""
Closing = tuple[int, str]
"""(instant, what closed it)."""

Closings = Callable[["Name", "_Stages"], list[Closing]]

STAGES = ("opened", "started", "discrepancy")
CLOSE = ("released", "rejected", "invalidated", "assessed")
"""Words about a document that may close what is open about it."""
NOBODY = Document("", "")


class _Stages:
    """What was said of one demand, by stage."""

    __slots__ = ("closings", "first", "said", "times", "until")

    def __init__(self) -> None:
        self.times: dict[str, int] = {}
        self.first: dict[str, int] = {}
        self.said: dict[str, Fact] = {}
        self.until: tuple[int, int] | None = None
        self.closings: list[Closing] = []

    def hear(self, f: Fact, stage: str) -> None:
        at = last_instant(f)                            # of a day without times what is open stays open
        held = self.times.get(stage, NEVER)
        if at > held or (at == held and outranks(f, self.said[stage])):
            self.times[stage], self.said[stage] = at, f
            self.first[stage] = f.at
        if stage == "opened":
            until = instant_in(f.value, "answer_by")
            if until is not None and (self.until is None or (f.at, until) > self.until):
                self.until = f.at, until


class Demands:
    """The demands of a side's authority on one scope, open and closed."""

    __slots__ = ("closed", "flags", "open", "worst")

    def __init__(self, view: View, docs: Documents) -> None:
        self.open: list[Demand] = []
        self.closed: list[Demand] = []
        self.flags: set[str] = set()
        self.worst: Demand | None = None
        if view.of("demand"):
            self._judge(view, docs)

    def _judge(self, view: View, docs: Documents) -> None:
        heard = _Heard(view)
        self.flags |= heard.flags
        for name, demand in heard.demands.items():
            demand.closings += _closings(name, demand, view, docs, heard)
        unmatched = _bare(heard, lambda name, demand: _closings(name, demand, view, docs, heard))
        dated = [f for f in view.of("doc") if f.dated and f.key[3] in CLOSE and f.source == view.rules.authority]
        for name in sorted(heard.demands):
            about, _, number = name[1].partition("/")
            if about in view.rules.per_run and number != view.run:
                continue                                # binds only boxes of that run
            self._settle(name, heard.demands[name], heard, dated)
        showing = [d for d in self.open if d.state is not None]
        if any(d.kind == kind for kind in unmatched for d in showing):
            self.flags.add("closing_without_reference")
        self.worst = min(showing, key=lambda d: (RUNG[d.state], d.opened_at, d.reference, d.scope), default=None)

    def _settle(self, name: Name, demand: _Stages, heard: _Heard, dated: list[Fact]) -> None:
        kind, subject, reference, scope, record = name
        last = max(demand.times.values())
        closed_at, closed_by = max(demand.closings, default=(NEVER, ""))
        live = [s for s in STAGES if demand.times.get(s, NEVER) >= closed_at and s in demand.times]
        fact = max((demand.said[s] for s in demand.said), key=lambda f: (last_instant(f), f.at, STAGES.index(f.key[4]), f.source, f.id))
        if "opened" not in demand.times:
            self.flags.add("out_of_sequence")
        shown = Demand(
            kind, subject, reference, scope, record, None, min(demand.first[s] for s in live or demand.first), last,
            demand.until[1] if demand.until else None, heard.answer(subject, reference) > last, fact.code, text_in(fact.value, "reason"),
            evidence_of(fact))
        if closed_at > last:
            self.closed.append(_with(shown, None, closed_at, closed_by))
            return
        if any(said <= last and could > min(demand.first.values()) for said, could in heard.dated_closings(name)) or (
            closed_at != NEVER and any(demand.said[s].dated and demand.first[s] <= closed_at <= demand.times[s] for s in demand.said)
        ) or any(f.at <= last and last_instant(f) >= min(demand.first.values()) and subject in ("", f"{f.key[1]}/{f.key[2]}") for f in dated):
            self.flags.add("order_unknown")
        self.open.append(_with(shown, _state(kind, live, shown.answered), NEVER, ""))


def _with(d: Demand, state: State | None, closed_at: int, closed_by: str) -> Demand:
    return Demand(d.kind, d.subject, d.reference, d.scope, d.record, state, d.opened_at, d.stage_at, d.answer_by, d.answered, d.code, d.reason,
                  d.evidence, closed_at, closed_by)


def _state(kind: str, live: list[str], answered: bool) -> State | None:
    if kind == "refusal":
        return State.REFUSED
    if "discrepancy" in live or kind not in ("control", "info"):
        return State.HELD                               # a kind we do not know stops the goods
    if kind == "control":
        return State.UNDER_CONTROL if "started" in live else State.CONTROL_ORDERED
    return None if answered else State.INFO_REQUESTED


class _Heard:
    """The demand facts of one scope, sorted by what they do."""

    __slots__ = ("answered", "bare", "dated", "demands", "flags", "referenced")

    def __init__(self, view: View) -> None:
        self.demands: dict[Name, _Stages] = {}
        self.referenced: dict[tuple[str, str], int] = {}
        self.bare: dict[tuple[str, str], set[int]] = {}
        self.answered: dict[tuple[str, str], int] = {}
        self.dated: list[tuple[str, str, str, int, int]] = []
        self.flags: set[str] = set()
        authority = view.rules.authority
        for f in view.of("demand"):
            _, kind, subject, ref, phase = f.key
            if phase == "answered":                     # DOCUMENTS lets through the filer of record only
                slot = ("" if ref else subject, ref)
                self.answered[slot] = max(self.answered.get(slot, NEVER), f.at)
            elif f.source != authority:
                if phase != "closed":
                    self.flags.add("demand_reported")   # reported by others: a flag
            elif phase == "closed":
                self._close(f, kind, subject, ref)
            else:
                name = (kind, subject, ref, f.scope, "" if ref else f.record)
                demand = self.demands.get(name)
                if demand is None:
                    demand = self.demands[name] = _Stages()
                demand.hear(f, phase if phase in STAGES else "opened")

    def _close(self, f: Fact, kind: str, subject: str, ref: str) -> None:
        if ref:
            self.referenced[kind, ref] = max(self.referenced.get((kind, ref), NEVER), f.at)
        else:
            self.bare.setdefault((kind, subject), set()).add(f.at)
        if f.dated:
            self.dated.append((kind, subject, ref, f.at, last_instant(f)))

    def answer(self, subject: str, reference: str) -> int:
        """When the filer answered; without reference only what is about the same document."""
        return self.answered.get(("" if reference else subject, reference), NEVER)

    def dated_closings(self, name: Name) -> list[tuple[int, int]]:
        """[earliest, latest] of the closings of which only the day is known."""
        return [(a, b) for kind, subject, ref, a, b in self.dated if (kind, ref) == (name[0], name[2]) and (ref or subject == name[1])]


def _closings(name: Name, demand: _Stages, view: View, docs: Documents, heard: _Heard) -> list[Closing]:
    """What closes this demand, except a closing without reference."""
    kind, subject, ref, scope, _ = name
    found = [(heard.referenced[kind, ref], "closing")] if ref and (kind, ref) in heard.referenced else []
    routine = kind in ("control", "info") and "discrepancy" not in demand.times
    if subject:
        about, _, number = subject.partition("/")
        held = docs.get((about, number), NOBODY)
        found.append((held.settled_at, "document"))
        if routine:
            found.append((held.assessed_at, "assessed"))
        if about in view.deciding and not held.alive:   # the goods went another way
            found += [(d.released_at, "other_document") for d in docs.values() if d.kind in view.deciding]
    elif routine:
        found += [
            (f.at, "release") for f in view.of("doc")
            if f.key[3] == "released" and f.key[1] in view.deciding and f.scope == scope and f.source == view.rules.authority
            and f.at == docs[f.key[1], f.key[2]].released_at
        ]
    return found


def _bare(heard: _Heard, closings: Closings) -> set[str]:
    """What comes without reference, as it happened: a later stage (started, discrepancy) belongs to the only order that it can mean, else it
    stands alone; a closing closes the only demand that it can mean. Gives the kinds of closings that met none, or several."""
    unmatched = set()
    told: list[tuple[int, int, tuple[str, ...]]] = [(t, 1, name) for name, times in heard.bare.items() for t in times]
    told += [(max(d.times.values()), 0, n) for n, d in heard.demands.items() if not n[2] and "opened" not in d.times]
    for t, closing, name in sorted(told):
        if not closing:
            _join(heard, name, t, closings)
            continue
        meant = [d for n, d in heard.demands.items() if n[:3] == (*name, "") and _stood(d, t)]
        if len(meant) == 1:
            meant[0].closings.append((t, "closing"))
        else:
            unmatched.add(name[0])
    return unmatched


def _join(heard: _Heard, name: tuple[str, ...], t: int, closings: Closings) -> None:
    orders = [(n, d) for n, d in heard.demands.items() if n[:4] == name[:4] and d.times.get("opened", t + 1) <= t]
    meant = [(n, d) for n, d in orders if not any(max(d.times.values()) < closed < t for closed, _ in d.closings)]
    if len(meant) != 1:
        return
    whole, order = meant[0]
    stage = heard.demands.pop((name[0], name[1], name[2], name[3], name[4]))
    for phase, fact in stage.said.items():
        order.hear(fact, phase)
    order.closings = [c for c in order.closings if c[1] == "closing"] + closings(whole, order)


def _stood(demand: _Stages, t: int) -> bool:
    """Was this demand open just before t?"""
    began = max((at for at in demand.times.values() if at < t), default=None)
    return began is not None and not any(began < closed < t for closed, _ in demand.closings)


def blocks(view: View) -> tuple[Block, ...]:
    """Other agencies' open demands: closed by the same source, strictly later. A conform result closes a control without discrepancy, a lift
    whatever bears its reference; without reference each closes the only one that it can mean: a lift never means a control that has found
    nothing. A certificate is a paper, not a lift: it closes nothing."""
    told: dict[tuple[str, str], list[Fact]] = {}
    for f in view.of("agency"):
        if f.key[4] != "certificate":
            told.setdefault((f.key[1], f.source), []).append(f)
    found: list[Block] = []
    for (agency, source), facts in sorted(told.items()):
        for w in _agency(facts):
            found.append(Block(agency, w.reference, w.last.key[4], w.since, source, text_in(w.last.value, "reason"), evidence_of(w.last)))
    return tuple(sorted(found, key=lambda b: (b.agency, b.reference, b.source, b.opened_at)))


class _Want:
    """A demand of another agency."""

    __slots__ = ("kind", "last", "reference", "since")

    def __init__(self, f: Fact) -> None:
        self.kind, self.reference, self.since, self.last = f.key[2], f.key[3], f.at, f

    @property
    def found(self) -> bool:
        """Its control has found something."""
        return self.last.key[4] == "discrepancy"


def _agency(facts: list[Fact]) -> list[_Want]:
    """What one agency has open. At one instant closings come first, and of a day without times they come at its beginning: equal times end
    nothing."""
    open_: list[_Want] = []
    for f in sorted(facts, key=lambda f: (f.at if f.key[4] == "closed" else last_instant(f), f.key[4] != "closed", f.key[4] == "discrepancy", standing(f))):
        _, _, kind, reference, phase = f.key
        mine = [w for w in open_ if w.reference == reference]
        if phase == "closed":
            meant = [w for w in mine if (w.kind == kind and not w.found if kind else reference or w.kind != "control" or w.found)]
            if reference or len(meant) == 1:
                open_ = [w for w in open_ if w not in meant]
            continue
        same = [w for w in mine if w.kind == kind and (reference or (phase == "discrepancy" and not w.found))]
        if len(same) != 1:
            open_.append(_Want(f))
        elif not same[0].found or phase == "discrepancy":
            same[0].last = f
    return open_
