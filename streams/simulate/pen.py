"""How events are written: by whom, on whose topic, in whose local time, with running message ids."""
from __future__ import annotations

from typing import Any, TypeVar

from streams.reference.model import CodeRow, Reference
from streams.simulate.sent import Draft
from streams.simulate.zones import local
from topics.events.base import DocumentRef, Event
from topics.events.customs import CustomsNotice
from topics.registry import customs_party, inbound_topic

E = TypeVar("E", bound=Event)


class Cast:
    """Who plays: parties of the reference by role and country, with somebody for every part."""

    def __init__(self, reference: Reference) -> None:
        self._roles = {p.id: p.role for p in reference.parties.values()}
        self._countries = {p.id: p.country for p in reference.parties.values()}
        self._by: dict[tuple[str, str], list[str]] = {}
        for party in sorted(reference.parties.values(), key=lambda p: p.id):
            if party.enabled:
                self._by.setdefault((party.role, party.country), []).append(party.id)
                self._by.setdefault((party.role, ""), []).append(party.id)
        self.sites = {place: p.id for p in sorted(reference.parties.values(), key=lambda p: p.id) if p.role == "terminal" for place in p.places}
        for place in reference.places.values():
            if place.operator and self._roles.get(place.operator) == "terminal":
                self.sites[place.id] = place.operator
        self._authorities = {customs_party(code): code for code in reference.authorities}

    def who(self, role: str, country: str = "", turn: int = 0) -> str:
        """A party of this role, of this country if there is one. Raises ValueError when the reference has none at all."""
        found = self._by.get((role, country)) or self._by.get((role, ""))
        if not found:
            raise ValueError(f"the reference has no party of role {role}")
        return found[turn % len(found)]

    def has(self, role: str, country: str = "") -> bool:
        return (role, country) in self._by

    def of(self, role: str) -> list[str]:
        """All parties of a role, by id."""
        return self._by.get((role, ""), [])

    def terminal(self, place: str) -> str:
        """Operator of the terminal at a place; empty when nobody speaks for it."""
        return self.sites.get(place, "")

    def country(self, party: str) -> str:
        return self._authorities.get(party) or self._countries.get(party, "")

    def topic(self, party: str) -> str:
        """The party's own topic."""
        return inbound_topic("customs" if party in self._authorities else self._roles[party], party)

    def role(self, party: str) -> str:
        return "customs" if party in self._authorities else self._roles[party]

    def among(self, countries: set[str], places: set[str]) -> list[str]:
        """Writing parties of these countries and places, and those of no country; terminals elsewhere and risk analysts are left out."""
        at_places = {operator for place, operator in self.sites.items() if place in places}
        found = [p for p, role in self._roles.items() if (p in at_places if role == "terminal" else self._countries[p] in {"", *countries}) and role != "risk"]
        return sorted(found) + sorted(p for p, code in self._authorities.items() if code in countries and p not in self._roles)


NO_TRAIN = -1
"""Journey index of what concerns no train: the network's own messages."""


class Pen:
    """Writes one journey's events down, in any order of time; the world sorts them."""

    def __init__(self, cast: Cast, index: int) -> None:
        self.cast, self.index = cast, index
        self._count = 0
        self._page: list[Draft] = []

    def message_id(self) -> str:
        """The next id; unique in the world together with the journey's number."""
        self._count += 1
        return f"{'N' if self.index == NO_TRAIN else f'J{self.index:05d}'}-{self._count:06d}"

    def say(self, kind: type[E], source: str, at: int, /, *, key: str = "", sent_at: int | None = None, story: str = "", **fields: Any) -> E:
        """Write an event of `source` that happened `at`. It is sent a little later unless `sent_at` says when."""
        event = kind(source=source, id=self.message_id(), event_time=local(at, self.cast.country(source)), **fields)
        lag = (self._count * 7919 % 83 + 2) * 1_000_000
        self._page.append(Draft(at=at + lag if sent_at is None else max(sent_at, at), topic=self.cast.topic(source), key=key, event=event, story=story,
                                train=self.index))
        return event

    def notice(self, authority: str, row: CodeRow, at: int, *, document: DocumentRef | None = None, story: str = "", **fields: Any) -> CustomsNotice:
        """An authority's message with one of the codes of its systems."""
        return self.say(CustomsNotice, customs_party(authority), at, key=document.number if document else str(fields.get("container", "")), story=story,
                        authority=authority, system=row.system, code=row.code, document=document, **fields)

    def page(self) -> list[Draft]:
        """What has been written since the last page."""
        page, self._page = self._page, []
        return page
