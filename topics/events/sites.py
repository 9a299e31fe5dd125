"""What terminals, seal operators, other agencies, risk analysts and network operators say."""
from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from topics.events.base import AuthorityCode, DocumentRef, Event, Instant, Name, ShortText, Text, TrainRef

SealChain = Literal["customs_lock", "bolt", "zpu", "navigation"]
"""Separate chains: customs lock (smart lock 安全智能锁), bolt seal, ЗПУ, navigation seal."""


class TerminalEvent(Event, frozen=True, kw_only=True, tag="terminal.event"):
    """Something happened to a container at a terminal."""

    place: Name
    """Terminal or station id of the network."""
    what: Literal[
        "gate_in", "gate_out", "arrived", "presented", "loaded", "unloaded", "transloaded", "moved_to_inspection", "tallied", "weighed",
        "unstuffed", "stuffed", "stored", "departed",
    ]
    wagon: ShortText = ""
    train: TrainRef | None = None
    gross_kg: Annotated[float, msgspec.Meta(gt=0, le=200_000)] | None = None
    tare_kg: Annotated[float, msgspec.Meta(gt=0, le=50_000)] | None = None
    visit: Annotated[int, msgspec.Meta(ge=1, le=99)] | None = None
    normal: bool = True
    """tallied: result is as documented."""
    text: Text = ""


class SealEvent(Event, frozen=True, kw_only=True, tag="seal.event"):
    """A seal or lock of a container: applied, read, alarmed, opened, replaced. Authorities and terminals may write it too."""

    chain: SealChain
    seal: Name
    what: Literal[
        "applied", "armed", "reading", "checked_ok", "checked_bad", "tamper", "broken", "opened_authorised", "removed", "replaced",
        "signal_lost", "signal_restored", "battery_low", "route_deviation",
    ]
    place: ShortText = ""
    crossing: ShortText = ""
    """Side at which it was read, by crossing; empty = by place."""
    lat: Annotated[float, msgspec.Meta(ge=-90, le=90)] | None = None
    lon: Annotated[float, msgspec.Meta(ge=-180, le=180)] | None = None
    standard: ShortText = ""
    """Lock standard as agreed between the partners of a facilitation."""
    act: ShortText = ""
    """opened_authorised: act number of the authority."""
    new_seal: ShortText = ""
    until: Instant | None = None
    """opened_authorised: when the new seal was on."""
    document: DocumentRef | None = None
    """Consignment that the lock was bound to."""


class AgencyNotice(Event, frozen=True, kw_only=True, tag="agency.notice"):
    """Another agency (veterinary, phyto, radiation, border guard, railway inspection) at a side: its own facts and holds."""

    agency: ShortText
    """veterinary, phyto, radiation, border_guard, railway_commercial, railway_technical, sanitary …"""
    authority: ShortText = ""
    """Country of the agency."""
    what: Literal["hold", "lift", "control", "conform", "discrepancy", "certificate", "refusal"]
    reference: ShortText = ""
    crossing: ShortText = ""
    document: DocumentRef | None = None
    reason: Text = ""


class RiskIndicator(Event, frozen=True, kw_only=True, tag="risk.indicator"):
    """A shared risk indicator: restricted, never public. Scope fields are matched against shipments."""

    authority: AuthorityCode
    participants: tuple[AuthorityCode, ...] = ()
    secrecy: Literal["participants", "own"] = "own"
    valid_from: Instant
    valid_until: Instant
    hs_prefixes: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    traders: tuple[str, ...] = ()
    risk_class: ShortText = ""
    score: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5


class CrossingCondition(Event, frozen=True, kw_only=True, tag="network.crossing"):
    """A crossing opens, closes or is limited (quota, loading ban, wind). Concerns every train heading there."""

    crossing: Name
    state: Literal["open", "closed", "limited"]
    direction: Literal["both", "west", "east"] = "both"
    reason: ShortText = ""
    expected_until: Instant | None = None
    trains_per_day: Annotated[int, msgspec.Meta(ge=0, le=500)] | None = None


SiteEvent = TerminalEvent | SealEvent | AgencyNotice | RiskIndicator | CrossingCondition
