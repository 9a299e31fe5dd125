"""SEAL: chains that failed, cannot be proven, were not read, or differ from the documents. Neither holds nor refuses: that is the authority's."""
from __future__ import annotations

from streams.reference.model import Reference
from streams.rules import grounds
from streams.rules.case import Case, Finding, Lodged
from streams.rules.locks import Chain, chains_of
from streams.rules.rule import Check, Rule, titles
from streams.status import Seal, SealVerdict
from topics.facts import NEVER, WHOLE

TRANSIT = frozenset({"td", "transit", "tir", "next_transit"})
CARRIES_SEALS = frozenset({"td", "transit", "tir", "next_transit", "ens", "manifest", "gtt", "pi", "loading_manifest", "export", "exs", "declaration"})
SHORT = {"ens": "ENS", "td": "TD", "transit": "T1", "pi": "PI", "manifest": "manifest", "gtt": "data set"}
"""How a document is called in a finding."""


def _here(case: Case) -> bool:
    """Nothing is said of a side that the goods have left or will not pass."""
    return case.side.status is not None and case.side.status.state.value not in ("DEPARTED", "CANCELLED", "NOT_REQUIRED")


def _verdicts(case: Case, *verdicts: Seal) -> list[SealVerdict]:
    status = case.status
    return [s for s in status.seals if s.verdict in verdicts] if status is not None and _here(case) else []


def failed(case: Case, reference: Reference, now: int) -> Finding | None:
    """SEAL-01: tamper, broken, wrong id or bad reading outside every authorised opening. A later good reading does not heal it."""
    if case.scope == WHOLE or not _here(case):
        return None
    chain = next((c for c in chains_of(case.trip, case.scope) if c.failed is not None and _looked_at(case, c)), None)
    if chain is None or chain.failed is None:
        return None
    return Finding(
        code="SEAL_FAILED", severity="critical", at=chain.failed.at, since=chain.failed.at, scope=case.scope, text="seal.failed",
        args={"box": case.scope, "chain": chain.name, "what": chain.failed.key[2], "lock": chain.seal or "-"},
        evidence=(chain.failed.id,) if chain.failed.id else (), flags=("control_likely",), alert="SealFailed")


def _looked_at(case: Case, chain: Chain) -> bool:
    """This side's row looks at the chain, or it is the side where it broke."""
    rules = case.side.rules.get(case.scope)
    if rules is not None and chain.name in rules.chains:
        return True
    return chain.failed is not None and chain.failed.side == case.side.id


def unproven(case: Case, reference: Reference, now: int) -> Finding | None:
    """SEAL-02: signal or battery lost and nothing good since, changed without an authority, or too many alarms to tell apart: look at it."""
    found = _verdicts(case, Seal.UNPROVEN) if case.scope != WHOLE else []
    if not found:
        return None
    last = max((r.at for s in found for r in s.readings), default=NEVER)
    return Finding(code="SEAL_UNPROVEN", severity="warning", scope=case.scope, at=last, since=last, text="seal.unproven",
                   args={"box": case.scope, "chain": found[0].chain}, alert="SealUnproven")


def unread(case: Case, reference: Reference, now: int) -> Finding | None:
    """SEAL-03: the box is there and a chain that this side looks at has no good reading here yet."""
    status = case.status
    if case.scope == WHOLE or status is None or not status.present or case.side.at(case.scope).departed != NEVER or status.state.value == "RELEASED":
        return None
    found = [s for s in _verdicts(case, Seal.NO_READING) if any(c.name == s.chain for c in chains_of(case.trip, case.scope))]
    if not found:
        return None
    return Finding(code="SEAL_UNREAD", severity="info", scope=case.scope, text="seal.unread", args={"box": case.scope, "chain": found[0].chain})


