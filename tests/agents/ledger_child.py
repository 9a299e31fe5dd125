"""A ledger writer as a process of its own, to be killed: `python -m tests.agents.ledger_child BOOTSTRAP DSN GROUP`."""
from __future__ import annotations

import asyncio
import sys

from agents.ledger.writer import LedgerWriter
from tests.agents.ledger_world import STAGES

if __name__ == "__main__":
    asyncio.run(LedgerWriter(sys.argv[1], sys.argv[2], sys.argv[3], STAGES).run())
