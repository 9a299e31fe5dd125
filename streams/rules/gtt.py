"""GTT: the conditions of the customs-rail link (关铁通), domain reference section 1.4. They prove and explain; authorities recognise and release.

Which of them stand between ACCEPTED and PRE_CLEARED: all but GTT-09, whose reading at the border makes a side *ready* once it is there.
"""
from __future__ import annotations

import math
from typing import Literal

from streams.reference.model import Reference
from streams.rules.case import Case, Finding, Lodged
from streams.rules.day import day_of
from streams.rules.doc import wrong_number
from streams.rules.gtt_link import (
    INSPECTED,
    RECOGNISED,
    WAIVED,
    Link,
    about,
    acknowledged,
    application,
    data_set,
    departed_origin,
    last_word,
    link_of,
    opted_in_without_agreement,
    reviewed_at,
    said_by_partner,
    word,
    words,
)
from streams.rules.locks import CUSTOMS_LOCK, Chain, chain_of, chains_of
from streams.status.seals import OPENED, lock_of
from streams.status.states import text_in
from topics.facts import DAY, MINUTE, NEVER, WHOLE, Fact


def _link(case: Case, reference: Reference, now: int) -> Link | None:
    if case.side.id in case.trip.links:                 # looked up once, whatever the day
        found: Link | None = case.trip.links[case.side.id]
        return found
    return link_of(case, reference, day_of(now))


def _ids(*facts: Fact | None) -> tuple[str, ...]:
    return tuple(f.id for f in facts if f is not None and f.id)


def proven(code: str, at: int, *evidence: Fact | None, text: str = "", **args: str) -> Finding:
    return Finding(code=code, verdict="proven", at=at, text=text, args=args, evidence=_ids(*evidence))


def eligibility(case: Case, reference: Reference, now: int) -> Finding | None:
    """GTT-01: the pair has an agreement in force, the route is enrolled, the carrier opted in. Else the normal procedure, not an error."""
    link = _link(case, reference, now)
    if link is None:
        if not opted_in_without_agreement(case.trip, case.side, reference, day_of(now)):
            return None
        return Finding(code="GTT_NOT_HERE", severity="info", text="gtt.not_here")
    declared = next((f for f in case.trip.facts if f.key[0] == "shipment"), None)
    return proven("GTT_ELIGIBLE", declared.at if declared else 0, declared, text="gtt.eligible", agreement=link.agreement.id)


def application_in_time(case: Case, reference: Reference, now: int) -> Finding | None:
    """GTT-02: the data-exchange application comes before customs reviews the outbound-train declaration (GACC Ann. 2018/166)."""
    link = _link(case, reference, now)
    if link is None:
        return None
    applied, reviewed = application(case.trip, link, case.scope), reviewed_at(link, case.scope)
    sent, ended = applied.sent, applied.ended
    if sent is None and ended is not None:
        return Finding(code="GTT_APPLICATION_REJECTED", severity="warning", verdict="failed", at=ended.at, text="gtt.application_rejected", scope=case.scope,
                       args={"authority": ended.source}, evidence=_ids(ended))
    if sent is None and reviewed is None:
        return Finding(code="GTT_NOT_APPLIED", verdict="unknown", text="gtt.not_applied", scope=case.scope)
    if sent is None or (reviewed is not None and sent.at >= reviewed.at):
        return Finding(code="GTT_LATE", severity="warning", verdict="failed", at=reviewed.at if reviewed is not None else NEVER, text="gtt.late",
                       scope=case.scope, evidence=_ids(sent, reviewed))
    return _in_scope(proven("GTT_APPLIED", sent.at, sent), case)


