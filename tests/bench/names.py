"""Another train with other boxes under other papers, from the bytes of one that was simulated: every number in them is exchanged for one of the same shape
and length, check digits right, unique among all copies. What is hashed from numbers (shipments, runs) follows them.
"""
from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from stdnum import iso6346

from streams.simulate import Sent
from streams.simulate.numbers import OWNERS, Numbers
from topics.events.base import DocumentRef, TrainRef
from topics.identifiers import ISO6346, run_id, shipment_id

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SERIAL = {"smgs": 7, "pi": 9, "eaeu": 7, "chinese": 9, "local": 8, "official": 6, "reference": 7}
"""Kind of number -> digits at its end that count."""
JOURNEY = re.compile(rb"J(\d{5})(?=-\d{6})")
"""Begins the id of a message: the number of its journey."""
WORD = re.compile(rb"[A-Z0-9]{6,}")
"""Every number but that of a train has such a part."""


class Recorder(Numbers):
    """Numbers as ever, remembered by kind."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.given: dict[str, list[str]] = {}

    def _noted(self, kind: str, value: str) -> str:
        self.given.setdefault(kind, []).append(value)
        return value

    def container(self) -> str:
        return self._noted("container", super().container())

    def smgs(self) -> str:
        return self._noted("smgs", super().smgs())

    def mrn(self, kind: str, country: str, at: int) -> str:
        return self._noted("mrn", super().mrn(kind, country, at))

    def pi(self, country: str, at: int) -> str:
        return self._noted("pi", super().pi(country, at))

    def eaeu(self, office: str, at: int) -> str:
        return self._noted("eaeu", super().eaeu(office, at))

    def chinese(self, office: str, at: int) -> str:
        return self._noted("chinese", super().chinese(office, at))

    def local(self, party: str) -> str:
        return self._noted("local", super().local(party))

    def official(self, authority: str, kind: str, at: int) -> str:
        return self._noted("official", super().official(authority, kind, at))

    def reference(self, authority: str) -> str:
        return self._noted("reference", super().reference(authority))


def refs(value: object) -> Iterator[DocumentRef | TrainRef]:
    """Every document and train that a message names."""
    if isinstance(value, DocumentRef | TrainRef):
        yield value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from refs(getattr(value, name))
    elif isinstance(value, tuple | list):
        for one in value:
            yield from refs(one)
    elif isinstance(value, dict):
        yield from refs(list(value.values()))


class Names:
    """What must be exchanged in a simulated world, and what for in each copy."""

    def __init__(self, numbers: Recorder, messages: Iterable[Sent], journeys: int) -> None:
        self.given = {kind: sorted(set(values)) for kind, values in numbers.given.items()}
        found = {ref for message in messages if message.event is not None for ref in refs(message.event)}
        self.trains = sorted((r for r in found if isinstance(r, TrainRef)), key=lambda r: (r.railway, r.number, r.date, r.origin))
        self.names = sorted({r.number for r in self.trains})
        smgs = set(self.given["smgs"])
        self.notes = sorted((r for r in found if isinstance(r, DocumentRef) and r.number in smgs and r.issuer),
                            key=lambda r: (r.kind, r.issuer, r.station, r.date, r.number))
        self.journeys = journeys
        first = self.of_copy(0)
        self._order = {old: n for n, old in enumerate(first)}
        plain, framed = [old for old in first if old not in set(self.names)], self.names
        self._plain = tuple((re.compile(re.escape(old.encode())), max(WORD.findall(old.encode()), key=len), old) for old in plain)
        # a train's number is short: only where it stands alone, in JSON, in a key or in msgpack
        self._framed = tuple((re.compile(rb'(?<=[/"' + bytes([0xA0 + len(old)]) + rb"])" + re.escape(old.encode()) + rb'(?=[/"\xa0-\xbf])'), old)
                             for old in framed)

    def of_copy(self, copy: int) -> dict[str, str]:
        """Old -> new, always in the same order. The copies of one world share no number."""
        new: dict[str, str] = {}
        for kind, values in self.given.items():
            for n, old in enumerate(values):
                new[old] = self._number(kind, old, copy * len(values) + n, copy)
        for n, old in enumerate(self.names):
            new[old] = old[0] + _base36(copy * len(self.names) + n, len(old) - 1)
        for note in self.notes:
            new[shipment_id(note)] = shipment_id(msgspec.structs.replace(note, number=new[note.number]))
        for train in self.trains:
            for origin in {train.origin, ""}:
                new[run_id(train.railway, train.number, train.date, origin)] = run_id(train.railway, new[train.number], train.date, origin)
        return new

    def _number(self, kind: str, old: str, serial: int, copy: int) -> str:
        if kind == "container":
            body = f"{_letters(copy * len(OWNERS) + OWNERS.index(old[:4]))}U{old[4:10]}"
            return body + str(iso6346.calc_check_digit(body))
        if kind == "mrn":
            body = f"{old[:10]}{serial:06d}{old[16]}"
            return body + str(sum(ISO6346[char] << i for i, char in enumerate(body)) % 11 % 10)
        digits = SERIAL[kind]
        assert len(str(serial)) <= digits, f"no more numbers of kind {kind}: fewer copies, please"
        return f"{old[:-digits]}{serial:0{digits}d}"

    def template(self, data: bytes) -> Template:
        """The bytes with their numbers taken out."""
        spots: list[tuple[int, int, int]] = []
        words = b" ".join(set(WORD.findall(data)))          # each number stands there many times
        for pattern, word, old in self._plain:
            if word in words:
                spots += [(m.start(), m.end(), self._order[old]) for m in pattern.finditer(data)]
        for pattern, old in self._framed:
            if old.encode() in data:
                spots += [(m.start(), m.end(), self._order[old]) for m in pattern.finditer(data)]
        spots += [(m.start(1), m.end(1), -1 - int(m[1])) for m in JOURNEY.finditer(data)]
        parts: list[bytes | int] = []
        at = 0
        for start, end, which in sorted(spots, key=lambda s: (s[0], -s[1])):
            if start >= at:
                parts += [data[at:start], which]
                at = end
        parts.append(data[at:])
        return Template(tuple(parts))


class Template(msgspec.Struct, frozen=True):
    """Bytes with holes: index of a number, or -1 - journey."""

    parts: tuple[Any, ...]

    def filled(self, numbers: Sequence[bytes], journey: int) -> bytes:
        """`journey`: what is added to a journey's number."""
        return b"".join([p if isinstance(p, bytes) else numbers[p] if p >= 0 else b"%05d" % (journey - 1 - p) for p in self.parts])


def _letters(n: int) -> str:
    """Three letters."""
    return LETTERS[n // 676 % 26] + LETTERS[n // 26 % 26] + LETTERS[n % 26]


def _base36(n: int, digits: int) -> str:
    out = ""
    for _ in range(digits):
        n, rest = divmod(n, 36)
        out = ("0123456789" + LETTERS)[rest] + out
    assert n == 0, "no more train numbers: fewer copies, please"
    return out
