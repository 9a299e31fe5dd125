"""A lane's state in a file of this machine: never needed, it only shortens what must be read from Kafka.

A file counts only if it is whole (length and checksum) and belongs to exactly this group, stage, partition, these topic ids and this
version; whatever does not fit is left aside with one log line. It is written beside the old one and renamed, so a crash leaves either.
"""
from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

MAGIC = b"railclear-state\n"
FORMAT = 2
_FRAME = struct.Struct(">II")
_PRELUDE = struct.Struct(">IIQ")
"""Checksum, length of the head, length of the body."""
CHUNK = 1 << 20


class SnapshotError(Exception):
    """The file cannot be used; the text says why."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """To whom a snapshot belongs and how far it reaches."""

    group: str
    stage: str
    partition: int
    version: str
    """Rule pack and state format of the worker that wrote it."""
    ids: tuple[str, ...]
    """Topic ids of input, state and revision topics."""
    nexts: tuple[int, ...]
    """Of the state and the revision topics: every record below this offset is in it."""
    at: int
    """Microseconds UTC."""
    count: int
    floors: dict[str, int] = {}
    """Revisions the world has seen beyond the state, by key."""
    format: int = FORMAT


def file_of(directory: Path, group: str, stage: str, partition: int) -> Path:
    """Where a lane's snapshot lies."""
    return directory / f"{re.sub('[^a-zA-Z0-9.-]', '_', group)}.{stage}.{partition}.state"


def write(path: Path, head: Head, records: Iterable[tuple[bytes, bytes]]) -> int:
    """Durable before it replaces the old file. Returns its size. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    said = msgspec.json.encode(head)
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with beside.open("wb") as out:
            os.chmod(beside, 0o600)
            out.write(MAGIC + b"\0" * _PRELUDE.size + said)
            check, size = zlib.crc32(said), 0
            for chunk in _chunks(records):
                check, size = zlib.crc32(chunk, check), size + len(chunk)
                out.write(chunk)
            out.seek(len(MAGIC))
            out.write(_PRELUDE.pack(check, len(said), size))
            out.flush()
            os.fsync(out.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return size


def _chunks(records: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    held, size = list[bytes](), 0
    for key, value in records:
        held += (_FRAME.pack(len(key), len(value)), key, value)
        size += len(key) + len(value)
        if size >= CHUNK:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


def read(path: Path) -> tuple[Head, list[tuple[bytes, bytes]]]:
    """The whole file. Raises SnapshotError when it is damaged, FileNotFoundError, OSError."""
    data = path.read_bytes()
    start = len(MAGIC) + _PRELUDE.size
    if len(data) < start or not data.startswith(MAGIC):
        raise SnapshotError("is not a snapshot")
    check, said, size = _PRELUDE.unpack_from(data, len(MAGIC))
    if len(data) != start + said + size or zlib.crc32(memoryview(data)[start:]) != check:
        raise SnapshotError("is damaged")
    try:
        head = msgspec.json.decode(data[start : start + said], type=Head)
    except msgspec.MsgspecError as error:
        raise SnapshotError(f"has an unreadable head: {error}") from error
    return head, list(_records(data, start + said))


def _records(data: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    while at < len(data):
        key, value = _FRAME.unpack_from(data, at)
        at += _FRAME.size
        yield data[at : at + key], data[at + key : at + key + value]
        at += key + value