def lock_type(case: Case, reference: Reference, now: int) -> Finding | None:
    """GTT-03: lock standard agreed, one lock active and never changed without an authority, armed before departure."""
    link = _link(case, reference, now)
    if link is None:
        return None
    chain = chain_of(case.trip, case.scope) if case.scope != WHOLE else None     # without a container no lock is proven
    if chain is None or chain.armed is None:
        return Finding(code="GTT_NO_LOCK", verdict="unknown", text="gtt.no_lock", scope=case.scope)
    if chain.both_on:
        return _failed("GTT_LOCK_NOT_UNIQUE", case, chain.armed.at, chain.armed, chain.breached, present=", ".join(chain.both_on))
    if chain.breached is not None:
        return _changed(case, chain.breached, "")
    if chain.off is not None:
        return Finding(code="GTT_NO_LOCK", verdict="unknown", text="gtt.no_lock", scope=case.scope, evidence=_ids(chain.off))
    standards = link.agreement.lock_standards
    if standards and chain.standard and chain.standard not in standards:
        return _failed("GTT_LOCK_STANDARD", case, chain.armed_at, chain.armed, present=chain.standard, expected=", ".join(standards))
    if standards and not chain.standard:
        return Finding(code="GTT_LOCK_STANDARD_UNKNOWN", verdict="unknown", scope=case.scope, text="gtt.standard_unknown", evidence=_ids(chain.armed))
    left = departed_origin(link, case.scope)
    if left != NEVER and chain.armed_at > left:
        return _failed("GTT_ARMED_LATE", case, chain.armed_at, chain.armed)
    return _in_scope(proven("GTT_LOCK", chain.armed_at, chain.armed, text="gtt.lock", lock=chain.first), case)


def _changed(case: Case, breach: Fact, severity: Literal["", "warning"] = "warning") -> Finding:
    """Taken off, replaced, opened or doubled by whoever is no authority: nothing is proven of it any more. GTT-10 says so to people."""
    what = "opened" if breach.key[2] == OPENED else breach.key[2]
    return Finding(code="GTT_LOCK_CHANGED", severity=severity, verdict="unknown", at=breach.at, scope=case.scope, text="gtt.lock_changed",
                   args={"box": case.scope, "what": what, "source": breach.source}, evidence=_ids(breach),
                   flags=("recognition_withheld",) if severity else ())


def _failed(code: str, case: Case, at: int, *evidence: Fact | None, present: str = "", expected: str = "", field: str = "") -> Finding:
    return Finding(code=code, severity="warning", verdict="failed", at=at, scope=case.scope, text=f"gtt.{code.removeprefix('GTT_').lower()}",
                   args={"present": present, "expected": expected, "box": case.scope}, evidence=_ids(*evidence), present=present, expected=expected,
                   field=field)


def _in_scope(finding: Finding, case: Case) -> Finding:
    return Finding(code=finding.code, verdict=finding.verdict, at=finding.at, text=finding.text, args=finding.args, evidence=finding.evidence,
                   scope=case.scope)


def binding(case: Case, reference: Reference, now: int) -> Finding | None:
    """GTT-04: lock, container and consignment agree in the documents and in the lock's own event."""
    link = _link(case, reference, now)
    if link is None or case.scope == WHOLE:
        return None
    chain = chain_of(case.trip, case.scope)
    if chain is None or not chain.first:
        return Finding(code="GTT_NO_LOCK", verdict="unknown", text="gtt.no_lock", scope=case.scope)
    number = str((case.trip.declared.get("document") or {}).get("number", ""))
    if chain.consignment and number and number not in chain.consignment:
        return _failed("GTT_BINDING", case, chain.armed_at, chain.armed, present=chain.consignment, expected=number, field="document")
    named = _seals_named(case)
    if not named:
        return Finding(code="GTT_BINDING_UNKNOWN", verdict="unknown", text="gtt.binding_unknown", scope=case.scope)
    wrong = [name for name, seals in named if chain.first not in seals and chain.seal not in seals]
    if wrong:
        return _failed("GTT_BINDING", case, chain.armed_at, chain.armed, present=", ".join(wrong), expected=chain.first, field="seals")
    return _in_scope(proven("GTT_BOUND", chain.armed_at, chain.armed), case)


