"""REC: recognition of another authority's supervision: asked, effective, withdrawn (domain S3, status-model section 8)."""
from __future__ import annotations

from streams.reference.model import Agreement, Reference
from streams.rules import grounds
from streams.rules.agreements import binds, names_of, of_kind, relying
from streams.rules.case import Case, Finding, SideCase
from streams.rules.day import day_of
from streams.rules.gtt_link import Link, link_of
from streams.rules.locks import chain_of
from streams.rules.rule import Check, Rule, titles
from topics.facts import WHOLE, Fact


def withdrawn(case: Case, reference: Reference, now: int) -> Finding | None:
    """REC-01: the lock failed; recognition is withdrawn here and at every later side that relies on it under the agreement."""
    if case.scope == WHOLE or _over(case.side):
        return None
    chain = chain_of(case.trip, case.scope)
    if chain is None or chain.failed is None:
        return None
    link = _relied_on(case, reference, day_of(now))
    if link is None:
        return None
    return Finding(
        code="RECOGNITION_WITHDRAWN", severity="warning", at=chain.failed.at, since=chain.failed.at, scope=case.scope, text="rec.withdrawn",
        args={"agreement": link.agreement.id, "box": case.scope}, evidence=(chain.failed.id,) if chain.failed.id else (),
        flags=("recognition_withdrawn", "control_likely"), alert="RecognitionWithdrawn")


def withheld(case: Case, reference: Reference, now: int) -> Finding | None:
    """REC-02: the lock is unproven, or was changed without an authority; recognition is withheld until somebody looks at it."""
    if case.scope == WHOLE or _over(case.side):
        return None
    chain = chain_of(case.trip, case.scope)
    doubt = chain.breached or chain.lost if chain is not None else None
    if chain is None or doubt is None or chain.failed is not None:
        return None
    link = _relied_on(case, reference, day_of(now))
    if link is None:
        return None
    return Finding(code="RECOGNITION_WITHHELD", severity="warning", at=doubt.at, since=doubt.at, scope=case.scope, text="rec.withheld",
                   args={"agreement": link.agreement.id, "box": case.scope}, evidence=(doubt.id,) if doubt.id else (),
                   flags=("recognition_withheld",))


def _over(side: SideCase) -> bool:
    return side.status is None or side.status.state.value in ("DEPARTED", "CANCELLED", "NOT_REQUIRED")


def _relied_on(case: Case, reference: Reference, today: str) -> Link | None:
    """The link at this side, or the earlier one whose agreement extends to it."""
    own = link_of(case, reference, today)
    if own is not None:
        return own
    for earlier in case.trip.before(case.side):
        link = link_of(Case(case.trip, earlier), reference, today)
        if link is not None and case.side in relying(case.trip, reference, link.agreement, link.entry):
            return link
    return None


def asked(case: Case, reference: Reference, now: int) -> Finding | None:
    """REC-03: a conform result of a recognised authority asks this side not to repeat that control; effective when this side says so."""
    side = case.side
    if _over(side) or not side.required:
        return None
    for earlier in case.trip.before(side):
        if earlier.authority == side.authority:
            continue
        result = conform(earlier)
        agreement = _recognises(reference, earlier.authority, side.authority, day_of(now)) if result is not None else None
        if result is None or agreement is None:
            continue
        answer = next((f for f in side.facts if f.key == ("condition", "recognition") and f.source == side.authority), None)
        code = "RECOGNITION_ASKED" if answer is None else "RECOGNITION_EFFECTIVE" if answer.value == "proven" else "RECOGNITION_REFUSED"
        return Finding(code=code, severity="info", at=result.at, text=f"rec.{code.removeprefix('RECOGNITION_').lower()}",
                       args={"by": earlier.authority, "agreement": agreement.id},
                       evidence=tuple(f.id for f in (result, answer) if f is not None and f.id))
    return None


def conform(side: SideCase) -> Fact | None:
    """A control of this side's authority that ended without discrepancy."""
    controls: dict[str, list[Fact]] = {}
    for f in side.facts:
        if f.key[0] == "demand" and f.key[1] == "control" and f.source == side.authority:
            controls.setdefault(f.key[3], []).append(f)
    closed = [max((f for f in said if f.key[4] == "closed"), key=lambda f: (f.at, f.id), default=None)
              for said in controls.values() if not any(f.key[4] == "discrepancy" for f in said)]
    return max((f for f in closed if f is not None), key=lambda f: (f.at, f.id), default=None)


def _recognises(reference: Reference, by: str, at: str, today: str) -> Agreement | None:
    return next((a for a in of_kind(reference, "recognition", today) if binds(a, names_of(reference, by), names_of(reference, at))), None)


def _rule(number: str, check: Check, en: str, zh: str, ru: str, *, scope: bool = True, version: int = 1, needs: int) -> Rule:
    return Rule(id=f"REC-{number}", family="REC", titles=titles(en, zh, ru), legal="agreement row: source and certainty stand there; GTT-10 [D]",
                certainty="med", check=check, per="scope" if scope else "side", version=version, needs=needs)


REC_RULES = (
    _rule("01", withdrawn, "Recognition withdrawn", "监管互认已撤回", "Признание отозвано", needs=grounds.ALARM),
    _rule("02", withheld, "Recognition withheld", "监管互认暂缓", "Признание приостановлено", version=2, needs=grounds.CHANGED | grounds.LOST_SIGHT),
    _rule("03", asked, "Earlier control: recognition", "前一海关监管结果互认", "Признание результата прежнего контроля", scope=False,
          needs=grounds.CONTROLLED),
)
