"""The full set, a test per scenario (`pytest -m chaos`). `make chaos` runs the same with a line per scenario and a report."""
from __future__ import annotations

import pytest

from tests.chaos.__main__ import label, line
from tests.chaos.carry import carry
from tests.chaos.plan import Scenario
from tests.chaos.scenarios import full

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


@pytest.mark.parametrize("scenario", full(), ids=label)
async def test_scenario(scenario: Scenario) -> None:
    row = await carry(scenario)
    assert row.well, line(row)