def _seals_named(case: Case) -> list[tuple[str, tuple[str, ...]]]:
    """(document, seals) of the note, the manifest and the data set, as far as they name this lock's chain for this container.

    Documents list numbers without a chain; which chain a number is of, the seals' own events tell. A note that names the bolt seal only says
    nothing of the lock, nor does one whose numbers no event knows; the data set is about the lock, so a number that nobody knows is wrong.
    """
    lock, other = set[str](), set[str]()
    for f in case.trip.seals(case.scope):
        (lock if f.key[1] == CUSTOMS_LOCK else other).update({lock_of(f), text_in(f.value, "new")} - {""})
    found = []
    documents = [("note", False, case.trip.boxes.get(case.scope, {}))]
    documents += [(f.name, f.kind == "gtt", f.boxes().get(case.scope, {})) for f in case.trip.filings if f.kind in ("gtt", "manifest")]
    for name, about_lock, box in documents:
        seals = tuple(str(s) for s in box.get("seals", ()))
        if lock & set(seals) or (about_lock and set(seals) - other):
            found.append((name, seals))
    return found


def data_complete(case: Case, reference: Reference, now: int) -> Finding | None:
    """GTT-05: mandatory fields there, HS of at least 6 digits, valid ISO 6346 number."""
    link = _link(case, reference, now)
    if link is None or case.scope == WHOLE:
        return None
    lodged = data_set(case.trip, case.scope)
    box = (lodged.boxes().get(case.scope) if lodged else None) or case.trip.boxes.get(case.scope) or {}
    if not box:
        return Finding(code="GTT_DATA_UNKNOWN", verdict="unknown", text="gtt.data_unknown", scope=case.scope)
    missing = _missing(case, lodged)
    if missing:
        return _failed("GTT_DATA", case, lodged.at if lodged else 0, present="", expected=", ".join(missing), field=missing[0])
    return _in_scope(proven("GTT_DATA_COMPLETE", lodged.at if lodged else 0), case)


def _missing(case: Case, lodged: Lodged | None) -> list[str]:
    trip = case.trip
    box = {**trip.boxes.get(case.scope, {}), **((lodged.boxes().get(case.scope) or {}) if lodged else {})}
    parties = {p.get("role") for p in (*trip.declared.get("parties", ()), *((lodged.content.get("parties") or ()) if lodged else ()))}
    missing = [f"parties.{role}" for role in ("consignor", "consignee") if role not in parties]
    missing += [name for name in ("origin", "destination") if not trip.declared.get(name)]
    if wrong_number(trip, case.scope):
        missing.append("container")
    if box.get("empty"):
        return missing
    goods = box.get("goods") or ()
    if not goods:
        missing.append("goods")
    missing += [f"goods[{i}].hs" for i, line in enumerate(goods) if len(str(line.get("hs", ""))) < 6]
    missing += [f"goods[{i}].description" for i, line in enumerate(goods) if not line.get("description")]
    if not _weight(box.get("gross_kg")):
        missing.append("gross_kg")
    if box.get("packages") is None and any(line.get("packages") is None for line in goods):
        missing.append("packages")
    return missing


