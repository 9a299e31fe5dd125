"""Milestones of a run: which side it reached, was handed over at and left. None is skipped when positions are sparse, and no time is made up.

Whoever is seen further on has passed what lies between: the first evidence behind a side bounds when that was, and the milestone says so.
Sides before the first place where the run was heard of have no milestones: nothing is known of them.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from streams.kept import at_of, event_id, order
from streams.reference.model import Reference
from streams.trains.inputs import Fix, RunInputs
from streams.trains.legs import EVER, STEP, Leg, Plan, Post
from streams.trains.line import Refused, Spot, spots_of
from topics.events.internal import Milestone
from topics.events.rail import ConsistReported, HandOverSheet, TrainFormed, WagonSetOut
from topics.facts import Rank

THERE = frozenset({"at", "arrived", "departed", "passed"})
BACK = frozenset({"at", "arrived", "passed"})
LEAVING = frozenset({"departed", "passed"})
RETURN_KM_MIN = 20.0
"""A train that comes back was at least this far behind the side, or at a side further on [D]: clocks and receivers differ."""


class Stand(NamedTuple):
    """Which positions tell of one side; None when none does."""

    seen: Fix | None
    behind: Fix | None


class Way(NamedTuple):
    """What is known of a run's journey."""

    milestones: tuple[Milestone, ...]
    """Of every side of the plan, in order; sides of which nothing is known and that lie behind are left out."""
    early: tuple[str, ...]
    off_route: tuple[str, ...]
    rerouted_at: int
    last: Spot | None
    """The last believed position on the present line."""
    refused: tuple[Refused, ...]
    posts: tuple[Post, ...] = ()
    """The sides of the last leg whose milestones come from its own positions."""
    stands: tuple[Stand, ...] = ()
    """The same sides: what has shown the train there and behind."""
    spots: tuple[Spot, ...] = ()
    """Believed positions on the last leg, in order of time."""


def sheets_of(inputs: RunInputs) -> dict[str, HandOverSheet]:
    """The sheet that counts at each crossing."""
    best: dict[str, HandOverSheet] = {}
    for sheet in sorted(inputs.sheets.values(), key=order):
        best[sheet.crossing] = sheet
    return best


def way_of(inputs: RunInputs, plan: Plan, reference: Reference) -> Way:
    """Milestones of every leg, from the positions of its time."""
    fixes, sheets = sorted([*inputs.fixes(), *_places_of_events(inputs)], key=lambda f: f.key), sheets_of(inputs)
    done: dict[str, Milestone] = {}
    early: list[str] = list(plan.early)
    off: dict[str, int] = dict.fromkeys(plan.dropped, 0)
    refused: list[Refused] = []
    last: Spot | None = None
    spots, posts, stands = list[Spot](), list[Post](), list[Stand]()
    for n, leg in enumerate(plan.legs):
        mine = [f for f in fixes if (leg.since <= f.at or n == 0) and f.at < leg.until]
        spots, bad = _spots(leg, mine, reference, plan.not_before if n == 0 else leg.since)
        refused += bad
        posts = [p for p in leg.posts if p.id not in done or (done[p.id].seen is None and done[p.id].departed is None)]
        if n == 0:
            posts, behind = _known(posts, plan, spots)
            early += [p.id for p in behind] if _under_way(plan, spots) else []
        found, stands = _stones(posts, spots, {c: s for c, s in sheets.items() if leg.since <= at_of(s) < leg.until or n == 0})
        on = n + 1 == len(plan.legs)
        later = {p.id for p in plan.legs[n + 1].posts} if not on else set()
        for post, stone in zip(posts, found, strict=True):
            if on or stone.seen is not None or stone.departed is not None or stone.handed_over is not None:
                done[post.id] = stone
                off.pop(post.id, None)
            elif post.id not in later:
                off[post.id] = leg.until
        last = spots[-1] if spots else (last if n == 0 else None)
    off = {side: at for side, at in off.items() if side not in done}
    at = max((leg.since for leg in plan.legs if leg.since > 0), default=plan.heard_at if plan.heard_at != EVER else 0)
    return Way(tuple(done.values()), tuple(dict.fromkeys(s for s in early if s not in done)), tuple(sorted(off)), at if off else 0, last, tuple(refused),
               tuple(posts), tuple(stands), tuple(spots))


def _places_of_events(inputs: RunInputs) -> Iterable[Fix]:
    """Set-outs, consists and formations say where the train stands too; not a later train of boxes that it had left behind."""
    events: list[WagonSetOut | ConsistReported | TrainFormed] = [
        *inputs.set_outs.values(), *inputs.consists.values(), *inputs.formed.values(),
        *(child for child in inputs.spawned.values() if child.reason != "split")]
    for event in events:
        if event.place:
            yield Fix(at_of(event), event_id(event), event.source, event.place, "at")


def _spots(leg: Leg, fixes: Sequence[Fix], reference: Reference, since: int) -> tuple[list[Spot], list[Refused]]:
    if leg.line is not None:
        return spots_of(leg.line, fixes, reference, since)
    found = []
    for fix in fixes:
        post = next((p for p in leg.posts if fix.station in p.places), None)
        if fix.station and post is not None and fix.at >= since:
            found.append(Spot(fix, post.spec.order * STEP, post.spec.order * STEP, fix.station, True, 0.0, 0.0))
    return found, []