def differs(case: Case, reference: Reference, now: int) -> Finding | None:
    """SEAL-04: the documents of this side name a seal that was broken or replaced on the way, until the new one is on them: an amendment that names it
    counts once the authority has registered it."""
    if case.scope == WHOLE or not _here(case):
        return None
    wrong: list[str] = []
    expected, old, since = "", "", NEVER
    evidence: list[str] = []
    for chain in chains_of(case.trip, case.scope):
        wrong_at = chain.failed or chain.breached
        broke = wrong_at.at if wrong_at is not None else chain.replaced_at
        if broke == NEVER or not _later(case, broke):
            continue
        current = chain.seal if chain.replaced_at != NEVER and chain.replaced_at >= broke else ""
        late = [name for name, seals, pending in _documents(case) if (chain.first in seals and current not in seals) or (pending and current in seals)]
        if late:
            wrong += late
            expected, old, since = current, chain.first, max(since, broke)
            evidence += [wrong_at.id] if wrong_at is not None and wrong_at.id else []
    if not wrong:
        return None
    papers = ", ".join(dict.fromkeys(wrong))
    return Finding(
        code="SEAL_DIFFERS", severity="warning", scope=case.scope, at=since, since=since, text="seal.differs" if expected else "seal.differs_open",
        args={"box": case.scope, "papers": papers, "new": expected, "old": old}, field="seals", present=papers, expected=expected,
        evidence=tuple(dict.fromkeys(evidence)), alert="SealDiffersFromDocument")


def _later(case: Case, broke: int) -> bool:
    """It broke before the goods came to this side: there and at later ones the documents must name what is on now."""
    here = case.side.at(case.scope)
    return (here.departed == NEVER or here.departed > broke) and not (here.seen != NEVER and here.seen <= broke)


def _documents(case: Case) -> list[tuple[str, tuple[str, ...], bool]]:
    """(name, seals, amendment pending) of every document that speaks at this side: the note, and the filings that serve it or its union."""
    found = []
    note = case.trip.boxes.get(case.scope, {})
    if note.get("seals"):
        found.append(("note", tuple(str(s) for s in note["seals"]), False))
    for lodged in case.trip.filings:
        if lodged.kind in CARRIES_SEALS and _serves(case, lodged):
            seals = tuple(str(s) for s in lodged.boxes().get(case.scope, {}).get("seals", ()))
            if seals:
                found.append((SHORT.get(lodged.kind, lodged.kind), seals, _pending(case, lodged)))
    return found


def _serves(case: Case, lodged: Lodged) -> bool:
    """Its offices name this side; a transit document also counts at every side of its authority's union until it is ended."""
    if case.side.id in lodged.sides or lodged.authority == case.side.authority:
        return True
    if lodged.kind not in TRANSIT or not case.side.union:
        return False
    return any(s.authority == lodged.authority and s.union == case.side.union for s in case.trip.sides)


def _pending(case: Case, lodged: Lodged) -> bool:
    """The authority has not registered the amendment yet: lodging proves nothing."""
    for side in case.trip.sides:
        if side.id in lodged.sides and side.status is not None:
            for scope in side.status.scopes.values():
                if any(d.kind == lodged.kind and d.number == lodged.number and "amendment_pending" in d.flags for d in scope.documents):
                    return True
    return False


def _rule(number: str, check: Check, en: str, zh: str, ru: str, version: int = 1, *, needs: int) -> Rule:
    return Rule(id=f"SEAL-{number}", family="SEAL", titles=titles(en, zh, ru), legal="status-model section 8 [D]; alarms [S87]", certainty="high",
                check=check, per="scope", version=version, needs=needs)


SEAL_RULES = (
    _rule("01", failed, "Seal failed", "封志失效", "Пломба нарушена", needs=grounds.ALARM),
    _rule("02", unproven, "Seal unproven: visual check", "封志状态未证实：须目视检查", "Состояние пломбы не подтверждено: нужен осмотр", version=2,
          needs=grounds.UNPROVEN),
    _rule("03", unread, "Seal not read here yet", "封志尚未在此读取", "Пломба здесь ещё не считана", needs=grounds.UNREAD),
    _rule("04", differs, "Seal differs from document", "封志与单证不符", "Пломба не совпадает с документом", version=3, needs=grounds.CHANGED),
)
