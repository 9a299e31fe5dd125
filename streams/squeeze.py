"""Bytes of a state, squeezed. Facts say the same side, key and source again and again: squeezed they take a tenth to a quarter, and what is kept of every
shipment in memory, in the log and on the way back from it is these bytes.

A state by itself is short, and most of what it repeats stands in the others, too. So Zstandard (RFC 8878) is given a dictionary of what states of its fold
usually say; it belongs to the format as the field order does. A dictionary that states were written with is never changed or taken away: another one gets
another number. Folds with few keys are squeezed without one (LZ4), as all states once were.

A cache that counts bytes must know how large the objects are: a state's class says in `SWELLS` how many bytes its object takes per squeezed byte, as measured
of states of the simulator.

zstandard's contexts serve one thread: what encodes and decodes states runs in a process's main thread only.
"""
from __future__ import annotations

import pkgutil
from functools import cache

import cramjam
import zstandard

MARK = b"\x00"
"""Before an LZ4 block. A state is a msgpack array, which begins otherwise: what was written unsqueezed is read as it is."""
MARK_WITH = b"\x01"
"""Before a Zstandard frame; the next byte is the number of its dictionary."""
LEAST = 512
"""Bytes below which it is not worth it without a dictionary."""
LEAST_WITH = 64
"""And with one."""
DOCUMENTS, CUSTODY, CLEARANCE = 1, 2, 3
"""Numbers of dictionaries."""
LEVEL = 3
"""Of Zstandard: a tenth fewer bytes than level 1 for a third more time, which is a hundredth of what a fact costs."""


def squeezed(data: bytes, dictionary: int = 0) -> bytes:
    """The same state in fewer bytes; the same input gives the same bytes. Raises ValueError (no dictionary of that number)."""
    if dictionary and len(data) >= LEAST_WITH:
        return MARK_WITH + dictionary.to_bytes() + _squeezer(dictionary).compress(data)
    return MARK + bytes(cramjam.lz4.compress_block(data)) if len(data) >= LEAST else data


def loosened(data: bytes) -> bytes:
    """What was squeezed, squeezed or not. Raises ValueError (a dictionary that this version does not have), errors of the decoders."""
    mark = data[:1]
    if mark == MARK_WITH:
        return _loosener(data[1]).decompress(memoryview(data)[2:])
    return bytes(cramjam.lz4.decompress_block(data[1:])) if mark == MARK else data


@cache
def _dictionary(number: int) -> zstandard.ZstdCompressionDict:
    try:
        data = pkgutil.get_data("streams", f"dictionaries/{number}.zstd")
    except FileNotFoundError:
        data = None
    if data is None:
        raise ValueError(f"a state was squeezed with dictionary {number}, which this version of railclear does not have")
    return zstandard.ZstdCompressionDict(data, dict_type=zstandard.DICT_TYPE_FULLDICT)


@cache
def _squeezer(number: int) -> zstandard.ZstdCompressor:
    dictionary = _dictionary(number)
    dictionary.precompute_compress(level=LEVEL)
    return zstandard.ZstdCompressor(level=LEVEL, dict_data=dictionary, write_checksum=False, write_content_size=True, write_dict_id=False)


@cache
def _loosener(number: int) -> zstandard.ZstdDecompressor:
    return zstandard.ZstdDecompressor(dict_data=_dictionary(number))
