"""Outputs of one step that hold the very same structs: a train tells each of its fifty containers the same milestones, which are most of the message."""
from __future__ import annotations

from functools import cache
from typing import Any, get_args, get_origin

import msgspec

from topics import codec

SHARED_MIN = 8
"""Fewer outputs than this are encoded one by one."""


class Shared:
    """Encodes the messages of one step; the bytes are those of `codec.encode`. What is looked up by identity is held as long as this object is."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, msgspec.Raw | None]] = {}

    def encode(self, value: msgspec.Struct) -> bytes:
        """Tuples of structs that an earlier message held too are encoded once more, and then no more."""
        raws: dict[str, Any] = {}
        for name in _tuples_of(type(value)):
            held = getattr(value, name)
            if not held:                                 # may be a default, which is left out
                continue
            found = self._known.get(id(held))
            if found is None:
                self._known[id(held)] = held, None
                continue
            raw = found[1]
            if raw is None:
                raw = msgspec.Raw(codec.encode(held))
                self._known[id(held)] = held, raw
            raws[name] = raw
        return codec.encode(msgspec.structs.replace(value, **raws) if raws else value)


@cache
def _tuples_of(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    """Fields that hold tuples of structs."""
    return tuple(f.name for f in msgspec.structs.fields(kind) if get_origin(f.type) is tuple and _structs(get_args(f.type)))


def _structs(arguments: tuple[Any, ...]) -> bool:
    return len(arguments) == 2 and arguments[1] is ... and isinstance(arguments[0], type) and issubclass(arguments[0], msgspec.Struct)
