"""Keyed state of one partition as bytes, with what must be known of each key without decoding it.

A state record is one byte of header length, the header (msgpack array, see Header), then the fold's own bytes.

A key may have a second record, its *part* (`PART` + key): what has changed since the whole state was written, where the fold can say that in
few bytes. A part stands for nothing but itself: it replaces the part before it, carries the checksum of the whole that it belongs to, and
counts only while it is newer than that. A whole takes the part with it. So a crash between any two of these writes leaves either the whole
and the part that belongs to it, or a whole that is newer than the part beside it; a part whose whole is missing is never guessed at.
"""
from __future__ import annotations

import heapq
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping

import msgspec

RESERVED = "\x00"
"""First character of the runner's own keys: `\\x00epoch` and `\\x00broadcast/<slot>`."""
INPUT_KEY = f"{RESERVED}input"
REVISIONS_KEY = f"{RESERVED}revisions"
OF_TRANSPORT = frozenset({INPUT_KEY, REVISIONS_KEY})
"""The transport's own records, no cells: which topic the state was made from, and how far it has the revisions (`agents.transport.origin`, `reached`)."""


PART = f"{RESERVED}part/"


class Header(msgspec.Struct, array_like=True, frozen=True):
    """What the runner knows of a key. New fields go to the end, with defaults."""

    offset: int
    """Input offset last applied to this key; -1 = none (ticks only)."""
    seq: int
    """How often this key was written. Of two records the higher (offset, seq) is the newer, whatever order the log has them in."""
    due: int | None = None
    """When it must be stepped again, microseconds UTC."""
    epoch: int = 0
    """Epoch of the partition's broadcasts that it was last stepped with."""
    revision: int = 0
    """Highest revision it has published."""
    now: int = 0
    """`now` of its last step, microseconds UTC: the partition's time never runs backwards, a restart included."""


class BadState(Exception):
    """A state record that this version cannot read: never guessed, the worker refuses to start."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Header).decode


def pack(header: Header, data: bytes) -> bytes:
    """The value of a state record."""
    head = _encode(header)
    return bytes((len(head),)) + head + data


def unpack(value: bytes) -> tuple[Header, bytes]:
    """Header and the fold's bytes. Raises BadState."""
    return header_of(value), value[1 + value[0]:]


def header_of(value: bytes) -> Header:
    """The header of a state record. Raises BadState."""
    try:
        return _decode(value[1 : 1 + value[0]])
    except (msgspec.MsgspecError, IndexError) as error:
        raise BadState(f"state record with an unreadable header {value[:40]!r}: {error}") from error


def _newness(value: bytes) -> tuple[int, int]:
    header = header_of(value)
    return header.offset, header.seq


class Part(msgspec.Struct, array_like=True, frozen=True):
    """What a part record holds after its header."""

    base: int
    """CRC-32 of the whole that it belongs to."""
    due: int | None
    patch: bytes


_encode_part = msgspec.msgpack.Encoder().encode
_decode_part = msgspec.msgpack.Decoder(Part).decode


def joined(cells: Mapping[str, tuple[Header, bytes]]) -> tuple[dict[str, tuple[Header, bytes, bytes | None]], list[str]]:
    """Of all cells as they lie in a topic: per key of a fold its latest header, its whole and what has changed since; and the names of parts
    that belong to no whole any more. Raises BadState when the whole of a part is not the one that it was made for."""
    found: dict[str, tuple[Header, bytes, bytes | None]] = {k: (*cell, None) for k, cell in cells.items() if not k.startswith(RESERVED)}
    left: list[str] = []
    for name, (header, data) in cells.items():
        if not name.startswith(PART):
            continue
        key = name[len(PART):]
        cell = found.get(key)
        if cell is None or (header.offset, header.seq) < (cell[0].offset, cell[0].seq):
            left.append(name)
            continue
        try:
            part = _decode_part(data)
        except msgspec.MsgspecError as error:
            raise BadState(f"part of {key!r} unreadable: {error}") from error
        if part.base != zlib.crc32(cell[1]):
            raise BadState(f"part of {key!r} from input {header.offset} belongs to another state than the one from input {cell[0].offset}")
        found[key] = msgspec.structs.replace(header, due=part.due), cell[1], part.patch
    return found, left


