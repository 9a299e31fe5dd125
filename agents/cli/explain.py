"""`railclear explain`: a status with everything that it rests on, now or as it was published at an instant."""
from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

import typer

from agents.cli import where
from agents.cli.ask import Id, listed, matches
from agents.cli.common import At, CliError, Config, Dsn, Json, Overlay, examples, out, parse_time, print_json, run_async, stamp
from agents.ledger.queries import Ledger
from agents.ledger.rows import micros
from streams.explain.document import explain as explained
from streams.explain.say import LANGUAGES, say
from topics.events.outputs import ClearanceUpdate


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog=examples("explain CSQU3054383 --at run/ --lang ru", "explain 20GB5M2723461FGVR3 --side PL:ENTRY --at run/",
                                 "explain CSQU3054383 --as-of 2026-03-09T12:00:00+01:00 --json"))
    def explain(
        identifier: Id,
        side: Annotated[str, typer.Option(metavar="S", help="Only this side: its id, or a part of it that is unique on the route.")] = "",
        as_of: Annotated[str, typer.Option("--as-of", metavar="T", help="What was published at this instant: ISO 8601 with zone.")] = "",
        lang: Annotated[str, typer.Option(metavar="|".join(LANGUAGES), help="Language of the sentences.")] = "en",
        at: At = None, dsn: Dsn = None, config: Config = None, overlay: Overlay = None, json: Json = False,
    ) -> None:
        """Say per side whose word the status rests on, what is proven, failed or unknown by which law, and what to do next.

        Exit code 1: nothing known of it, or nothing published until then.
        """
        if lang not in LANGUAGES:
            raise CliError(f"--lang {lang!r} is not spoken here; choose {', '.join(LANGUAGES)}")
        moment = parse_time(as_of) if as_of else None
        servers = where.find(at, dsn=dsn, config=config, overlay=overlay, need="dsn")
        raise typer.Exit(run_async(_explain(servers, identifier, side, moment, lang, json=json)))


async def _explain(servers: where.Servers, identifier: str, side: str, as_of: datetime | None, lang: str, *, json: bool) -> int:
    async with where.ledger(servers) as ledger:
        found = await matches(ledger, identifier)
        if len(found) > 1:
            return listed(found, identifier, json=json)
        shipment = found[0][0]
        updates = await ledger.statuses(shipment, as_of)
        if not updates:
            raise CliError(await _silent(ledger, shipment, as_of), 1)
        chosen = _chosen(updates, side)
        until = await ledger.recorded_at(shipment, as_of) if as_of else None
        facts = await ledger.facts(shipment, until)
        events = await ledger.events(sorted(evidence_of(chosen)))
    document = explained(chosen, facts, servers.reference, lang)
    if json:
        print_json({"shipment": shipment, "as_of": None if as_of is None else micros(as_of), "lang": lang, "explained": document, "statuses": chosen,
                    "events": events})
        return 0
    out.print(document.text(), markup=False, soft_wrap=True, end="")
    if events:
        out.print("\n" + say("ex.h.evidence", lang), markup=False)
    for event_id, event in sorted(events.items(), key=lambda item: (item[1]["event_time"] or item[1]["recorded"], item[0])):
        at = "" if event["event_time"] is None else stamp(micros(event["event_time"]))
        out.print(f"  {event_id}  {event['body'].get('code', '')}  {at}  ({stamp(micros(event['recorded']))})", markup=False, soft_wrap=True)
    return 0


async def _silent(ledger: Ledger, shipment: str, as_of: datetime | None) -> str:
    """Why there is no status to explain."""
    first = min((u.assessed_at for u in await ledger.first_statuses(shipment)), default=None)
    if first is None:
        return f"shipment {shipment} is known, but no status of it has been published"
    until = f" until {as_of.isoformat()}" if as_of else ""
    return f"nothing was published of shipment {shipment}{until}; its first status is of {stamp(first)}"


def _chosen(updates: list[ClearanceUpdate], side: str) -> list[ClearanceUpdate]:
    """The sides asked for. Raises CliError naming those there are."""
    if not side:
        return updates
    exact = [u for u in updates if u.side.upper() == side.upper()]
    near = exact or [u for u in updates if side.upper() in u.side.upper()]
    if len(near) == 1:
        return near
    some = "several sides" if near else "no side"
    raise CliError(f"{some} of this route {'contain' if near else 'contains'} {side!r}: " + ", ".join(u.side for u in near or updates), 1)


def evidence_of(updates: Iterable[ClearanceUpdate]) -> set[str]:
    """Ids of every event that these statuses rest on."""
    found: set[str] = set()
    for u in updates:
        found |= {e.id for e in u.evidence} | {u.basis.evidence} | {r.id for s in u.seals for r in s.readings}
        said: list[Any] = [*u.conditions, *u.findings]
        found |= {e for one in said for e in one.evidence}
    return found - {""}
