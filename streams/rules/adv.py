"""ADV: filings and their deadlines. One finding per required filing; late only against the actual arrival."""
from __future__ import annotations

from streams.reference.model import Reference
from streams.rules import grounds
from streams.rules.case import Case, FilingCase, Finding
from streams.rules.day import local
from streams.rules.hours import zone_here
from streams.rules.rule import Check, Rule, titles
from streams.status import DocState, Document
from topics.facts import MINUTE, NEVER

LEGAL = "filing row: source and certainty stand in the row (domain reference section 3)"
GONE = frozenset({"DEPARTED", "CANCELLED", "NOT_REQUIRED", "RELEASED"})


def _open(case: Case) -> FilingCase | None:
    """The filing, when it is still wanted: required, and the goods have not left."""
    filing, status = case.filing, case.side.status
    if filing is None or filing.waived or filing.row.enrolment or status is None or status.state.value in GONE:
        return None                                     # whether a facilitation's own filing came in time is for its rules to say
    return filing


def _said(case: Case, filing: FilingCase, code: str, severity: str, reference: Reference, **more: object) -> Finding:
    zone = zone_here(reference, case.side)
    args = {"kind": filing.kind, "message": filing.row.message or filing.kind, "role": filing.row.role, "filer": filing.filer or filing.row.role,
            "due": local(filing.due, zone) if filing.due is not None else "-", "consequence": filing.row.consequence or "-"}
    base = Finding(code=code, severity="info", text=f"adv.{code.lower()}", args=args, field=filing.kind, present=filing.state.name,
                   evidence=tuple(d.decided_by.id for d in filing.documents if d.decided_by and d.decided_by.id))
    return _replace(base, severity=severity, **more)


def _replace(finding: Finding, **more: object) -> Finding:
    fields = {name: getattr(finding, name) for name in finding.__struct_fields__}
    return Finding(**{**fields, **more})


def at_risk(case: Case, reference: Reference, now: int) -> Finding | None:
    """ADV-01: not registered, and the live ETA (P10) comes nearer than the margin to the deadline."""
    filing = _open(case)
    if filing is None or filing.timing != "at_risk" or filing.registered or not filing.row.alert:
        return None
    return _said(case, filing, "FILING_AT_RISK", "warning", reference, alert="FilingAtRisk")


def overdue(case: Case, reference: Reference, now: int) -> Finding | None:
    """ADV-02: the deadline, counted from what has actually happened, is over and nothing is registered."""
    filing = _open(case)
    if filing is None or filing.timing != "overdue" or not filing.row.alert:
        return None
    return _said(case, filing, "FILING_OVERDUE", "critical" if filing.row.basis == "legal" else "warning", reference, alert="FilingOverdue")


def late(case: Case, reference: Reference, now: int) -> Finding | None:
    """ADV-03: registered later than the actual arrival less the lead time."""
    filing = case.filing
    if filing is None or filing.waived or filing.row.enrolment or filing.timing != "late":
        return None
    severity = "warning" if filing.row.alert else "info"       # what is only tracked warns nobody
    return _said(case, filing, "FILING_LATE", severity, reference, since=filing.registered_at)


def missing(case: Case, reference: Reference, now: int) -> Finding | None:
    """ADV-04: the goods are there and a filing that was due before arrival is not registered."""
    filing = _open(case)
    if filing is None or filing.registered or not filing.row.before_arrival or not filing.arrived or filing.timing == "overdue":
        return None
    return _said(case, filing, "FILING_MISSING", "critical", reference, alert="FilingMissing")


def rejected(case: Case, reference: Reference, now: int) -> Finding | None:
    """ADV-05: the authority's last word on a required filing is a rejection: code and field path as it said them."""
    filing = _open(case)
    if filing is None or filing.state is not DocState.REJECTED:
        return None
    last = max((d for d in filing.documents if d.state is DocState.REJECTED), key=_decided, default=None)
    why = next((f for f in case.side.facts if last is not None and f.key == ("doc", last.kind, last.number, "rejected") and f.at == last.word_at), None)
    path = str(why.value.get("path", "")) if why is not None and isinstance(why.value, dict) else ""
    reason = str(why.value.get("reason", "")) if why is not None and isinstance(why.value, dict) else ""
    finding = _said(case, filing, "FILING_REJECTED", "critical", reference, alert="FilingRejected",
                    since=last.word_at if last else None, field=path or filing.kind)
    return _replace(finding, args={**finding.args, "code": why.code if why is not None else "", "path": path or "-", "reason": reason or "-"})


def _decided(document: Document) -> tuple[int, str]:
    return document.word_at, document.number


def expired(case: Case, reference: Reference, now: int) -> Finding | None:
    """ADV-06: a registered filing ran out before presentation."""
    filing = _open(case)
    if filing is None or filing.state is not DocState.EXPIRED:
        return None
    ended = max((d.valid_until for d in filing.documents if d.valid_until is not None), default=NEVER)
    return _said(case, filing, "FILING_EXPIRED", "critical", reference, since=ended if ended != NEVER else None, alert="FilingExpired")


