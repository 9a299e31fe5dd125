"""Bytes of a state, squeezed. Facts say the same side, key and source again and again: squeezed they take about a quarter, and what is kept of every
shipment in memory, in the log and on the way back from it is these bytes. LZ4, because it costs less than encoding does.

A cache that counts bytes must know how large the objects are: a state's class says in `SWELLS` how many bytes its object takes per squeezed byte, as measured
of states of the simulator."""
from __future__ import annotations

import cramjam

MARK = b"\x00"
"""Before squeezed bytes. A state is a msgpack array, which begins otherwise: what was written unsqueezed is read as it is."""
LEAST = 512
"""Bytes below which it is not worth it."""


def squeezed(data: bytes) -> bytes:
    """The same state in fewer bytes; the same input gives the same bytes."""
    return MARK + bytes(cramjam.lz4.compress_block(data)) if len(data) >= LEAST else data


def loosened(data: bytes) -> bytes:
    """What was squeezed, squeezed or not."""
    return bytes(cramjam.lz4.decompress_block(data[1:])) if data[:1] == MARK else data
