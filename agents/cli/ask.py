"""`railclear status|train|side`: what people ask, by any identifier they have."""
from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from agents.cli import where
from agents.cli.common import At, CliError, Config, Dsn, Json, Overlay, examples, out, parse_duration, print_json, run_async, shown, stamp
from agents.ledger.queries import Ledger
from topics.events.outputs import ClearanceUpdate
from topics.identifiers import run_id

Id = Annotated[str, typer.Argument(metavar="ID", help="Container, MRN, LRN, SMGS or other document number, shipment or train run id.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command(epilog=examples("status CSQU3054383 --at run/", "status 20GB5M2723461FGVR3 --json", "status smgs:30412345 --at run/"))
    def status(identifier: Id, at: At = None, dsn: Dsn = None, config: Config = None, overlay: Overlay = None, json: Json = False) -> None:
        """The status of a shipment at every side of its route. Several matches are listed. Exit code 1: nothing known."""
        servers = where.find(at, dsn=dsn, config=config, overlay=overlay, need="dsn")
        raise typer.Exit(run_async(_status(servers, identifier, json=json)))

    @app.command(epilog=examples("train ktz/8101/2026-03-03 --at run/", "train 8101 --at run/", "train R7QK2M4XVB2D1 --json"))
    def train(
        identifier: Annotated[str, typer.Argument(metavar="ID", help="RAILWAY/NUMBER/DATE as the railway names it, or a train run id.")],
        at: At = None, dsn: Dsn = None, config: Config = None, overlay: Overlay = None, json: Json = False,
    ) -> None:
        """Where the boxes of a train stand at every side. Exit code 1: nothing known."""
        servers = where.find(at, dsn=dsn, config=config, overlay=overlay, need="dsn")
        raise typer.Exit(run_async(_train(servers, identifier, json=json)))

    @app.command(epilog=examples("side CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY --next 12h --at run/", "side dostyk:kz --json --at run/"))
    def side(
        identifier: Annotated[str, typer.Argument(metavar="ID", help="Side id, or a part of one that is unique.")],
        next_: Annotated[str, typer.Option("--next", metavar="12h", help="Only what arrives within this time; without it everything not yet departed.")] = "",
        at: At = None, dsn: Dsn = None, config: Config = None, overlay: Overlay = None, json: Json = False,
    ) -> None:
        """What stands before one border side, by expected arrival. Exit code 1: no such side."""
        servers = where.find(at, dsn=dsn, config=config, overlay=overlay, need="dsn")
        raise typer.Exit(run_async(_side(servers, identifier, parse_duration(next_) if next_ else None, json=json)))


async def matches(ledger: Ledger, identifier: str) -> list[tuple[str, str, str]]:
    """Shipments that an identifier may mean. Raises CliError (exit code 1) when there are none."""
    found = await ledger.find(identifier)
    if not found:
        raise CliError(f"nothing is known of {identifier!r}: no shipment, container, document or train run of that name is in the ledger", 1)
    return found


def listed(found: list[tuple[str, str, str]], identifier: str, *, json: bool) -> int:
    """Say that an identifier means several shipments; exit code."""
    if json:
        print_json({"matches": [{"shipment": s, "kind": k, "value": v} for s, k, v in found]})
    else:
        out.print(f"{identifier} may mean {len(found)} shipments; ask for one of them:")
        for shipment, kind, value in found:
            out.print(f"  {shipment}  ({kind} {value})")
    return 0


async def _status(servers: where.Servers, identifier: str, *, json: bool) -> int:
    async with where.ledger(servers) as ledger:
        found = await matches(ledger, identifier)
        if len(found) > 1:
            return listed(found, identifier, json=json)
        shipment = found[0][0]
        updates = await ledger.statuses(shipment)
        alerts = await ledger.alerts(shipment)
    if json:
        print_json({"shipment": shipment, "sides": updates, "alerts": alerts})
        return 0
    first = updates[0] if updates else None
    out.print(f"[bold]{shipment}[/]  {first.document if first else ''}", highlight=False)
    out.print(table(updates, servers.zone))
    for alert in alerts:
        out.print(f"! {alert.name} {alert.side} since {stamp(alert.at)}: {alert.titles.get('en', '')} {alert.detail}", markup=False)
    return 0


def table(updates: list[ClearanceUpdate], zone_of: Callable[[ClearanceUpdate], str]) -> Table:
    """Sides as rows, times in the border's own zone."""
    made = Table(Column("side", overflow="fold", min_width=24), "state", "basis", "since", "ETA", "margin", "missing", "next action")
    for u in updates:
        zone = zone_of(u)
        counts = " ".join(f"{n} {s}" for s, n in u.counts.items()) if len(u.counts) > 1 else ""
        basis = f"{u.basis.source} {u.basis.code}".strip() if u.basis.kind == "AUTHORITY" else u.basis.kind.lower()
        margin = "" if u.margin_minutes is None else f"{u.margin_minutes / 60:+.1f} h"
        action = u.actions[0].what.get("en", "") if u.actions else ""
        made.add_row(u.side, shown(u.state) + (f"\n{counts}" if counts else ""), basis, stamp(u.since, zone), stamp(u.eta[1], zone) if u.eta else "", margin,
                     ", ".join(u.missing_filings), action)
    return made


async def _train(servers: where.Servers, identifier: str, *, json: bool) -> int:
    async with where.ledger(servers) as ledger:
        runs = await runs_of(ledger, identifier.strip())
        carried = {run: shipments for run in dict.fromkeys(runs) if (shipments := await ledger.on_run(run))}
        if not carried:  # any other identifier: the train that its shipment is on
            known = {s for s, _, _ in await ledger.find(identifier.strip())}
            carried = {u.run: await ledger.on_run(u.run) for s in sorted(known) for u in await ledger.statuses(s) if u.run}
        if len(carried) > 1:
            return _runs_listed(identifier, {run: len(shipments) for run, shipments in carried.items()}, await ledger.names_of(carried), json=json)
        runs, shipments = list(carried), sorted({s for found in carried.values() for s in found})
        if not shipments:
            raise CliError(f"nothing is known of train {identifier!r}; write RAILWAY/NUMBER/DATE or a run id as status shows it", 1)
        updates = {s: await ledger.statuses(s) for s in shipments}
    sides: dict[str, dict[str, Any]] = {}
    for found in updates.values():
        for u in found:
            fresh = {"side": u.side, "order": u.order, "shipments": 0, "movable": 0, "states": {}, "missing": {}, "eta": None, "zone": servers.zone(u)}
            row = sides.setdefault(u.side, fresh)
            row["shipments"] += 1
            row["movable"] += u.movable
            row["states"][u.state] = row["states"].get(u.state, 0) + 1
            for kind in u.missing_filings:
                row["missing"][kind] = row["missing"].get(kind, 0) + 1
            row["eta"] = min(filter(None, (row["eta"], u.eta[1] if u.eta else None)), default=None)
    rows = sorted(sides.values(), key=lambda r: (r["order"], r["side"]))
    if json:
        print_json({"train": identifier, "runs": runs, "shipments": shipments, "sides": rows})
        return 0
    made = Table(Column("side", overflow="fold", min_width=24), "movable", "states", "missing filings", "ETA")
    for r in rows:
        states = "\n".join(f"{n} {shown(s)}" for s, n in sorted(r["states"].items()))
        missing = ", ".join(f"{n} {k}" for k, n in r["missing"].items())
        made.add_row(r["side"], f"{r['movable']} of {r['shipments']}", states, missing, stamp(r["eta"], r["zone"]))
    out.print(made)
    return 0


def _runs_listed(identifier: str, runs: dict[str, int], names: dict[str, str], *, json: bool) -> int:
    if json:
        print_json({"matches": [{"run": run, "train": names.get(run, ""), "shipments": n} for run, n in runs.items()]})
    else:
        out.print(f"{identifier} may mean {len(runs)} train runs; ask for one of them:")
        for run, n in runs.items():
            out.print(f"  {run}  {names.get(run, '')}  {n} shipments", markup=False)
    return 0


async def runs_of(ledger: Ledger, identifier: str) -> list[str]:
    """Run ids of a train as people name it: RAILWAY/NUMBER/DATE (and /ORIGIN), its number alone, or a run id."""
    railway, _, rest = identifier.partition("/")
    number, _, date = rest.rpartition("/")
    if number:
        named = await ledger.runs_named(railway.lower(), number.upper(), date)
        before, _, day = number.rpartition("/")
        return list(dict.fromkeys([*named, run_id(railway, number, date), *([run_id(railway, before, day, date)] if before else [])]))
    return list(dict.fromkeys([identifier, *await ledger.runs_named("", identifier.upper(), "")]))


async def _side(servers: where.Servers, identifier: str, within_s: float | None, *, json: bool) -> int:
    async with where.ledger(servers) as ledger:
        sides = await ledger.sides_like(identifier)
        if identifier in sides:
            sides = [identifier]
        if not sides:
            raise CliError(f"no shipment has a side {identifier!r} on its route; known sides look like CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY", 1)
        if len(sides) > 1:
            if json:
                print_json({"matches": sides})
            else:
                out.print(f"{identifier} may mean {len(sides)} sides; ask for one of them:\n  " + "\n  ".join(sides))
            return 0
        updates = await ledger.at_side(sides[0])
    now = max((u.assessed_at for u in updates), default=0)
    ahead = [u for u in updates if u.state not in ("DEPARTED", "CANCELLED", "NOT_REQUIRED")]
    if within_s is not None:
        ahead = [u for u in ahead if u.present or (u.eta is not None and u.eta[1] <= now + within_s * 1_000_000)]
    ahead.sort(key=lambda u: (u.eta[1] if u.eta else 0, u.shipment))
    if json:
        print_json({"side": sides[0], "as_of": now, "shipments": ahead})
        return 0
    if not ahead:
        within = f" within {within_s / 3600:g} h of {stamp(now)}" if within_s is not None else f" as of {stamp(now)}"
        out.print(f"{sides[0]}: nothing stands or is expected there{within}; {len(updates)} shipments have this side on their route")
        return 0
    zone = servers.zone(ahead[0])
    made = Table("shipment", "document", "state", "ETA", "margin", "missing", "next action", title=f"{sides[0]}, as of {stamp(now, zone)}")
    for u in ahead:
        made.add_row(u.shipment, u.document, shown(u.state), "here" if u.present else stamp(u.eta[1], zone) if u.eta else "",
                     "" if u.margin_minutes is None else f"{u.margin_minutes / 60:+.1f} h", ", ".join(u.missing_filings),
                     u.actions[0].what.get("en", "") if u.actions else "")
    out.print(made)
    return 0