def fast_clearance_order(case: Case, reference: Reference, now: int) -> Finding | None:
    """ADV-07: 进境快速通关信息 must follow the original manifest's registration and precede entry (GACC Ann. 2021/5), else normal procedure."""
    if not case.trip.enrolled("fast_clearance") or case.side.authority != "CN" or case.side.kind != "ENTRY":
        return None
    sent = [f for f in case.side.facts if f.key[:2] == ("doc", "fast_clearance") and f.key[3] in ("sent", "registered")]
    if not sent:
        return None
    manifest = min((f.at for f in case.side.facts if f.key[:2] == ("doc", "manifest") and f.key[3] == "registered"), default=NEVER)
    first = min(sent, key=lambda f: (f.at, f.id))
    if manifest == NEVER or first.at <= manifest:
        code = "FAST_CLEARANCE_BEFORE_MANIFEST"
    elif case.side.seen != NEVER and first.at >= case.side.seen:
        code = "FAST_CLEARANCE_AFTER_ENTRY"
    else:
        return None
    return Finding(code=code, severity="warning", text=f"adv.{code.lower()}", at=first.at, evidence=(first.id,) if first.id else ())


def undecided(case: Case, reference: Reference, now: int) -> Finding | None:
    """ADV-08: the onward procedure of a scope is not decided: the row with all alternatives is shown."""
    side = case.side
    if side.kind != "ENTRY" or side.status is None or side.status.state.value in GONE or not side.rows:
        return None
    open_ = [scope for scope, p in side.procedures.items() if p == "undecided" and (row := side.rows.get(scope)) is not None and _choice(row.decision)]
    if not open_:
        return None
    return Finding(code="PROCEDURE_UNDECIDED", severity="info", text="adv.procedure_undecided", args={"boxes": str(len(open_))},
                   scope=open_[0] if len(open_) == 1 else "")


def unanswered(case: Case, reference: Reference, now: int) -> Finding | None:
    """ADV-09: a filing was sent, and its authority has neither registered nor rejected it within the time that it has for that."""
    filing = _open(case)
    if filing is None or filing.registered or filing.row.answer_minutes is None:
        return None
    said = [f for f in case.side.facts if f.key[:2] == ("doc", filing.kind)]
    answered = {f.key[2] for f in said if f.key[3] != "sent"}
    waiting = [f for f in said if f.key[3] == "sent" and f.key[2] not in answered]
    if not waiting:
        return None
    first = min(waiting, key=lambda f: (f.at, f.id))
    until = first.at + filing.row.answer_minutes * MINUTE
    if now <= until:
        return Finding(code="WAITING", due=until + 1)
    finding = _said(case, filing, "FILING_UNANSWERED", "warning", reference, since=first.at, evidence=(first.id,) if first.id else ())
    return _replace(finding, args={**finding.args, "minutes": str(filing.row.answer_minutes), "authority": case.side.authority})


def _choice(decision: tuple[str, ...]) -> bool:
    return len(decision) > 1


def _rule(number: str, check: Check, en: str, zh: str, ru: str, *, needs: int, filing: bool = True, legal: str = LEGAL) -> Rule:
    return Rule(id=f"ADV-{number}", family="ADV", titles=titles(en, zh, ru), legal=legal, certainty="high", check=check,
                per="filing" if filing else "side", afterwards=check is late, needs=needs)


ADV_RULES = (
    _rule("01", at_risk, "Filing at risk against the arrival time", "申报有逾期风险", "Подача под угрозой срыва срока", needs=grounds.AT_RISK),
    _rule("02", overdue, "Filing overdue", "申报已逾期", "Срок подачи прошёл", needs=grounds.OVERDUE),
    _rule("03", late, "Filing registered late", "申报登记迟延", "Сведения зарегистрированы с опозданием", needs=grounds.LATE),
    _rule("04", missing, "Goods there, filing missing", "货到而申报缺失", "Груз прибыл, сведений нет", needs=grounds.MISSING),
    _rule("05", rejected, "Filing rejected", "申报被退单", "Сведения отклонены", needs=grounds.REJECTED),
    _rule("06", expired, "Filing expired", "申报已过有效期", "Срок действия сведений истёк", needs=grounds.EXPIRED),
    _rule("07", fast_clearance_order, "Rail fast clearance out of order", "铁路快通信息传输次序不符", "Нарушен порядок быстрого оформления", filing=False,
          legal="GACC Ann. 2021/5 [S06]", needs=grounds.FAST),
    _rule("08", undecided, "Onward procedure undecided", "后续海关手续未定", "Дальнейшая процедура не выбрана", filing=False, legal="[D]",
          needs=grounds.UNDECIDED),
    _rule("09", unanswered, "Filing not answered in time", "海关逾时未答复申报", "Нет ответа таможни на подачу в срок", needs=grounds.UNANSWERED),
)
