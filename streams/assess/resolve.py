"""Which sides a fact is about: its own, every side, or what `@AUTHORITY…` resolves to on this route (design section 3, Documents).

A notice names its side by office, else by the document it cites, else by being that authority's only side on the route; otherwise it
is kept without effect (SIDE_AMBIGUOUS): one release must not clear two sides. What stops goods has effect all the same, at every side
of its authority: a hold whose place is not known is somewhere.
"""
from __future__ import annotations

from streams.assess.rows import book_of
from streams.rules.case import Content, Lodged, SideCase, Trip, boxes_in
from streams.status.view import last_instant
from topics.facts import EVERYWHERE, WHOLE, Fact

ABOUT_US = frozenset({"shipment", "filing", "bound", "doc_seal", "mass", "position"})
"""Heads of facts that describe the shipment; the ladder has no use for them."""

STOPPING = frozenset({"demand", "agency"})
STAGES = frozenset({"opened", "started", "discrepancy"})
"""Words by which an authority or agency stops goods. One that names no side of several is about each of them."""
BINDING = frozenset({"released", "ended"})
"""Words about a document that set goods free: of several sides that it would free, the office says which."""
ANYBODYS = "release"
"""Kind of a decision that no filing asks for: its kind does not tell whose it is."""


class Ambiguous:
    """A fact that names no side of this route."""

    __slots__ = ("authority", "fact", "office")

    def __init__(self, fact: Fact, authority: str, office: str) -> None:
        self.fact, self.authority, self.office = fact, authority, office


def spread(trip: Trip) -> list[Ambiguous]:
    """Put every fact on the sides that it is about. Gives those that could not be put anywhere."""
    read_documents(trip)
    lost: list[Ambiguous] = []
    served = {(f.kind, f.number): f.sides for f in trip.filings}
    by_id = {s.id: s for s in trip.sides}
    known: dict[tuple[str, tuple[str, ...] | None], list[SideCase]] = {}
    trip.shared = shared = []
    wide, told = _wide(trip, served, by_id)
    for fact in trip.facts:
        head = fact.key[0]
        if head in STOPPING and wide and fact.side != EVERYWHERE and (all_of := _everywhere(fact, wide, told, by_id)):
            if fact.key[-1] in STAGES:
                lost.append(Ambiguous(fact, all_of, _part(fact.side, "office")))
            for side in _all_sides(trip, all_of):
                side.placed.append(fact)
            continue
        if fact.side == EVERYWHERE:
            trip.any.setdefault(head, []).append(fact)
            if head not in ABOUT_US:
                shared.append(fact)
        elif fact.side[:1] == "@":
            asked = fact.side, fact.key if head == "doc" else None          # all but documents and demands goes where its side says
            found = known.get(asked) if head not in STOPPING else None
            if found is None:
                found = known[asked] = resolved(trip, fact, served, by_id)
            if (not found and head not in ABOUT_US) or (head == "doc" and withheld(trip, fact, found)):
                lost.append(Ambiguous(fact, _authority(fact.side), _part(fact.side, "office")))
            for side in found:
                side.placed.append(fact)
        elif (side_ := by_id.get(fact.side)) is not None:
            side_.placed.append(fact)
        else:
            trip.any.setdefault("off", []).append(fact)     # a side that is not on this route: kept, without effect
    for side in trip.sides:
        side.facts = side.placed + shared
    return lost


# --- what stops goods without saying where --------------------------------------------------------------------------

Matter = tuple[str, ...]
"""Authority, head, kind and reference of a demand; without reference also its subject."""


def matter(fact: Fact, authority: str) -> Matter:
    """The demand that a word is about: a reference is the authority's own number of it."""
    *about, reference, _ = fact.key
    return (authority, *about[:2], reference) if reference else (authority, *about, "")


def _wide(trip: Trip, served: dict[tuple[str, str], tuple[str, ...]], by_id: dict[str, SideCase]) -> tuple[set[Matter], set[Matter]]:
    """Demands that are about every side of their authority because nobody says about which, and those that are about one side."""
    wide: set[Matter] = set()
    told: set[Matter] = set()
    for fact in trip.facts:
        if fact.key[0] not in STOPPING or fact.key[-1] not in STAGES or fact.side == EVERYWHERE:
            continue
        if fact.side[:1] != "@":
            if fact.side in by_id:
                told.add(matter(fact, by_id[fact.side].authority))
            continue
        (wide if _nowhere(trip, fact, served, by_id) else told).add(matter(fact, _authority(fact.side)))
    return wide, told