def _weight(value: object) -> bool:
    """NaN, 0 and negative weights fail."""
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def transmission(case: Case, reference: Reference, now: int) -> Finding | None:
    """GTT-06: the partner acknowledged the data set at least N minutes before the arrival at its side."""
    link = _link(case, reference, now)
    if link is None:
        return None
    ack = acknowledged(case.trip, link, application(case.trip, link, case.scope), case.scope)
    minutes = reference.limits.gtt_ack_minutes_min
    there = link.entry.at(case.scope)
    arrival = there.seen if there.seen != NEVER else there.eta[1] if there.eta else None
    if ack is None:
        limit = arrival - minutes * MINUTE if arrival is not None else None
        if limit is not None and now >= limit:
            return Finding(code="GTT_NO_ACK", severity="warning", verdict="failed", at=limit, text="gtt.no_ack", args={"partner": link.partner},
                           scope=case.scope)
        return Finding(code="GTT_NO_ACK_YET", verdict="unknown", text="gtt.no_ack_yet", args={"partner": link.partner}, due=limit, scope=case.scope)
    if arrival is None:
        return Finding(code="GTT_NO_ETA", verdict="unknown", text="gtt.no_eta", evidence=_ids(ack), scope=case.scope)
    if ack.at > arrival - minutes * MINUTE:
        return Finding(code="GTT_ACK_LATE", severity="warning", verdict="failed", at=ack.at, text="gtt.ack_late", evidence=_ids(ack),
                       args={"minutes": str(minutes)}, scope=case.scope)
    return _in_scope(proven("GTT_ACKNOWLEDGED", ack.at, ack), case)


def recognised_inspection(case: Case, reference: Reference, now: int) -> Finding | None:
    """GTT-07: an inspection of this scope at origin was conform, or the origin says that it ordered none. Silence is "not decided", which proves
    nothing; so does a control that was ordered after the result and is not closed."""
    link = _link(case, reference, now)
    if link is None or case.side is not link.entry:
        return None
    own = link.exit.authority
    conditions = [f for f in words(case.trip, link.exit, "condition", case.scope) if f.source == own]
    controls = [f for f in words(case.trip, link.exit, "control", case.scope) if f.source == own]
    result = last_word([f for f in conditions if f.key[1] in INSPECTED], case.scope)
    if result is None and not controls:
        waived = last_word([f for f in conditions if f.key[1] == WAIVED], case.scope)
        if waived is None or word(waived) != "proven":
            return Finding(code="GTT_INSPECTION_UNDECIDED", verdict="unknown", text="gtt.inspection_undecided", scope=case.scope)
        return _in_scope(proven("GTT_NOT_ORDERED", waived.at, waived, text="gtt.not_ordered"), case)
    wrong = next((f for f in controls if f.key[-1] == "discrepancy"), result if result is not None and word(result) == "failed" else None)
    if wrong is not None:
        return Finding(code="GTT_INSPECTION_DISCREPANCY", severity="warning", verdict="failed", at=wrong.at, text="gtt.discrepancy", scope=case.scope,
                       evidence=_ids(wrong))
    closed, pending = _controls(controls)
    if result is not None and word(result) == "proven":
        closed, pending = [*closed, result], [f for f in pending if f.at >= result.at]
    if pending or not closed:
        return Finding(code="GTT_INSPECTION_OPEN", verdict="unknown", text="gtt.inspection_open", evidence=_ids(*pending[-1:]), scope=case.scope)
    inspected = max(closed, key=lambda f: (f.at, f.id))
    opened = _opened_after(case, inspected.at)
    if opened is not None and not link.agreement.seal_continuity:
        return Finding(code="GTT_OPENED_SINCE", severity="warning", verdict="failed", at=opened.at, text="gtt.opened_since", scope=case.scope,
                       evidence=_ids(inspected, opened))
    return _in_scope(proven("GTT_INSPECTED", inspected.at, inspected, text="gtt.inspected"), case)


def _controls(said: list[Fact]) -> tuple[list[Fact], list[Fact]]:
    """(closings, what still keeps one open) of the controls, each by subject, reference and scope alone."""
    each: dict[tuple[str, ...], list[Fact]] = {}
    for f in said:
        each.setdefault((*f.key[:-1], f.scope), []).append(f)
    closed: list[Fact] = []
    pending: list[Fact] = []
    for heard in each.values():
        end = max((f for f in heard if f.key[-1] == "closed"), key=lambda f: (f.at, f.id), default=None)
        closed += [end] if end is not None else []
        pending += [f for f in heard if f.key[-1] != "closed" and (end is None or f.at > end.at)]
    return closed, sorted(pending, key=lambda f: (f.at, f.id))


