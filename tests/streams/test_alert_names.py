"""Every alert that a shipment can open, by its name: open with the finding, and not without."""
from __future__ import annotations

import pytest

from streams.assess import Assessment, Previous, assess
from streams.rules import pack_of
from tests.streams.border_world import CN_EXIT, KZ_ENTRY, reference
from tests.streams.test_assess_story import KEY, look, underway
from tests.streams.test_rules_fire import CASES, EARLY, Seen

BY_RULE = {
    "ADV-01": "FilingAtRisk", "ADV-02": "FilingOverdue", "ADV-04": "FilingMissing", "ADV-05": "FilingRejected", "ADV-06": "FilingExpired",
    "BORD-01": "LeftWithoutRelease", "BORD-02": "NoNoticeFromAuthority", "DOC-01": "DocumentsDiffer", "DOC-02": "WeightDiffers",
    "DOC-05": "EmptyButHeavy", "GAUGE-01": "NoNextTrain", "LANE-01": "GreenLaneLost", "REC-01": "RecognitionWithdrawn",
    "ROUTE-01": "SideAmbiguous", "SEAL-01": "SealFailed", "SEAL-02": "SealUnproven", "SEAL-04": "SealDiffersFromDocument",
    "TRN-01": "TransitLimitNear", "TRN-02": "TransitEnquiry", "TRN-03": "LegUncovered",
}
"""Rule -> the alert that its finding opens."""


def names(found: Assessment, side: str) -> set[str]:
    return {a.name for a in found.alerts if a.side == side}


def seen(case: Seen) -> tuple[Assessment, set[str]]:
    found = look(case.facts, case.now, case.ref, case.said)
    return found, names(found, case.side)


@pytest.mark.parametrize("rule", sorted(BY_RULE))
def test_an_alert_is_open_with_its_finding_and_only_with_it(rule: str) -> None:
    code, fires, silent = CASES[rule]
    there, elsewhere = fires(), silent()
    found, open_ = seen(there)
    assert BY_RULE[rule] in open_
    mine = [a for a in found.alerts if a.name == BY_RULE[rule] and a.side == there.side]
    assert {a.rule.partition("@")[0] for a in mine} == {rule}
    assert all(a.key.startswith(f"{BY_RULE[rule]}/{KEY}/{there.side}") for a in mine)
    assert all(set(a.titles) == {"en", "zh", "ru"} for a in mine)
    assert code in {f.code for u in found.updates if u.side == there.side for f in u.findings}
    assert BY_RULE[rule] not in seen(elsewhere)[1]


def test_facts_that_are_refused_open_an_alert_at_their_side_alone() -> None:
    ref = reference()
    full = assess(KEY, underway(), ref, (), EARLY, pack_of(ref), Previous(limited=(KZ_ENTRY,)))
    assert "FactsLimit" in names(full, KZ_ENTRY)
    assert "FactsLimit" not in names(full, CN_EXIT)
    assert "FactsLimit" not in {a.name for a in look(underway(), EARLY).alerts}
