"""What railclear knows about the world, as frozen rows: loaded from TOML, validated, hashed, dated.

Every row carries where it is from. Rows tagged `[M?]` in the domain reference are `enabled = false` until a deployment says otherwise.
Instants are microseconds UTC, durations are named with their unit, coordinates are WGS 84 degrees.
"""
from __future__ import annotations

import msgspec


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What every row says of itself."""

    source: str
    """Evidence tag of the domain reference: S01 … S141, M, M?, D, V."""
    certainty: str = "med"
    """high, med, low."""
    valid_from: str = ""
    """ISO date; empty = always."""
    valid_to: str = ""
    """ISO date, exclusive; empty = open."""
    enabled: bool = True
    note: str = ""


class Names(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One name in the three languages that officers and dispatchers read."""

    en: str
    zh: str = ""
    ru: str = ""


class DutyLine(Row, frozen=True, kw_only=True):
    """Whom to call, when. Shipped lines are fictitious and for the demo only."""

    authority: str = ""
    crossing: str = ""
    function: str = "duty_officer"
    phone: str
    hours: str = "24/7"
    """`Mo-Fr 08:00-18:00` in the authority's zone, or 24/7."""
    order: int = 1
    substitute: str = ""


class Authority(Row, frozen=True, kw_only=True):
    """A customs authority; `union` is EAEU or EU where its territory is part of one customs territory."""

    code: str
    names: Names
    union: str = ""
    zone: str
    """IANA zone; also the zone of its messages that carry none, when `naive_times` is set."""
    naive_times: bool = False
    transit: tuple[str, ...] = ()
    """Transit conventions: CTC, EAEU, TIR."""
    holidays: str = ""
    """Country code of the holiday calendar."""
    systems: tuple[str, ...] = ()
    """Code lists it speaks: NCTS, ICS2, CN-MANIFEST …"""
    office_pattern: str = ""
    """Regular expression of its office codes; empty = not known."""
    territory: bool = False
    """It may stop goods anywhere while they cross its territory: every route through it has its TERRITORY side."""

    @property
    def party(self) -> str:
        """Id of the writing party that speaks for this authority."""
        return f"customs-{self.code.lower()}"


class Party(Row, frozen=True, kw_only=True):
    """Somebody who writes events: railway, terminal, seals, trade, agency, risk, network, customs."""

    id: str
    role: str
    names: Names
    country: str = ""
    zone: str = ""
    """Zone of its times without offset; empty = such times are refused."""
    places: tuple[str, ...] = ()
    """terminals: the places it speaks for."""
    heartbeat_minutes: int = 0
    """Silence longer than this makes it stale; 0 = the default of its role."""


class Place(Row, frozen=True, kw_only=True):
    """A station, yard, terminal, port or office place of the network."""

    id: str
    names: Names
    country: str
    kind: str = "station"
    """station, terminal, port, hub; office (inland customs); town: a point that only shapes the line."""
    lat: float | None = None
    lon: float | None = None
    """Null coordinates are never matched."""
    coordinate_source: str = ""
    zone: str = ""
    gauge: tuple[int, ...] = ()
    esr: str = ""
    unlocode: str = ""
    crossing: str = ""
    """Crossing that it belongs to."""
    operator: str = ""
    """Party of the terminal."""
    radius_km: float = 3.0
    """Geofence."""
    free_time_hours: int | None = None
    storage_limit_hours: int | None = None


class Crossing(Row, frozen=True, kw_only=True):
    """A pair of stations on either side of a state border. `a` is the side nearer to China."""

    id: str
    names: Names
    a: str
    """Place id nearer to China."""
    b: str
    a_authority: str
    b_authority: str
    gauge_a: int
    gauge_b: int
    customs_border: bool = True
    """False inside a customs territory (EAEU, EU): both sides are NOT_REQUIRED and only a movement event is made."""
    sea: bool = False
    one_stop: bool = False
    """一地两检: one presentation serves both sides; off by default."""
    transload_west: str = ""
    """Place where a westbound train is transloaded; empty = no gauge break here."""
    transload_east: str = ""
    trains_per_day: int | None = None
    gap_hours: float = 2.0
    """Usual running time between the two posts [D where no source says]."""
    formation_under_2h: bool = False
    """Trains are formed here, less than two hours before the office of first entry (UCC-DA art. 107: 1 h ENS limit)."""
    offices: dict[str, str] = {}
    """Office code per authority: `{"KZ" = "…"}`; neutral codes of ours are tagged [D]."""
    calendar: dict[str, str] = {}
    """Working hours of inspection per authority: `24/7` or `Mo-Fr 08:00-18:00`."""
    future: bool = False