def _nowhere(trip: Trip, fact: Fact, served: dict[tuple[str, str], tuple[str, ...]], by_id: dict[str, SideCase]) -> bool:
    """Does it name no side that the network knows, although its authority has some?"""
    found = resolved(trip, fact, served, by_id)
    if not found:
        return any(s.authority == _authority(fact.side) for s in trip.sides)
    return bool(_part(fact.side, "office")) and not found[0].mapped


def _everywhere(fact: Fact, wide: set[Matter], told: set[Matter], by_id: dict[str, SideCase]) -> str:
    """The authority at each of whose sides this word counts; "" when it is about what its own side says.

    A stage, because it says nowhere where. What closes or answers one, because the reference says which; without reference only when it
    says no side either and can mean no demand of one side."""
    named = by_id.get(fact.side)
    authority = named.authority if named is not None else _authority(fact.side)
    about = matter(fact, authority)
    if about not in wide:
        return ""
    if fact.key[-1] in STAGES:
        return authority if named is None else ""
    return authority if fact.key[-2] or (named is None and about not in told) else ""


def _all_sides(trip: Trip, authority: str) -> list[SideCase]:
    """The sides at which an authority decides; those of inner borders only where it has no other."""
    mine = [s for s in trip.sides if s.authority == authority]
    return [s for s in mine if s.required] or mine


def _left_post(trip: Trip, fact: Fact, authority: str) -> bool:
    """Had these goods left a post of this authority when it was said?"""
    posts = {s.id for s in trip.sides if s.authority == authority and s.required and s.kind != "TERRITORY"}
    box = fact.scope.split("/", 1)[0]
    return any(f.key[0] == "departed" and f.side in posts and f.at <= last_instant(fact) and (WHOLE in (f.scope, box) or f.scope == box)
               for f in trip.facts)


def withheld(trip: Trip, fact: Fact, found: list[SideCase]) -> bool:
    """A word that would free one of several sides and does not say which: at none of its own authority's."""
    authority = _authority(fact.side)
    return fact.key[3] in BINDING and not any(s.authority == authority for s in found) and any(
        s.authority == authority and s.required and s.kind != "TERRITORY" for s in trip.sides)


def _authority(side: str) -> str:
    return side[1:].split("/", 1)[0]


def _part(side: str, what: str) -> str:
    """`@KZ/office/57505` -> 57505; `@KZ/doc/td/N/1` -> td/N/1."""
    _, _, rest = side.partition("/")
    name, _, value = rest.partition("/")
    return value if name == what else ""


def resolved(
    trip: Trip, fact: Fact, served: dict[tuple[str, str], tuple[str, ...]], by_id: dict[str, SideCase]
) -> list[SideCase]:
    """The sides that a fact of `@AUTHORITY…` is about; none when it cannot be told."""
    authority, office = _authority(fact.side), _part(fact.side, "office")
    if office:
        own = at_office(trip, authority, office)
        return [own, *_others(fact, own, served, by_id)] if own is not None else []
    document = _part(fact.side, "doc")
    if document:
        kind, _, number = document.partition("/")
        cited = [by_id[s] for s in served.get((kind, number), ()) if s in by_id]
        own_sides = [s for s in cited if s.authority == authority]
        if own_sides and fact.key[0] == "doc" and _frees_several(trip, fact, own_sides):
            return [s for s in cited if s.authority != authority]
        if own_sides:
            return [s for s in cited if s.authority == authority or fact.key[0] == "doc"]
        only = only_side(trip, authority) or handling(trip, authority, kind)
        return [only, *(s for s in cited if fact.key[0] == "doc")] if only else [s for s in cited if fact.key[0] == "doc"]
    kind = fact.side.partition("/")[2].upper()
    only = only_side(trip, authority, kind if kind in ("EXIT", "ENTRY", "OFFICE") else "")
    if only is None:
        return []
    land = next((s for s in trip.sides if s.authority == authority and s.kind == "TERRITORY"), None) if fact.key[0] in STOPPING and not kind else None
    if land is None or land is only or (fact.key[-1] in STAGES and not _left_post(trip, fact, authority)):
        return [only]
    return [only, land]                                 # it acts anywhere on its territory: goods on the way are stopped too