class ObjectCache:
    """Decoded states, least recently used out first, bounded by the bytes they encode to. One for all partitions of a process.

    Objects take a few times their encoded bytes; the bound is on what can be counted exactly. A state whose bytes are squeezed says in `SWELLS` how
    many times larger its object is.
    """

    def __init__(self, bytes_max: int = 64 << 20) -> None:
        self.bytes_max = bytes_max
        self.bytes_held = 0
        self.hits = self.misses = 0
        self._held: OrderedDict[tuple[int, str], tuple[object, int]] = OrderedDict()

    def get(self, owner: int, key: str) -> object | None:
        """The object, or None when it must be decoded."""
        found = self._held.get((owner, key))
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        self._held.move_to_end((owner, key))
        return found[0]

    def put(self, owner: int, key: str, value: object, size: int) -> None:
        self.drop(owner, key)
        size *= getattr(type(value), "SWELLS", 1)
        self._held[owner, key] = (value, size)
        self.bytes_held += size
        while self.bytes_held > self.bytes_max and self._held:
            _, (_, gone) = self._held.popitem(last=False)
            self.bytes_held -= gone

    def drop(self, owner: int, key: str) -> None:
        if (found := self._held.pop((owner, key), None)) is not None:
            self.bytes_held -= found[1]

    def drop_owner(self, owner: int) -> None:
        """Forget a partition that was given up."""
        for held in [k for k in self._held if k[0] == owner]:
            self.drop(*held)