def _opened_after(case: Case, at: int) -> Fact | None:
    """The box was opened after the inspection. Without a container any of them counts."""
    boxes = [case.scope] if case.scope != WHOLE else [b for b in case.side.rules if b != WHOLE]
    return next((c.opened for b in boxes for c in chains_of(case.trip, b) if c.opened is not None and c.opened.at > at), None)


def partner_answer(case: Case, reference: Reference, now: int) -> Finding | None:
    """GTT-08, public part: the partner's own answer on this scope. Refused withholds recognition; silence proves nothing. Scores are restricted."""
    link = _link(case, reference, now)
    if link is None:
        return None
    said = said_by_partner(case.trip, link, RECOGNISED, case.scope)
    if said is None:
        return Finding(code="GTT_NO_ANSWER", verdict="unknown", text="gtt.no_answer", args={"partner": link.partner}, scope=case.scope)
    if word(said) == "failed":
        return Finding(code="GTT_REFUSED", severity="warning", verdict="failed", at=said.at, text="gtt.refused", args={"partner": link.partner},
                       evidence=_ids(said), flags=("control_likely",), scope=case.scope)
    if word(said) != "proven":
        return Finding(code="GTT_NO_ANSWER", verdict="unknown", text="gtt.no_answer", args={"partner": link.partner}, evidence=_ids(said), scope=case.scope)
    return _in_scope(proven("GTT_RECOGNISED", said.at, said, text="gtt.recognised", partner=link.partner), case)


def _chain(case: Case, reference: Reference, now: int) -> Chain | None:
    """The lock of this container where the link applies."""
    return chain_of(case.trip, case.scope) if case.scope != WHOLE and _link(case, reference, now) is not None else None


def seal_at_border(case: Case, reference: Reference, now: int) -> Finding | None:
    """GTT-09: read at this side and intact: ready on arrival. Not a condition before arrival; RELEASED is the authority's notice."""
    chain = _chain(case, reference, now)
    if chain is None:
        return None
    if chain.failed is not None:
        return Finding(code="GTT_SEAL_FAILED", verdict="failed", at=chain.failed.at, scope=case.scope, evidence=_ids(chain.failed), text="gtt.seal_failed")
    if chain.breached is not None:
        return _changed(case, chain.breached, "")
    visit = max((f.at for f in case.side.facts if f.key[0] == "visit" and about(f, case.scope)), default=NEVER)
    read = [f for f in case.trip.seals(case.scope) if f.key[1] == chain.name and f.key[2] in ("ok", "checked_ok") and f.at >= visit
            and (f.side == case.side.id or (isinstance(f.value, dict) and f.value.get("side") == case.side.id))]
    if not read:
        return Finding(code="GTT_NOT_READ", verdict="unknown", scope=case.scope, text="gtt.not_read")
    return _in_scope(proven("GTT_READ", read[-1].at, read[-1]), case)


def seal_failure(case: Case, reference: Reference, now: int) -> Finding | None:
    """GTT-10: tamper, broken, wrong id = FAILED; signal or battery lost, or taken off, replaced or doubled outside an authority's opening = UNPROVEN.
    A later good reading heals neither a broken lock nor one that was changed."""
    chain = _chain(case, reference, now)
    if chain is None:
        return None
    if chain.failed is not None:
        return Finding(code="GTT_SEAL_FAILED", severity="critical", verdict="failed", at=chain.failed.at, scope=case.scope, text="gtt.seal_failed",
                       args={"box": case.scope}, evidence=_ids(chain.failed), flags=("recognition_withdrawn",))
    if chain.breached is not None:
        return _changed(case, chain.breached)
    if chain.off is not None:
        return Finding(code="GTT_NO_LOCK", verdict="unknown", text="gtt.no_lock", scope=case.scope, evidence=_ids(chain.off))
    if chain.lost is not None:
        return Finding(code="GTT_SEAL_UNPROVEN", severity="warning", verdict="unknown", at=chain.lost.at, scope=case.scope, text="gtt.seal_unproven",
                       args={"box": case.scope}, evidence=_ids(chain.lost), flags=("recognition_withheld",))
    return _in_scope(proven("GTT_SEAL_INTACT", chain.armed_at, chain.armed), case) if chain.armed is not None else None


