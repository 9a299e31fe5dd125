"""`explain`: a status with everything that it rests on, as a structure and as plain text, in English, Chinese and Russian."""
from __future__ import annotations

from collections.abc import Iterable

import msgspec

from streams.explain.say import member, say, word
from streams.network.calendar import border_time, side_zone
from streams.reference.model import Reference
from streams.rules.day import moment
from topics.events.outputs import ClearanceUpdate, ConditionSaid, FindingSaid, NextAction
from topics.facts import Fact


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing said: a sentence and what stands behind it."""

    text: str
    rule: str = ""
    legal: str = ""
    certainty: str = ""
    verdict: str = ""
    evidence: tuple[str, ...] = ()
    at: str = ""
    """Border time, ISO with offset."""
    at_utc: str = ""


class SideExplained(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One side, explained."""

    side: str
    state: str
    title: str
    """The state in words."""
    basis: Line
    since: str = ""
    since_utc: str = ""
    revision: int = 0
    pack: str = ""
    assessed_at: str = ""
    scopes: tuple[str, ...] = ()
    conditions: tuple[Line, ...] = ()
    findings: tuple[Line, ...] = ()
    missing: tuple[str, ...] = ()
    filings: tuple[str, ...] = ()
    not_checked: tuple[str, ...] = ()
    seals: tuple[Line, ...] = ()
    evidence: tuple[Line, ...] = ()
    freshness: tuple[str, ...] = ()
    actions: tuple[Line, ...] = ()
    flags: tuple[str, ...] = ()


class ExplainDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A shipment's sides, explained in one language."""

    shipment: str
    lang: str
    sides: tuple[SideExplained, ...]

    def text(self) -> str:
        """Plain text for a terminal."""
        lines = [say("ex.shipment", self.lang, {"shipment": self.shipment})]
        for side in self.sides:
            lines += _rendered(side, self.lang)
        return "\n".join(lines) + "\n"


def explain(
    updates: ClearanceUpdate | Iterable[ClearanceUpdate], facts: Iterable[Fact], reference: Reference, lang: str, side: str | None = None
) -> ExplainDocument:
    """Explain published statuses. `facts` may be empty (only what the status itself carries is then told); `side` narrows to one side.

    `lang` is en, zh or ru. Raises nothing on well-formed updates.
    """
    every = (updates,) if isinstance(updates, ClearanceUpdate) else tuple(updates)
    chosen = [u for u in every if side in (None, u.side)]
    known = {f.id: f for f in facts if f.id and f.value is not None}
    return ExplainDocument(
        shipment=every[0].shipment if every else "", lang=lang,
        sides=tuple(_side(u, known, reference, lang) for u in sorted(chosen, key=lambda u: (u.order, u.side))))


class _Desk:
    """Words and times of one side in one language."""

    __slots__ = ("known", "lang", "zone")

    def __init__(self, update: ClearanceUpdate, known: dict[str, Fact], reference: Reference, lang: str) -> None:
        self.zone = side_zone(reference, update.authority, update.crossing, update.office)
        self.known, self.lang = known, lang

    def here(self, at: int | None) -> str:
        return border_time(at, self.zone) if at is not None and at >= 0 else ""

    def utc(self, at: int | None) -> str:
        return moment(at).isoformat(timespec="minutes") if at is not None and at >= 0 else ""

    def say(self, key: str, **args: object) -> str:
        return say(key, self.lang, args)


def _side(u: ClearanceUpdate, known: dict[str, Fact], reference: Reference, lang: str) -> SideExplained:
    desk = _Desk(u, known, reference, lang)
    return SideExplained(
        side=u.side, state=u.state, title=word("state", u.state, lang), basis=_basis(u, desk), since=desk.here(u.since), since_utc=desk.utc(u.since),
        revision=u.revision, pack=u.pack, assessed_at=desk.here(u.assessed_at),
        scopes=tuple(f"{s.scope or '*'}: {s.state}" for s in u.scopes) if len(u.scopes) > 1 else (),
        conditions=tuple(_condition(c, desk) for c in u.conditions), findings=tuple(_finding(f, desk) for f in u.findings),
        missing=tuple(member(m, lang) for m in u.missing_release), filings=tuple(_filing_text(u, desk)),
        not_checked=tuple(member(m, lang) for m in u.not_checked), seals=tuple(_seals(u, desk)),
        evidence=tuple(_evidence(u, desk)), freshness=tuple(_fresh(u, desk)), actions=tuple(_action(a, desk) for a in u.actions), flags=u.flags)


def _basis(u: ClearanceUpdate, desk: _Desk) -> Line:
    """Whose message, code, number, time; or that it is computed and no decision."""
    b = u.basis
    if b.kind == "INFERRED":
        text = desk.say("ex.inferred")
    elif b.kind == "AGREEMENT":
        text = desk.say("ex.agreement")
    else:
        text = desk.say("ex.authority", source=b.source or "-", code=b.code or "-", number=b.number or "-", at=desk.here(b.at), utc=desk.utc(b.at))
    return Line(text=text, at=desk.here(b.at), at_utc=desk.utc(b.at), evidence=(b.evidence,) if b.evidence else ())


def _condition(c: ConditionSaid, desk: _Desk) -> Line:
    title = c.titles.get(desk.lang) or c.titles.get("en") or c.name
    detail = desk.say(c.detail, **c.detail_args) if c.detail else ""
    return Line(text=f"{title}. {detail}".rstrip(), rule=c.rule, legal=c.legal, certainty=c.certainty, verdict=c.verdict, evidence=c.evidence)