def _frees_several(trip: Trip, fact: Fact, sides: list[SideCase]) -> bool:
    """Would this word, which names no office, count towards the release of more than one of these sides? What goes against goods
    (a revocation, a rejection) counts at each."""
    if len(sides) < 2 or fact.key[3] not in BINDING:
        return False
    book, member = book_of(trip.reference), f"{fact.key[3]}:{fact.key[1]}"
    return sum(member in book.members(s, trip.now) for s in sides) > 1


def _others(fact: Fact, own: SideCase, served: dict[tuple[str, str], tuple[str, ...]], by_id: dict[str, SideCase]) -> list[SideCase]:
    """A document that one office registers or releases counts at every other authority's side that its offices name."""
    if fact.key[0] != "doc":
        return []
    sides = served.get((fact.key[1], fact.key[2]), ())
    return [s for name in sides if (s := by_id.get(name)) is not None and s.authority != own.authority]


def at_office(trip: Trip, authority: str, office: str) -> SideCase | None:
    """The side of this authority with this office code, crossing id or place id; None when the route has none."""
    return next((s for s in trip.sides if s.authority == authority and office in s.names), None)


def only_side(trip: Trip, authority: str, kind: str = "") -> SideCase | None:
    """The authority's only side (of a kind) with a customs border or office; else its territory; None when there are several, or none."""
    mine = [s for s in trip.sides if s.authority == authority and (not kind or kind == s.kind)]
    if len(mine) == 1:
        return mine[0]
    posts = [s for s in mine if s.kind != "TERRITORY" and s.required]
    posts = [s for s in posts if s.mapped] or posts     # an office that the network does not know makes none of the others ambiguous
    if posts:
        return posts[0] if len(posts) == 1 else None
    territory = [s for s in mine if s.kind == "TERRITORY"]
    if territory:
        return territory[0]
    return mine[0] if len(mine) == 1 else None


def handling(trip: Trip, authority: str, kind: str) -> SideCase | None:
    """The authority's only side whose rows know this kind of document at all: an ENS is for the entry, not for an office of destination."""
    if kind == ANYBODYS:
        return None
    book = book_of(trip.reference)
    found = [s for s in trip.sides
             if s.authority == authority and s.required and s.kind != "TERRITORY" and s.mapped and kind in book.handled(s, trip.now)]
    return found[0] if len(found) == 1 else None


# --- what the documents say ----------------------------------------------------------------------------------------


def read_documents(trip: Trip) -> None:
    """Filings with the sides that their offices name, and the boxes of the shipment."""
    for fact in trip.facts:
        if fact.key[0] == "filing" and isinstance(fact.value, dict):
            trip.filings.append(lodged_of(trip, fact))
    trip.filings.sort(key=filing_order)
    for box in trip.declared.get("containers", ()):
        trip.boxes[str(box.get("container", ""))] = box
    for fact in trip.facts:
        if fact.key[0] == "bound" and fact.scope != WHOLE and fact.scope not in trip.boxes:
            trip.boxes[fact.scope] = {}


def filing_order(lodged: Lodged) -> tuple[int, str, str, str]:
    """Order in which filings count."""
    return lodged.at, lodged.kind, lodged.number, lodged.source


def offices_named(content: Content) -> list[tuple[str, str]]:
    """(authority, code) of the offices that a filing names."""
    named = [(str(content.get("authority", "")), str(content["office"]))] if content.get("office") else []
    each = [str(o).partition(":") for o in content.get("offices", ())]
    return named + [(authority, code) for authority, _, code in each if code]


def lodged_of(trip: Trip, fact: Fact) -> Lodged:
    """A filing with the sides that its offices name."""
    content: Content = fact.value if isinstance(fact.value, dict) else {}
    _, kind, number = fact.key[:3]
    authority = str(content.get("authority", "")) or _authority(fact.side) if fact.side[:1] == "@" else str(content.get("authority", ""))
    named = [f"{authority}:{content['office']}"] if content.get("office") else []
    named += [str(o) for o in content.get("offices", ())]
    sides = []
    for office in named:
        of, _, code = office.partition(":")
        if code:
            side = at_office(trip, of, code)
            sides += [side.id] if side is not None else []
    if not sides and authority:
        only = only_side(trip, authority) or handling(trip, authority, kind)
        sides = [only.id] if only else []
    return Lodged(kind=kind, number=number, authority=authority, content=content, source=fact.source, at=fact.at, evidence=fact.id,
                  scope=fact.scope, sides=tuple(dict.fromkeys(sides)), by_box=boxes_in(content))
