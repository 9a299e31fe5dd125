"""What may be asked of the simulator. Rates are shares between 0 and 1; domain 7.5 where it names one, ours ([D]) otherwise."""
from __future__ import annotations

import msgspec

PLANNED_FROM = 12
"""With this many trains every planned incident happens at least once."""


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Probabilities. Of a filing, of a container, of a message: as each says."""

    rejection: float = 0.03
    """Of a filing: hard rejection, then corrected and filed again (domain 7.5: 2-5 %)."""
    amendment: float = 0.10
    """Of a filing: amended after registration (8-12 %)."""
    withdrawal: float = 0.004
    """Of a filing: withdrawn by its filer, invalidated by the authority, filed again [D]."""
    mismatch: float = 0.03
    """Of a filing of one consignment: its packages or goods code differ from the note (3 %)."""
    late: float = 0.03
    """Of a filing: lodged after its deadline (3 %)."""
    duplicate: float = 0.015
    """Of a message: sent twice, byte for byte (1-2 %)."""
    out_of_order: float = 0.04
    """Of a message: delayed past later ones (3-5 %)."""
    wrong_bytes: float = 0.002
    """Of a message: a broken message of the same party besides it, to be dead-lettered."""
    inspection: float = 0.04
    """Of a shipment at a customs side (3-5 %)."""
    inspection_aeo: float = 0.0075
    """Of a shipment whose trader is an AEO under mutual recognition (0.5-1 %)."""
    discrepancy: float = 0.12
    """Of a started inspection: it finds one; the authority holds, and lifts or refuses later [D]."""
    information: float = 0.03
    """Of a filing: the authority asks for information [D]."""
    hold: float = 0.004
    """Of a shipment at a customs side: a hold of the authority [D]."""
    refusal: float = 0.0005
    """Of a shipment at a customs side: refused and turned back [D]."""
    agency_hold: float = 0.004
    """Of a shipment at an entry: another agency (veterinary, phyto …) stops it and lets it go [D]."""
    territory_hold: float = 0.02
    """Of a container that crosses Russia in transit: held under Decree 1374 between the borders (S78 reports far more at times)."""
    lock_broken: float = 0.003
    """Of a smart lock at a crossing [D]."""
    lock_silent: float = 0.01
    """Of a smart lock at a crossing: signal or battery lost, unproven [D]."""
    left_behind: float = 0.003
    """Of a container at a gauge break: stays when its train leaves and goes with a later one [D]."""
    unreleased: float = 0.002
    """Of a shipment at a customs side: the release is never sent (alert) [D]."""
    gtt: float = 0.6
    """Of a westbound or eastbound shipment over a CN-KZ crossing: enrolled in the customs-rail link [D]."""
    aeo: float = 0.3
    """Of a shipment: its exporter states an AEO code [D]."""
    ecommerce: float = 0.04
    """Of a shipment: cross-border e-commerce with house items [D]."""
    empty: float = 0.04
    """Of a container westbound; a third of an eastbound train is empty besides whole trains of empties [D]."""
    heavy: float = 0.02
    """Of a container: the weighbridge disagrees with the note (2 %)."""
    seal_missing: float = 0.01
    """Of a container: no seal number in the documents (1 %)."""
    dangerous: float = 0.03
    """Of a westbound loaded container: dangerous goods (lithium batteries, domain 4.4) [D]."""
    set_out: float = 0.001
    """Of a wagon on a leg: set out en route [D]."""
    tez: float = 0.4
    """Of a transit declaration in Kazakhstan: about half an hour instead of two (S83)."""


class SimOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Size and shape of the simulated world. Units are in the names."""

    trains: int = 12
    corridors: tuple[str, ...] = ()
    """Corridor ids; empty = all enabled ones."""
    eastbound: bool = True
    stagger_hours: float = 8.0
    """Between the starts of two trains."""
    containers_min: int = 40
    containers_max: int = 55
    wagons_1520_max: int = 44
    """Containers of one train behind a gauge break; more make a second train (55 -> 41 + 14)."""
    position_minutes: float = 45.0
    """Between two GPS positions of a moving train; 0 = station events only."""
    heartbeats: bool = True
    """Heartbeats of every party that takes part, within its freshness limit."""
    late_hours_max: float = 60.0
    """How long a delayed message may be under way."""
    speed_up: float = 1.0
    """Divides running and dwell times: a shorter world for tests."""
    incidents: bool = True
    """Whether planned incidents happen (every one at least once with 12 trains or more)."""
    closure: bool = True
    """Whether one crossing closes for a time."""
    items_min: int = 10
    """House items of an e-commerce container: so many or more."""
    items_max: int = 40
    """House items of an e-commerce container: no more than this, or than the least (domain 7.6 has up to 1,000)."""
    rates: Rates = Rates()

    def calm(self) -> SimOptions:
        """The same world without incidents, noise and wrong bytes: everything goes as it should."""
        quiet = Rates(**{name: 0.0 for name in Rates.__struct_fields__ if name not in _KEPT}, gtt=self.rates.gtt, aeo=self.rates.aeo, tez=self.rates.tez)
        return msgspec.structs.replace(self, rates=quiet, incidents=False, closure=False)


_KEPT = ("gtt", "aeo", "tez")
