"""BORD, GAUGE, STALE, LANE, AEO: what happens, or does not happen, at the border."""
from __future__ import annotations

from streams.reference.model import Reference
from streams.rules import grounds
from streams.rules.agreements import between
from streams.rules.case import Case, Finding, SideCase, Trip
from streams.rules.day import day_of, local, micros
from streams.rules.hours import post_closes, post_opens, zone_here
from streams.rules.rule import Check, Rule, titles
from topics.facts import HOUR, NEVER

WAITING = frozenset({"ARRIVED", "SEAL_CHECK", "CONTROL_ORDERED", "UNDER_CONTROL", "HELD", "INFO_REQUESTED"})
CALL_AFTER_HOURS = 24.0
"""Release after arrival: same day, at most 24 h (Khorgos, Alashankou [S66])."""
AEO_ROLES = frozenset({"consignor", "consignee", "exporter", "importer", "carrier", "declarant"})


def left_without_release(case: Case, reference: Reference, now: int) -> Finding | None:
    """BORD-01: departed, and by the facts up to then not released: critical, or a feed gap when the authority's feed is stale."""
    status = case.side.status
    if status is None or "left_without_release" not in status.flags:
        return None
    gap = case.side.stale
    return Finding(code="FEED_GAP" if gap else "LEFT_WITHOUT_RELEASE", severity="warning" if gap else "critical", at=status.since,
                   since=status.since if status.since != NEVER else None, text="bord.feed_gap" if gap else "bord.left_without_release",
                   args={"authority": case.side.authority}, evidence=tuple(e.id for e in status.evidence if e.id)[:4],
                   flags=("feed_gap",) if gap else (), alert="LeftWithoutRelease")


def waiting_since(side: SideCase) -> int:
    """Since when the goods wait for the authority here; NEVER when they do not."""
    if side.status is None or side.status.state.value not in WAITING or side.departed != NEVER or not side.status.present:
        return NEVER
    return max(side.status.since, side.seen)


def call_after(case: Case, reference: Reference) -> int | None:
    """When "call the duty line" is due."""
    since = waiting_since(case.side)
    if since == NEVER or case.side.status is None:
        return None
    hours = reference.limits.call_after_hours
    return since + int(hours.get(case.side.status.state.value, hours.get(case.side.authority, CALL_AFTER_HOURS)) * HOUR)


def no_notice(case: Case, reference: Reference, now: int) -> Finding | None:
    """BORD-02: the goods are there, not released, and the authority has said nothing for N hours: whom to call."""
    when = call_after(case, reference)
    if when is None or case.side.status is None:
        return None
    if now < when:
        return Finding(code="WAITING", due=when)
    since = waiting_since(case.side)
    return Finding(code="NO_NOTICE", severity="warning", at=when, since=since, text="bord.no_notice", alert="NoNoticeFromAuthority",
                   args={"authority": case.side.authority, "state": case.side.status.state.value, "hours": f"{(when - since) / HOUR:g}"})


def post_closed(case: Case, reference: Reference, now: int) -> Finding | None:
    """BORD-03: the goods wait and the post does not work now (night, weekend, holiday): when it opens."""
    crossing = reference.crossings.get(case.side.crossing)
    if crossing is None or case.side.authority not in crossing.calendar or waiting_since(case.side) == NEVER:
        return None                                     # a post without hours of its own always works
    opens = post_opens(reference, crossing, case.side.authority, now)
    if opens is None:
        return None
    if opens <= now:
        closes = post_closes(reference, crossing, case.side.authority, now)
        return Finding(code="POST_OPEN", due=closes) if closes is not None else None     # said to nobody: when to look again
    return Finding(code="POST_CLOSED", severity="info", text="bord.post_closed", args={"opens": local(opens, zone_here(reference, case.side))}, due=opens)


def crossing_closed(case: Case, reference: Reference, now: int) -> Finding | None:
    """BORD-04: the crossing ahead is closed or limited in this direction."""
    said = case.trip.closures.get(case.side.crossing)
    if said is None or said.state == "open" or case.side.departed != NEVER or said.direction not in ("both", case.trip.direction):
        return None
    until = local(micros(said.expected_until), zone_here(reference, case.side)) if said.expected_until is not None else "-"
    return Finding(code=f"CROSSING_{said.state.upper()}", severity="critical" if said.state == "closed" else "warning", text="bord.crossing",
                   args={"crossing": case.side.crossing, "state": said.state, "reason": said.reason or "-", "until": until},
                   flags=(f"crossing_{said.state}",), evidence=(f"{said.source}/network.crossing/{said.id}",))


def next_train(case: Case, reference: Reference, now: int) -> Finding | None:
    """GAUGE-01: at a gauge break the container keeps its clearance, wagon and train change: is the next train planned?"""
    side, crossing = case.side, reference.crossings.get(case.side.crossing)
    if crossing is None or crossing.gauge_a == crossing.gauge_b or side.kind != "ENTRY" or side.status is None:
        return None
    if not side.status.present or side.departed != NEVER or not side.status.movable:
        return None
    if side.run:
        return Finding(code="NEXT_TRAIN_PLANNED", severity="info", text="gauge.planned", args={"run": side.run})
    return Finding(code="NO_NEXT_TRAIN", severity="warning", text="gauge.none", since=side.status.since, alert="NoNextTrain")


def stale(case: Case, reference: Reference, now: int) -> Finding | None:
    """STALE-01: the authority's feed is silent beyond its limit: what we do not hear may be a demand. Nothing is cleared by silence."""
    if not case.side.stale or case.side.status is None or case.side.status.state.value in ("DEPARTED", "CANCELLED", "NOT_REQUIRED"):
        return None
    last = next((f.last_event for f in case.side.fresh if f.last_event), None)
    return Finding(code="SOURCE_STALE", severity="warning", text="stale.source", since=last,
                   args={"authority": case.side.authority, "last": local(last, zone_here(reference, case.side)) if last else "-"})