def _known(posts: list[Post], plan: Plan, spots: list[Spot]) -> tuple[list[Post], list[Post]]:
    """(sides from the first known place on, sides before it). The plan is the first place when it was told before anything was seen."""
    first = spots[0] if spots else None
    if not _under_way(plan, spots):
        line = plan.legs[0].line
        start_km = line.km_of.get(plan.start, -1e9) if line is not None and plan.heard_at != EVER else -1e9
    elif first is not None:
        start_km = first.trunk_km
    else:
        start_km = -1e9
    return [p for p in posts if p.leave_km >= start_km], [p for p in posts if p.leave_km < start_km]


def _under_way(plan: Plan, spots: list[Spot]) -> bool:
    """Was the train seen before anybody told its plan?"""
    return bool(spots) and spots[0].fix.at < plan.heard_at


def _stones(posts: Sequence[Post], spots: Sequence[Spot], sheets: dict[str, HandOverSheet]) -> tuple[list[Milestone], list[Stand]]:
    found: list[Milestone] = []
    stands: list[Stand] = []
    for i, post in enumerate(posts):
        later = frozenset[str]().union(*(p.places for p in posts[i + 1:]))
        there = [s for s in spots if s.place in post.places and s.fix.what in THERE]
        beyond = [s for s in spots if s.place not in post.places and (s.trunk_km > post.leave_km or s.place in later)]
        stone, stand = _stone(post, there, beyond, sheets.get(post.spec.crossing), _left_exit(posts, i, spots))
        found.append(stone)
        stands.append(stand)
    return found, stands


def _left_exit(posts: Sequence[Post], i: int, spots: Sequence[Spot]) -> int:
    """When the railway says that the train left the exit side of this entry; -1 when it does not."""
    if i == 0 or posts[i].spec.kind != "ENTRY" or posts[i - 1].spec.crossing != posts[i].spec.crossing:
        return -1
    return max((s.fix.at for s in spots if s.reported and s.place in posts[i - 1].places and s.fix.what in LEAVING), default=-1)


def _stone(post: Post, there: list[Spot], beyond: list[Spot], sheet: HandOverSheet | None, left_exit: int) -> tuple[Milestone, Stand]:
    returns = _returns(post, there, beyond)
    back = returns[-1].fix.at if returns else -1
    behind = next((s for s in beyond if s.fix.at >= back and (not returns or s.fix.at > back)), None)
    reported = [s for s in there if s.reported]
    seen = min(reported or there, key=lambda s: s.fix.key, default=None)
    leaving = [s for s in reported if s.fix.what in LEAVING and s.fix.at > back and s.place in post.last]
    entry = post.spec.kind == "ENTRY"
    handed = at_of(sheet) if sheet is not None and entry and (sheet.wagons or sheet.refused) and at_of(sheet) >= left_exit else None
    stand = Stand(seen.fix if seen is not None else None, behind.fix if behind is not None else None)
    bound: list[str] = []
    seen_at, seen_fix, seen_rank = (seen.fix.at, seen.fix, _rank(seen)) if seen is not None else (None, None, 0)
    departed, by, rank = None, None, 0
    if leaving:
        departed, by, rank = leaving[-1].fix.at, leaving[-1].fix, Rank.RAILWAY
    else:
        departed, by, rank = _bound(behind, sheet if not entry and back == -1 else None)
        if departed is not None:
            bound.append("departed")
    if seen_at is None and handed is None and departed is not None:
        seen_at, seen_fix, seen_rank = departed, by, rank
        bound.append("seen")
    stone = Milestone(
        side=post.id, seen=seen_at, handed_over=handed, departed=departed, rank=seen_rank or Rank.RAILWAY, evidence=seen_fix.id if seen_fix else "",
        source=seen_fix.source if seen_fix else "", handed_evidence=event_id(sheet) if handed is not None and sheet is not None else "",
        handed_source=sheet.source if handed is not None and sheet is not None else "", departed_rank=rank or Rank.RAILWAY,
        departed_evidence=by.id if by else "", departed_source=by.source if by else "", bound=tuple(bound),
        returned=tuple(s.fix.at for s in returns), returned_evidence=returns[-1].fix.id if returns else "",
        returned_source=returns[-1].fix.source if returns else "")
    return stone, stand


def _bound(behind: Spot | None, sheet: HandOverSheet | None) -> tuple[int | None, Fix | None, int]:
    """The first evidence further on: a position behind the side, or the sheet by which the next railway took the train."""
    if sheet is not None and (behind is None or at_of(sheet) < behind.fix.at):
        return at_of(sheet), Fix(at_of(sheet), event_id(sheet), sheet.source), Rank.RAILWAY
    return (behind.fix.at, behind.fix, _rank(behind)) if behind is not None else (None, None, 0)


def _rank(spot: Spot) -> int:
    return Rank.RAILWAY if spot.reported else Rank.SENSOR


def _returns(post: Post, there: list[Spot], beyond: list[Spot]) -> list[Spot]:
    """Railway reports of the train at this side after it was well behind it."""
    far = [s for s in beyond if s.trunk_km > post.leave_km + RETURN_KM_MIN or s.reported]
    found: list[Spot] = []
    away: int | None = None
    for spot in sorted((*(s for s in there if s.reported and s.fix.what in BACK), *far), key=lambda s: s.fix.key):
        if spot in far:
            away = spot.fix.at if away is None else away
        elif away is not None:
            found.append(spot)
            away = None
    return found