def _finding(f: FindingSaid, desk: _Desk) -> Line:
    title = f.titles.get(desk.lang) or f.titles.get("en", f.code)
    return Line(text=f"{title}. {f.texts.get(desk.lang) or f.texts.get('en', '')}".strip(), rule=f.rule, legal=f.legal, certainty=f.certainty,
                verdict=f.severity, evidence=f.evidence, at=desk.here(f.since), at_utc=desk.utc(f.since))


def _filing_text(u: ClearanceUpdate, desk: _Desk) -> Iterable[str]:
    for f in u.filings:
        if f.waived:
            yield desk.say("ex.waived", kind=f.kind, why=f.waived)
        else:
            yield desk.say("ex.filing", kind=f.kind, state=word("doc", f.state, desk.lang), numbers=", ".join(f.numbers) or "-", due=desk.here(f.due) or "-",
                           timing=word("timing", f.timing or "none", desk.lang))


def _seals(u: ClearanceUpdate, desk: _Desk) -> Iterable[Line]:
    """Every chain with every reading."""
    for s in u.seals:
        yield Line(text=desk.say("ex.chain", chain=s.chain, box=s.container or "*", verdict=word("seal", s.verdict, desk.lang)), verdict=s.verdict)
        for r in s.readings:
            yield Line(text=desk.say("ex.reading", what=r.key[-1] if r.key else "-", seal=r.number or "-", source=r.source, place=r.value or "-",
                                     at=desk.here(r.at)), at=desk.here(r.at), at_utc=desk.utc(r.at), evidence=(r.id,) if r.id else ())


def _evidence(u: ClearanceUpdate, desk: _Desk) -> Iterable[Line]:
    for e in u.evidence:
        fact = desk.known.get(e.id)
        said = f" {fact.code}" if fact is not None and fact.code and fact.code != e.code else ""
        yield Line(text=desk.say("ex.event", what="/".join(e.key), source=e.source, code=(e.code + said) or "-", number=e.number or "-", at=desk.here(e.at)),
                   evidence=(e.id,) if e.id else (), at=desk.here(e.at), at_utc=desk.utc(e.at))


def _fresh(u: ClearanceUpdate, desk: _Desk) -> Iterable[str]:
    for f in u.freshness:
        key = "ex.unheard" if not f.known else "ex.live" if f.live else "ex.stale"
        yield desk.say(key, source=f.source, last=desk.here(f.last_event) or "-", minutes="-" if f.age_minutes is None else f.age_minutes)


def _action(a: NextAction, desk: _Desk) -> Line:
    what = a.what.get(desk.lang) or a.what.get("en", "")
    who = " ".join(p for p in (word("role", a.role, desk.lang) if a.role else "", f"({a.party})" if a.party else "") if p)
    parts = [f"{who}: {what}" if who else what]
    if a.system or a.office:
        parts.append(desk.say("ex.where", system=a.system or "-", office=a.office or "-"))
    if a.by is not None:
        parts.append(desk.say("ex.by", by=desk.here(a.by), utc=desk.utc(a.by), hours="-" if a.hours_left is None else f"{a.hours_left:g}",
                              law=desk.say("ex.legal" if a.legal else "ex.operational")))
    if a.consequence:
        parts.append(desk.say("ex.else", consequence=a.consequence.get(desk.lang) or a.consequence.get("en", "")))
    if a.done_when:
        parts.append(desk.say("ex.done", done=member(a.done_when, desk.lang)))
    if a.call:
        parts.append(desk.say("ex.call", call=a.call, hours=a.call_hours or "-"))
    return Line(text=" ".join(parts), rule=a.rule, at=desk.here(a.by), at_utc=desk.utc(a.by))


HEADINGS = (("findings", "ex.h.findings"), ("conditions", "ex.h.conditions"), ("filings", "ex.h.filings"), ("missing", "ex.h.missing"),
            ("not_checked", "ex.h.not_checked"), ("seals", "ex.h.seals"), ("evidence", "ex.h.evidence"), ("freshness", "ex.h.freshness"),
            ("actions", "ex.h.actions"))


def _rendered(s: SideExplained, lang: str) -> list[str]:
    lines = ["", f"{s.side}: {s.state} — {s.title}", f"  {s.basis.text}"]
    if s.since:
        lines.append("  " + say("ex.since", lang, {"since": s.since, "utc": s.since_utc}))
    if s.scopes:
        lines.append("  " + "; ".join(s.scopes))
    for name, heading in HEADINGS:
        said = getattr(s, name)
        if said:
            lines.append(f"  {say(heading, lang)}")
            lines += [f"    - {_one(item, lang)}" for item in said]
    lines.append("  " + say("ex.reproduce", lang, {"revision": s.revision, "pack": s.pack[:12], "at": s.assessed_at}))
    return lines


def _one(item: str | Line, lang: str) -> str:
    if isinstance(item, str):
        return item
    behind = [v for v in (word("verdict", item.verdict, lang) if item.verdict else "", item.rule, item.legal, item.certainty) if v]
    events = f" <{', '.join(item.evidence)}>" if item.evidence else ""
    return f"{item.text}{' [' + '; '.join(behind) + ']' if behind else ''}{events}"

