"""An import without servers: starts them and the workers, waits until every record has its status, audits, stops."""
from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from agents.cli import dead_letters, where
from agents.cli.common import CliError
from agents.cli.import_files import Planned
from agents.demo.crew import SPLIT, Crew
from agents.demo.play import provision
from agents.demo.reader import Reader
from agents.embedded import EmbeddedServers
from agents.ledger.queries import Ledger
from agents.ledger.writer import TOPICS as LEDGER_TOPICS
from agents.settings import group_of
from streams.audit import Account
from topics.events.outputs import ClearanceUpdate


class SideStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where a movement stands at one office or border side."""

    side: str
    state: str
    flags: tuple[str, ...]
    revision: int


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """A shipment and its sides, in order of the route."""

    shipment: str
    document: str
    sides: tuple[SideStatus, ...]


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """What is known after the last record."""

    movements: list[Movement]
    account: Account
    dead_letters: dict[str, int]
    """Stage and code -> how many."""


class Alone:
    """Holds everything that must be stopped again."""

    def __init__(self, servers: where.Servers, keep: Path | None, say: Callable[[str], None]) -> None:
        self._wanted, self._say = servers, say
        self._embedded = EmbeddedServers(keep=keep, on_progress=say)
        self._crew: Crew | None = None
        self.servers = servers
        """With addresses, once started."""

    async def start(self) -> None:
        """Servers, topics, workers. Raises EmbeddedError, CrewError, ProvisioningError."""
        await asyncio.to_thread(self._embedded.start)
        here = self._embedded
        self.servers = where.Servers(msgspec.structs.replace(self._wanted.settings, bootstrap=here.bootstrap, dsn=here.dsn, partitions=here.partitions))
        registry = self.servers.registry()
        await asyncio.to_thread(provision, here.bootstrap, registry)
        self._say(f"{len(registry.topics)} topics made")
        arguments = ["--bootstrap", here.bootstrap, "--partitions", str(here.partitions)]
        if self.servers.settings.overlay:
            arguments += ["--overlay", self.servers.settings.overlay]
        self._crew = Crew(here.data / "workers", arguments, {"RAILCLEAR_DSN": here.dsn})
        await asyncio.to_thread(self._crew.start)
        await asyncio.to_thread(self._crew.wait)
        self._say(f"{len(SPLIT)} workers are ready")

    async def drain(self, planned: list[Planned]) -> Drained:
        """Until all is read, worked on and in the ledger. Raises NotDrained."""
        registry = self.servers.registry()
        outcomes = tuple(spec.name for spec in registry.by_kind("outcomes"))
        reader = Reader(self.servers.settings.bootstrap, registry, tuple(group_of(self.servers.settings.group, stages) for stages in SPLIT),
                        (*LEDGER_TOPICS, *outcomes))
        await reader.drained(lambda _: self._check())
        if behind := await reader.ledger_behind(self.servers.settings.dsn):
            raise CliError(f"the ledger is {behind} records behind", 1)
        account = await reader.account()
        letters = Counter(f"{letter.stage} {letter.code}" for letter in await dead_letters.read(self.servers))
        ledger = await Ledger.open(self.servers.settings.dsn)
        try:
            return Drained(movements=movements(await ledger.everywhere()), account=account, dead_letters=dict(letters))
        finally:
            await ledger.close()

    def _check(self) -> None:
        if self._crew is not None:
            self._crew.check()

    async def stop(self, *, kill: bool) -> None:
        """Everything down; temporary data removed."""
        if self._crew is not None:
            await asyncio.to_thread(lambda: self._crew.stop(kill=kill) if self._crew else None)
        await asyncio.to_thread(self._embedded.stop)


def movements(updates: list[ClearanceUpdate]) -> list[Movement]:
    """Statuses by shipment."""
    found: dict[str, list[Any]] = {}
    for u in sorted(updates, key=lambda u: (u.document, u.shipment, u.order, u.side)):
        found.setdefault(u.shipment, []).append(u)
    return [Movement(shipment=shipment, document=sides[0].document,
                     sides=tuple(SideStatus(side=u.side, state=u.state, flags=u.flags, revision=u.revision) for u in sides))
            for shipment, sides in found.items()]
