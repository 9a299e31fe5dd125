"""Inputs of a train name dealt out to those that count and those that a mask covers (streams.masks)."""
from __future__ import annotations

from collections.abc import Mapping

from streams import masks as masking
from streams.masks import Masks, covers, covers_id
from streams.reference.model import Reference
from streams.trains.inputs import RunInputs

Runs = dict[str, RunInputs]
TABLES: Mapping[str, bool] = {"announced": True, "consists": True, "sheets": True, "set_outs": True, "formed": True, "spawned": True, "reroutes": True,
                              "delays": True, "notices": False, "terminal": True}
"""Tables of what outside parties say, and whether the highest of a slot stays (else what comes again is one input, with its earliest time)."""


def dealt(runs: Mapping[str, RunInputs], aside: Mapping[str, RunInputs], masks: Masks, reference: Reference) -> tuple[Runs, Runs]:
    """By origin: the inputs that count, and those that a mask covers. What other runs handed on stays: they have applied the mask themselves."""
    pairs = {o: _dealt(runs.get(o, RunInputs()), aside.get(o, RunInputs()), masks, reference) for o in sorted({*runs, *aside})}
    layers = [{o: pair[n] for o, pair in pairs.items() if pair[n] != RunInputs()} for n in (0, 1)]
    return layers[0], layers[1]


def _dealt(mine: RunInputs, away: RunInputs, masks: Masks, reference: Reference) -> tuple[RunInputs, RunInputs]:
    layers = RunInputs(inherited=dict(mine.inherited)).copy(), RunInputs().copy()
    for name, highest in TABLES.items():
        for layer, table in zip(layers, masking.dealt(getattr(mine, name), getattr(away, name), masks, highest=highest), strict=True):
            setattr(layer, name, table)
    for held in (mine, away):
        if held.first is not None:
            layers[covers_id(masks, held.first.id, held.first.at)].hear(held.first)
        for slot, (version, fix) in held.recorded.items():
            layers[covers(masks, fix.source, fix.at)].place_recorded(slot, version, fix)
        for fix in held.unrecorded():
            layers[covers(masks, fix.source, fix.at)].place(fix, reference)
    for layer in layers:
        layer.settle()
    return layers
