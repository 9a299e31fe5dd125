"""JSON in and out, with refusals that name the field and the value.

One encoder, one decoder per contract union; unknown fields are ignored (newer writers), unknown types and wrong types are refused.
"""
from __future__ import annotations

import re
from functools import cache
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

BYTES_IN_MAX = 4 * 1024 * 1024
"""Largest input that is read (4 MiB): the broker takes no larger record on inbound topics."""
VALUE_SHOWN_MAX = 200


class Refusal(msgspec.Struct, frozen=True):
    """Why an input was refused: a named code, the JSON path of the field, the offending value."""

    code: str
    path: str = "$"
    value: str = ""
    reason: str = ""


class Refused(Exception):
    """Poison: this record can never be applied. Dead-letter it and go on with the next."""

    def __init__(self, code: str, path: str = "$", value: object = "", reason: str = "") -> None:
        self.refusal = Refusal(code, path, str(value)[:VALUE_SHOWN_MAX], reason)
        super().__init__(f"{code} at {path}: {reason or value}")


_PATH = re.compile(r" - at `(\$[^`]*)`$")
_encoder = msgspec.json.Encoder(order="deterministic", enc_hook=None)


def encode(value: msgspec.Struct | object) -> bytes:
    """Canonical JSON bytes: the same struct gives the same bytes."""
    return _encoder.encode(value)


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def decode(data: bytes, kind: type[T] | Any) -> T:
    """Decode one message of `kind` (a struct or a union of tagged structs).

    Raises Refused: TOO_LARGE, NOT_JSON, NUL_BYTE, TOO_DEEP, UNKNOWN_EVENT, MISSING_ZONE, MISSING_FIELD, BAD_VALUE, each with path and value.
    """
    if len(data) > BYTES_IN_MAX:
        raise Refused("TOO_LARGE", "$", f"{len(data)} bytes", f"more than {BYTES_IN_MAX} bytes")
    if b"\x00" in data or b"\\u0000" in data:
        raise Refused("NUL_BYTE", "$", "", "a NUL is not text")
    decoder: msgspec.json.Decoder[T] = _decoder(kind)  # type: ignore[arg-type]  # unions are hashable too
    try:
        result = decoder.decode(data)
    except msgspec.ValidationError as error:
        raise _named(data, str(error)) from error
    except msgspec.DecodeError as error:
        raise Refused("NOT_JSON", "$", data[:40].decode("utf-8", "replace"), str(error)) from error
    except UnicodeDecodeError as error:
        raise Refused("NOT_JSON", "$", data[:40].decode("utf-8", "replace"), "not UTF-8") from error
    except RecursionError as error:
        raise Refused("TOO_DEEP", "$", data[:40].decode("utf-8", "replace"), "nested more deeply than any message needs") from error
    return result


def _named(data: bytes, message: str) -> Refused:
    found = _PATH.search(message)
    path = found[1] if found else "$"
    reason = _PATH.sub("", message)
    if "Invalid value" in reason and path.endswith(".type"):
        return Refused("UNKNOWN_EVENT", path, _value_at(data, path), reason)
    if "timezone" in reason:
        return Refused("MISSING_ZONE", path, _value_at(data, path), "a time needs its zone, e.g. 2026-03-01T12:00:00+08:00")
    if missing := re.search(r"missing required field `([^`]+)`", reason):
        return Refused("MISSING_FIELD", f"{path}.{missing[1]}", "", reason)
    return Refused("BAD_VALUE", path, _value_at(data, path), reason)


def _value_at(data: bytes, path: str) -> str:
    """The value that a path points at, for the refusal; empty when the path goes through a wildcard or leads nowhere."""
    try:
        here: Any = msgspec.json.decode(data)
        for part in re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", path):
            here = here[part[0]] if part[0] else here[int(part[1])]
    except (msgspec.DecodeError, KeyError, IndexError, TypeError, ValueError, RecursionError):
        return ""
    return here[:VALUE_SHOWN_MAX] if isinstance(here, str) else msgspec.json.encode(here).decode()[:VALUE_SHOWN_MAX]