class Corridor(Row, frozen=True, kw_only=True):
    """An ordered way from China to Europe or Central Asia, as it is passed westwards; eastwards is the reverse."""

    id: str
    names: Names
    places: tuple[str, ...]
    """All places in westward order, border stations and interior points."""
    crossings: tuple[str, ...]
    """Crossings in westward order, customs borders and inner ones."""
    origins: tuple[str, ...] = ()
    """Hub places in China where its trains start (westwards)."""
    destinations: tuple[str, ...] = ()
    feeders: dict[str, tuple[str, ...]] = {}
    """Origin -> places from it to the place of the trunk where its line joins (last element)."""
    spurs: dict[str, tuple[str, ...]] = {}
    """Destination -> places from the place of the trunk where its line leaves (first element) to it."""


class Speed(Row, frozen=True, kw_only=True):
    """Average running speed between stations, for ETA. Percentiles of the speed: p10 is slow and gives the late arrival."""

    country: str
    km_per_hour_p10: float
    km_per_hour_p50: float
    km_per_hour_p90: float


class Dwell(Row, frozen=True, kw_only=True):
    """How long a train or a container stays at a crossing in a direction, in hours."""

    crossing: str
    direction: str
    hours_p10: float
    hours_p50: float
    hours_p90: float


class FilingRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One filing of a side: what, due when, by whom, in which message."""

    kind: str
    before_arrival: bool = True
    role: str = "carrier"
    """Who can legally file: carrier, declarant, railway, holder, terminal, exporter, importer."""
    message: str = ""
    """Official message or form: IE015, MT1301-like names only where the domain reference has them."""
    system: str = ""
    lead_minutes: int | None = None
    """due_at = clock_ref - lead; None = no legal lead time known: no deadline."""
    lead_minutes_short: int | None = None
    """When the train is formed less than two hours before (Crossing.formation_under_2h)."""
    clock_ref: str = ""
    """eta_first_station, eta_customs_territory, eta_office_of_first_entry, eta_office_of_exit, loading_start, train_decl_review,
    presentation, unloading, conveyance_declared."""
    before: str = ""
    """Kind of another filing of the side, before whose registration this one is due as well (its main data, where it comes in parts)."""
    answer_minutes: int | None = None
    """The authority registers it, or says no, within this time of its filing."""
    basis: str = "legal"
    """legal or operational."""
    alert: bool = True
    """False: tracked only."""
    validity_days: int | None = None
    consequence: str = ""
    fields: tuple[str, ...] = ()
    """Mandatory fields, official names."""
    source: str = "M"
    certainty: str = "med"
    waived_for: tuple[str, ...] = ()
    """empty (containers), transit, …: the filing is not required then."""
    enrolment: str = ""
    """Filing of a facilitation that the carrier opted in to (gtt, fast_clearance): it has a deadline for those enrolled and is never
    missing for the others, nor does it count for ACCEPTED."""


class SideRow(Row, frozen=True, kw_only=True):
    """What one kind of side needs: filings, conditions, release set. The most specific row that fits is taken."""

    id: str
    authority: str = ""
    """Authority code, or empty with `union`."""
    union: str = ""
    kind: str
    """EXIT, ENTRY, OFFICE, TERRITORY."""
    direction: str = ""
    """west, east; empty = both."""
    procedure: str = ""
    """transit, import, warehouse, export, undecided …; empty = any."""
    crossing: str = ""
    office_role: str = ""
    """OFFICE: departure, destination, inland."""
    filings: tuple[FilingRow, ...] = ()
    assessments: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    release: tuple[tuple[str, ...], ...] = ()
    decision: tuple[str, ...] = ()
    by: dict[str, str] = {}
    """kind -> union or convention (EAEU, EU, CTC) whose any authority may handle it."""
    per_visit: tuple[str, ...] = ()
    per_run: tuple[str, ...] = ()
    transit: tuple[str, ...] = ()
    """Kinds whose release opens a transit that must be ended."""
    chains: tuple[str, ...] = ()
    presenters: tuple[str, ...] = ()
    """Document kinds whose filer of record may say `presented` besides the authority and the terminal (IE507)."""
    not_observed: tuple[str, ...] = ()


class Agreement(Row, frozen=True, kw_only=True):
    """A dated arrangement between two authorities: gtt, aeo_mra, recognition, exchange, green_lane, joint, sstl, transit."""

    id: str
    kind: str
    parties: tuple[str, ...]
    """Authority codes (or unions) between which it holds."""
    names: Names | None = None
    signed: str = ""
    in_force: str = ""
    """ISO date; empty = not in force."""
    suspended: bool = False
    directional: bool = False
    """True: from parties[0] to parties[1] only."""
    scope: tuple[str, ...] = ()
    """Control types recognised, or fields that may be exchanged (status, time, office, seal, inspection)."""
    goods: tuple[str, ...] = ()
    crossings: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    """Corridor ids enrolled."""
    enrolment: str = ""
    """Facilitation that the carrier must have opted in to for the row to hold for a shipment; empty = none."""
    auto_release: tuple[str, ...] = ()
    """Release members it grants; empty by default."""
    lock_standards: tuple[str, ...] = ()
    seal_continuity: bool = False
    """An authorised opening keeps the earlier inspection recognised."""
    extends_to: tuple[str, ...] = ()
    """Later authorities on the route that rely on the same recognition."""
    contact: str = ""


class FactTemplate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fact that a code sets. `key` parts in braces are filled from the notice: {kind}, {number}, {reference}, {subject}, {visit}, {chain}, {id}."""

    key: tuple[str, ...]
    value: str = ""
    """Empty = True; `valid_until`, `answer_by` name a field of the notice; anything else is the literal value."""
    when: str = ""
    """Condition on the notice: `reason:015|declaration` holds when the field has one of the values, `reason!:013|014` when it has
    none of them; `values.NAME` reads an official field. Empty = always."""
    side: str = ""
    """Empty = as the notice names it; `exit`, `entry`, `office` narrow it; `*` every side."""
    kind: str = ""
    """Overrides the document kind."""