def territory_blocks(case: Case, reference: Reference, now: int) -> Finding | None:
    """ROUTE-03: an authority on whose territory the goods are demands something: nothing after it moves, its ETA is unknown, not late."""
    for t in case.trip.sides:
        if t.kind == "TERRITORY" and t is not case.side and t.order <= case.side.order and t.status is not None and not t.status.movable:
            return Finding(code="BLOCKED_BY_TERRITORY", severity="warning", since=t.status.since, text="route.territory",
                           args={"authority": t.authority, "state": t.status.state.value}, flags=("blocked_by_territory",))
    return None


def aeo_code(case: Case, reference: Reference, now: int) -> Finding | None:
    """AEO-01: a trader's AEO status is recognised here only if its code stands in this side's filing under the right role."""
    side, trip = case.side, case.trip
    if side.kind != "ENTRY" or side.departed != NEVER or side.status is None or side.status.state.value in ("RELEASED", "CANCELLED"):
        return None
    for party in trip.declared.get("parties", ()):
        code, role, country = str(party.get("aeo", "")), party.get("role"), str(party.get("country", ""))
        if not code or role not in AEO_ROLES or not country or country == side.authority:
            continue
        agreement = between(reference, "aeo_mra", country, side.authority, day_of(now))
        if agreement is None:
            continue
        for lodged in trip.filings:
            if side.id not in lodged.sides or not lodged.content.get("parties"):
                continue
            stated = {p.get("role"): p.get("aeo", "") for p in lodged.content["parties"]}
            if stated.get(role) != code:
                wrong = next((str(r) for r, c in stated.items() if c == code), "")
                return Finding(code="AEO_WRONG_ROLE" if wrong else "AEO_MISSING", severity="info", text="aeo.missing",
                               field=f"{lodged.kind}.parties.{role}.aeo", present=wrong and f"under {wrong}", expected=code,
                               args={"code": code, "role": str(role), "document": lodged.name, "agreement": agreement.id},
                               evidence=(lodged.evidence,) if lodged.evidence else ())
    return None


def green_lane(case: Case, reference: Reference, now: int) -> Finding | None:
    """LANE-01: eligible goods and pair, and the agency's certificate present: priority. Lost without the certificate."""
    side, trip = case.side, case.trip
    if not trip.enrolled("green_lane") or not side.crossing or side.status is None or side.departed != NEVER:
        return None
    other = next((s.authority for s in trip.sides if s.crossing == side.crossing and s is not side), "")
    agreement = between(reference, "green_lane", side.authority, other, day_of(now))
    if agreement is None or not _eligible(trip, agreement.goods):
        return None
    certified = [f for s in trip.sides for f in s.facts if f.key[0] == "agency" and f.key[-1] == "certificate"]
    if certified:
        return Finding(code="GREEN_LANE", severity="info", text="lane.open", args={"agreement": agreement.id},
                       evidence=tuple(sorted({f.id for f in certified if f.id}))[:4])
    return Finding(code="GREEN_LANE_LOST", severity="warning", text="lane.lost", args={"agreement": agreement.id}, alert="GreenLaneLost")


def _eligible(trip: Trip, goods: tuple[str, ...]) -> bool:
    lines = [str(line.get("hs", "")) for box in trip.boxes.values() for line in box.get("goods", ())]
    return bool(lines) and (not goods or all(any(hs.startswith(prefix) for prefix in goods) for hs in lines))


def _rule(id: str, check: Check, legal: str, en: str, zh: str, ru: str, certainty: str = "high", version: int = 1, *, needs: int) -> Rule:
    return Rule(id=id, family=id.split("-", 1)[0], titles=titles(en, zh, ru), legal=legal, certainty=certainty, check=check,
                afterwards=check is left_without_release, version=version, needs=needs)


BORDER_RULES = (
    _rule("BORD-01", left_without_release, "status-model section 7 [D]", "Left without a known release", "未见放行即离境", "Убыл без известного выпуска",
          needs=grounds.LEFT),
    _rule("BORD-02", no_notice, "[S66]; limits [D]", "No decision for a long time: call", "长时间未作决定：请联系", "Долго нет решения: звоните",
          needs=grounds.WAITING),
    _rule("BORD-03", post_closed, "working hours of the post [D]", "Post not working now", "口岸当前不办理查验", "Пост сейчас не работает", "med", 2,
          needs=grounds.WAITING),
    _rule("BORD-04", crossing_closed, "operator's notice [S77]", "Crossing closed or limited", "口岸关闭或受限", "Переход закрыт или ограничен",
          needs=grounds.CLOSURE),
    _rule("GAUGE-01", next_train, "[D]", "Next train after the gauge break", "换轨后的下一列车", "Следующий поезд после смены колеи",
          needs=grounds.HERE),
    _rule("STALE-01", stale, "[D]", "Authority's feed is stale", "监管方数据源中断", "Источник органа молчит", needs=grounds.STALE),
    _rule("ROUTE-03", territory_blocks, "RU Decree 1374 [S78]", "Stopped on the territory before", "在前方领土被扣", "Остановлен на территории ранее", "med",
          needs=grounds.BLOCKED),
    _rule("AEO-01", aeo_code, "MRA row; benefits [S94]", "AEO code missing under the right role", "AEO编码未填在正确角色下", "Код УЭО не указан у нужной роли",
          needs=grounds.AEO),
    _rule("LANE-01", green_lane, "[S10] [S66]", "Green lane", "绿色通道", "Зелёный коридор", "med", needs=grounds.GREEN),
)
