"""Which agreement holds between two authorities on a day."""
from __future__ import annotations

from collections.abc import Iterable, Iterator

from streams.reference.model import Agreement, Reference
from streams.rules.case import SideCase, Trip


def in_force(agreement: Agreement, today: str) -> bool:
    """Signed and in force on this day, not suspended, and switched on."""
    return (
        agreement.enabled and not agreement.suspended and bool(agreement.in_force) and agreement.in_force <= today
        and (not agreement.valid_from or agreement.valid_from <= today) and (not agreement.valid_to or today < agreement.valid_to)
    )


def binds(agreement: Agreement, one: Iterable[str], other: Iterable[str]) -> bool:
    """Does it hold between these two (each given by code and union)? A directional one only from its first party to its second."""
    ones, others, parties = set(one), set(other), agreement.parties
    if len(parties) < 2:
        return False
    if agreement.directional:
        return parties[0] in ones and parties[1] in others
    return any(a in ones and b in others for a in parties for b in parties if a != b)


def names_of(reference: Reference, authority: str) -> tuple[str, ...]:
    """An authority's code and its union."""
    row = reference.authorities.get(authority)
    return (authority, row.union) if row and row.union else (authority,)


_known: list[tuple[Reference, dict[tuple[str, str, str, str], Agreement | None]]] = []
ANSWERS_MAX = 10_000


def between(reference: Reference, kind: str, one: str, other: str, today: str) -> Agreement | None:
    """The agreement of a kind in force between two authorities, the first by id."""
    if not _known or _known[0][0] is not reference or len(_known[0][1]) > ANSWERS_MAX:
        _known[:] = [(reference, {})]                   # what the reference last asked for says, each question once
    answers, key = _known[0][1], (kind, one, other, today)
    if key not in answers:
        answers[key] = _between(reference, kind, one, other, today)
    return answers[key]


def _between(reference: Reference, kind: str, one: str, other: str, today: str) -> Agreement | None:
    for _, a in sorted(reference.agreements.items()):
        if a.kind == kind and in_force(a, today) and binds(a, names_of(reference, one), names_of(reference, other)):
            return a
    return None


def of_kind(reference: Reference, kind: str, today: str) -> Iterator[Agreement]:
    """All agreements of a kind in force, by id."""
    return (a for _, a in sorted(reference.agreements.items()) if a.kind == kind and in_force(a, today))


def relying(trip: Trip, reference: Reference, agreement: Agreement, after: SideCase) -> list[SideCase]:
    """Later sides whose authority relies on the same recognition: a party of the agreement, or one that it extends to."""
    names = {*agreement.parties, *agreement.extends_to}
    return [s for s in trip.sides if s.order > after.order and s.required and names & set(names_of(reference, s.authority))]
