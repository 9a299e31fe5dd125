"""When the goods were at a side, when they left it, when they are expected."""
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from streams.assess.route import newest
from streams.rules.case import NOWHERE, Passage, SideCase
from topics.facts import NEVER, WHOLE, Fact, Rank

HEADS = frozenset({"visit", "eta", "run", "seen", "handed_over", "presented", "departed"})


def presence(side: SideCase, scopes: Collection[str]) -> None:
    """Sets how each of these scopes (boxes, house items) passes the side in its current visit, and from that how all of them do: the side
    is left only when every box has left and none was seen there later."""
    said: dict[str, list[Fact]] = {}
    for fact in side.facts:
        if fact.key[0] in HEADS:
            said.setdefault(fact.scope, []).append(fact)
    if not said:
        side.passages = dict.fromkeys(sorted({*scopes}), NOWHERE)
        side.seen = side.presented = side.left = side.departed = NEVER
        side.eta, side.run = None, ""
        return
    whole = said.get(WHOLE, [])
    plain = _passage(whole)
    side.passages = {}
    of_box: dict[str, Passage] = {}
    for scope in sorted({*scopes, *_more(said, scopes)}):
        if scope != WHOLE and "/" not in scope:
            own = said.get(scope, ())
            side.passages[scope] = plain if not own else _passage([*whole, *own]) if whole else _passage(own)
            continue
        box = scope.split("/", 1)[0]
        if scope in said and scope != WHOLE:
            side.passages[scope] = _passage([*whole, *said.get(box, ()), *said[scope]])
            continue
        if box not in of_box:                            # an item passes as its box does, unless something is said of it in particular
            of_box[box] = _passage([*whole, *said[box]]) if box in said and box != WHOLE else plain
        side.passages[scope] = of_box[box]
    _roll_up(side, [f for found in said.values() for f in found if f.key[0] == "eta"])


def _more(said: Mapping[str, list[Fact]], scopes: Collection[str]) -> set[str]:
    """Scopes of which something is said and that are none of the shipment's known ones, nor hold one of them."""
    known = {s.split("/", 1)[0] for s in scopes} | set(scopes)
    return {s for s in said if s != WHOLE and s not in known}


def _roll_up(side: SideCase, etas: list[Fact]) -> None:
    side.eta = eta_of(etas)
    every = [p for s, p in side.passages.items() if s != WHOLE] or list(side.passages.values())
    if len(every) == 1:
        (only,) = every
        side.seen, side.presented, side.left, side.departed, side.run = only.seen, only.presented, only.departed, only.departed, only.run
        return
    seen = [p.seen for p in every if p.seen != NEVER]
    side.seen, side.presented = min(seen, default=NEVER), max((p.presented for p in every), default=NEVER)
    side.left = max((p.departed for p in every), default=NEVER)
    side.departed = side.left if all(p.departed != NEVER for p in every) else NEVER
    ahead = [p for p in every if p.departed == NEVER] or every
    runs = [p for p in ahead if p.run]
    side.run = max(runs, key=lambda p: (p.seen, p.run)).run if runs else ""


def _passage(said: Sequence[Fact]) -> Passage:
    """What these facts, all about one scope, add up to. As in the ladder a sensor or forwarder undoes no departure, a forwarder reports none."""
    if not said:
        return NOWHERE
    by_head: dict[str, list[Fact]] = {}
    for fact in said:
        by_head.setdefault(fact.key[0], []).append(fact)
    if len(by_head) == 1 and "eta" in by_head:
        return Passage(eta=eta_of(by_head["eta"]))
    visit, run = newest(by_head.get("visit", ())), newest(by_head.get("run", ()))
    number = str(visit.value) if visit else "1"
    seen = presented = left = back = NEVER
    for head in ("seen", "handed_over", "presented"):
        for f in by_head.get(head, ()):
            if f.key[1] == number:
                seen = f.at if seen == NEVER else min(seen, f.at)
                back = max(back, f.at) if f.rank >= Rank.TERMINAL else back
                presented = max(presented, f.at) if head == "presented" else presented
    for f in by_head.get("departed", ()):
        if f.key[1] == number and f.rank >= Rank.SENSOR:
            left = max(left, f.at)
    return Passage(
        seen=seen, presented=presented, departed=left if left >= back else NEVER, eta=eta_of(by_head.get("eta", [])),
        run=str(run.value) if run is not None else "")


def eta_of(etas: list[Fact]) -> tuple[int, int, int] | None:
    """(P10, P50, P90) of the ETA that counts."""
    eta = newest(etas)
    if eta is None or not isinstance(eta.value, list | tuple) or len(eta.value) != 3:
        return None
    p10, p50, p90 = (int(v) for v in eta.value if isinstance(v, int))
    return p10, p50, p90
