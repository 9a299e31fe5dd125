"""What a record may take at most. What is larger is parked with a named refusal, never a crash loop."""
from __future__ import annotations

import msgspec

from topics import codec


class Limits(msgspec.Struct, frozen=True):
    """Bounds in bytes."""

    state_bytes_max: int = 768 * 1024
    output_bytes_max: int = 1_000_000
    """Below the broker's default record limit (1 MiB) with room for key and headers."""


class TooLarge(Exception):
    """State or output beyond its limit; says which."""

    def __init__(self, code: str, size: int, limit: int) -> None:
        self.refusal = codec.Refusal(code, "$", f"{size} bytes", f"{size} bytes, at most {limit}")
        super().__init__(self.refusal.reason)