class Cells:
    """All keys of one partition as the records that they are in the state topic, the due order, and what is left of a sweep.

    A record's header is decoded when it is looked at: of a million keys hardly any is, and as objects the headers would take as much memory again as
    a short state.
    """

    def __init__(self) -> None:
        self._cells: dict[str, bytes] = {}
        self._due: list[tuple[int, str]] = []
        self._sweep: dict[str, None] = {}
        self._overtaken: set[str] = set()
        self.now = 0
        """Highest `now` of any key when it was restored."""
        self.highest = -1
        """Highest input offset of any key when it was restored, -1 = none."""

    def __len__(self) -> int:
        return len(self._cells)

    def __iter__(self) -> Iterator[str]:
        return iter(self._cells)

    def __contains__(self, key: str) -> bool:
        return key in self._cells

    def get(self, key: str) -> tuple[Header, bytes] | None:
        """Raises BadState."""
        value = self._cells.get(key)
        return None if value is None else unpack(value)

    def header(self, key: str) -> Header | None:
        """Raises BadState."""
        value = self._cells.get(key)
        return None if value is None else header_of(value)

    def revision(self, key: str) -> int:
        """The highest that its state or its part knows of; 0 = none. Raises BadState."""
        return max((h.revision for name in (key, PART + key) if (h := self.header(name)) is not None), default=0)

    def headers(self) -> Iterator[tuple[str, Header]]:
        """Of every key. Raises BadState."""
        return ((key, header_of(value)) for key, value in self._cells.items())

    def put(self, key: str, header: Header, data: bytes) -> bytes:
        """Keep a key; a due time goes to the heap when it has changed. Gives its record."""
        old = self._cells.get(key)
        self._cells[key] = value = pack(header, data)
        if header.due is not None and (old is None or header_of(old).due != header.due):
            heapq.heappush(self._due, (header.due, key))
            if len(self._due) > 4 * len(self._cells) + 64:
                self._rebuild()
        return value

    def put_part(self, key: str, header: Header, patch: bytes) -> bytes:
        """Keep what has changed of a key since its whole was written; gives the record of the part."""
        _, whole = unpack(self._cells[key])
        held = self.get(PART + key)
        base = _decode_part(held[1]).base if held is not None else zlib.crc32(whole)
        self.put(key, header, whole)
        bare = header if header.due is None else msgspec.structs.replace(header, due=None)
        return self.put(PART + key, bare, _encode_part(Part(base, header.due, patch)))

    def patch(self, key: str) -> bytes | None:
        """What has changed of a key since its whole was written; None: nothing."""
        held = self.get(PART + key)
        return _decode_part(held[1]).patch if held is not None else None

    def drop(self, key: str) -> None:
        self._cells.pop(key, None)

    def restore(self, key: str, value: bytes | None) -> None:
        """One record of the state topic, in log order. A late write of a former owner never wins over a newer one. Raises BadState, here or in `restored`."""
        if value is None:
            self.drop(key)
            return
        old = self._cells.get(key)
        if old is None or _newness(old) <= _newness(value):
            self._cells[key] = value
            self._overtaken.discard(key)
        else:
            self._overtaken.add(key)

    def overtaken(self) -> dict[str, bytes]:
        """Before `restored`: keys whose last record in the log is a former owner's late one, with the newer record that counts. They must be written
        again: compaction keeps what comes last, and would take the state back."""
        wholes_first = sorted(self._overtaken, key=lambda key: (key.startswith(RESERVED), key))
        return {key: self._cells[key] for key in wholes_first if key in self._cells}

    def image(self) -> dict[str, bytes]:
        """All keys as they are now: a copy that later puts do not touch."""
        return dict(self._cells)

    def adopt(self, image: dict[str, bytes]) -> None:
        """Begin with an image instead of nothing; later records of the topic come through `restore`."""
        self._cells = dict(image)

    def restored(self) -> list[str]:
        """After the last record: put wholes and parts together and the due times in order. Gives the parts that are left over. Raises BadState, also
        when the header of any key cannot be read."""
        parts = [name for name in self._cells if name.startswith(PART)]
        pairs = {name: cell for part in parts for name in (part, part[len(PART):]) if (cell := self.get(name)) is not None}
        found, left = joined(pairs)
        for name in left:
            self.drop(name)
        for key, (header, data, patch) in found.items():
            if patch is not None:
                self._cells[key] = pack(header, data)
        self.now, self.highest = self._rebuild()
        return left

    def _rebuild(self) -> tuple[int, int]:
        """Put the due times in order. Gives the highest `now` and the highest input offset of any key."""
        self._due = due = list[tuple[int, str]]()
        now, highest = 0, -1
        for key, header in self.headers():
            if header.due is not None:
                due.append((header.due, key))
            now, highest = max(now, header.now), max(highest, header.offset)
        heapq.heapify(due)
        return now, highest

    def next_due(self) -> int | None:
        """The earliest due time, or None."""
        while self._due:
            due, key = self._due[0]
            header = self.header(key)
            if header is not None and header.due == due:
                return due
            heapq.heappop(self._due)
        return None

    def pop_due(self, now: int) -> str | None:
        """The key that is due first, if it is due at `now`."""
        due = self.next_due()
        return heapq.heappop(self._due)[1] if due is not None and due <= now else None

    def begin_sweep(self, epoch: int) -> None:
        """Every key whose epoch is lower is to be stepped. Keys that wait keep their place: no starving."""
        for key, header in self.headers():
            if header.epoch < epoch and not key.startswith(RESERVED):
                self._sweep.setdefault(key)

    @property
    def sweeping(self) -> int:
        """How many keys still wait for the sweep."""
        return len(self._sweep)

    def pop_sweep(self, epoch: int) -> str | None:
        """The next key whose epoch is still lower, or None at the end."""
        while self._sweep:
            key = next(iter(self._sweep))
            del self._sweep[key]
            header = self.header(key)
            if header is not None and header.epoch < epoch:
                return key
        return None