class CodeRow(Row, frozen=True, kw_only=True):
    """An official code of a system and the facts it sets. A code without a row is quarantined and clears nothing."""

    system: str
    code: str
    names: Names
    facts: tuple[FactTemplate, ...] = ()
    flag: str = ""
    """Flag it leaves on the side, for codes that set no fact (IE140 -> transit_enquiry)."""
    keeps: bool = False
    """True: known, kept as evidence, changes nothing (vendor stages, notifications)."""
    document_kind: str = ""
    """Document kind the code speaks of, when the notice names only a number."""
    repeatable: bool = False
    """Whitelisted repeat: two of them are two facts."""


class RiskRow(Row, frozen=True, kw_only=True):
    """A line of the six security risk classes (domain 6)."""

    risk_class: str
    kind: str
    """hs, un, cas, keyword."""
    value: str
    strength: str = "weak"
    direction: str = ""
    language: str = ""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers with units that rules use. Each may be set by a deployment's overlay."""

    gtt_ack_minutes_min: int = 120
    gtt_deviation_km_max: float = 25.0
    gtt_stop_hours_max: float = 12.0
    risk_score_max: float = 0.7
    freshness_minutes: dict[str, int] = {}
    """Role -> minutes of silence after which a source is stale."""
    waiting_days_max: int = 14
    """Unresolved references are kept this long (UNRESOLVED_REFERENCE)."""
    position_off_route_km_max: float = 120.0
    """A position further from every line of its route is refused: town centroids and straight lines between them are that coarse [D]."""
    position_speed_kmh_max: float = 200.0
    """A jump that needs a higher speed is refused."""
    eta_grid_minutes: int = 15
    at_risk_margin_minutes: int = 120
    """A filing is at risk when the ETA's P10 is nearer to its deadline than this."""
    call_after_hours: dict[str, float] = {}
    """State or authority -> hours after which "call the duty line" is due."""
    transit_alarm_hours: tuple[int, ...] = (72, 24)
    storage_alarm_hours: tuple[int, ...] = (48, 24)
    retire_days: int = 30
    retire_days_max: int = 180
    stub_days: int = 90
    binding_retire_days: int = 14
    position_max_ahead_minutes: int = 10
    """A position further in the future than this is refused."""
    mass_tolerance_share: float = 0.01
    eaeu_transit_km_per_month: int = 2000
    eaeu_transit_days_min: int = 7


class Mapped(Row, frozen=True, kw_only=True):
    """One row of a mapping between code lists (documents, delay causes, offices)."""

    list: str
    code: str
    means: str
    names: Names | None = None


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Everything above at one version. `pack` hashes it together with the rules."""

    version: str
    authorities: dict[str, Authority]
    parties: dict[str, Party]
    places: dict[str, Place]
    crossings: dict[str, Crossing]
    corridors: dict[str, Corridor]
    side_rows: tuple[SideRow, ...]
    agreements: dict[str, Agreement]
    codes: dict[tuple[str, str], CodeRow]
    speeds: dict[str, Speed]
    dwells: dict[tuple[str, str], Dwell]
    duty: tuple[DutyLine, ...]
    risks: tuple[RiskRow, ...]
    mapped: dict[tuple[str, str], Mapped]
    limits: Limits
    digest: str = ""
    """SHA-256 of the rows, hex."""