def deviation(case: Case, reference: Reference, now: int) -> Finding | None:
    """GTT-11: the lock, or the train, left the corridor by more than X km, or stood unplanned for more than Y hours."""
    link = _link(case, reference, now)
    if link is None or case.scope == WHOLE:
        return None
    off = [c.deviated for c in chains_of(case.trip, case.scope) if c.deviated is not None]
    off += [f for f in case.trip.any.get("deviation", ()) if f.scope in (WHOLE, case.scope) and _far(f, reference)]
    if off:
        first = min(off, key=lambda f: (f.at, f.id))
        return _failed("GTT_DEVIATION", case, first.at, first)
    return _in_scope(proven("GTT_ON_ROUTE", 0), case)


def _far(fact: Fact, reference: Reference) -> bool:
    """Stops of the train are the railway's to tell (`gtt_stop_hours_max` is for those who do): lines and stations are too coarse to compute them."""
    value = fact.value if isinstance(fact.value, dict) else {}
    km, hours = value.get("km"), value.get("hours")
    return (isinstance(km, int | float) and km > reference.limits.gtt_deviation_km_max) or (
        isinstance(hours, int | float) and hours > reference.limits.gtt_stop_hours_max)


def load_change(case: Case, reference: Reference, now: int) -> Finding | None:
    """GTT-12: a transload keeps the container; wagon and train may change. Another container needs a customs-supervised transfer record."""
    link = _link(case, reference, now)
    if link is None or case.scope == WHOLE:
        return None
    bound = [f for f in case.trip.any.get("bound", ()) if f.scope == case.scope and isinstance(f.value, dict)]
    swapped = next((f for f in bound if isinstance(f.value, dict) and f.value.get("replaces")), None)
    if swapped is None:
        return _in_scope(proven("GTT_SAME_BOX", bound[0].at if bound else 0), case)
    act = swapped.value.get("act") if isinstance(swapped.value, dict) else ""
    if act:
        return Finding(code="GTT_BOX_CHANGED", severity="info", verdict="proven", at=swapped.at, scope=case.scope, text="gtt.box_changed",
                       args={"act": str(act)}, evidence=_ids(swapped))
    return _failed("GTT_BOX_CHANGED_UNSUPERVISED", case, swapped.at, swapped)


def expiry(case: Case, reference: Reference, now: int) -> Finding | None:
    """GTT-13: a filing older than its validity row. Off where no row exists; a slipped ETA alone never asks for a new filing."""
    link = _link(case, reference, now)
    if link is None:
        return None
    judged: list[tuple[int, Fact]] = []
    row = case.side.rows.get(case.scope)
    for asked in row.filings if row is not None else ():
        if asked.validity_days is None:
            continue
        registered = [f for f in case.side.facts if f.key[:2] == ("doc", asked.kind) and f.key[3] in ("registered", "amended") and about(f, case.scope)]
        if registered:
            last = max(registered, key=lambda f: (f.at, f.id))
            judged.append((last.at + asked.validity_days * DAY, last))
    if not judged:
        return None
    ends, fact = min(judged, key=lambda j: (j[0], j[1].id))
    until = now if case.side.presented == NEVER else min(now, case.side.presented)
    if ends <= until:
        return Finding(code="GTT_EXPIRED", severity="warning", verdict="failed", at=ends, text="gtt.expired", args={"kind": fact.key[1]}, evidence=_ids(fact),
                       scope=case.scope)
    return Finding(code="GTT_VALID", verdict="proven", at=fact.at, evidence=_ids(fact), due=ends, scope=case.scope)


