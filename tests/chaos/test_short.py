"""Chaos in three minutes: real brokers, PostgreSQL and workers, each taken away once. The full set is `make chaos`."""
from __future__ import annotations

import pytest

from tests.chaos import stock_faust
from tests.chaos.__main__ import line
from tests.chaos.carry import carry
from tests.chaos.plan import Scenario
from tests.chaos.scenarios import SHORT, SHORT_EXACTLY

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.mark.parametrize("scenario", [SHORT, SHORT_EXACTLY], ids=lambda s: s.mode.replace(" ", "-"))
async def test_nothing_is_lost_wrong_or_out_of_order(scenario: Scenario) -> None:
    row = await carry(scenario)
    print(line(row))
    assert row.faults == ()
    assert row.well, line(row)
    assert row.inputs > 200
    assert row.poison > 0
    assert row.worker_restarts >= 1


def test_the_same_crash_test_catches_the_loss_of_stock_faust_and_finds_none_here() -> None:
    found = stock_faust.compare()
    assert found["lost"] > 0, found
    assert found["ours_lost"] == 0, found
