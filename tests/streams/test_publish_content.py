"""What of an update a reader acts on: the short way, where nothing rides on the ETA but the ETA itself, gives what the long way gives."""
from __future__ import annotations

import msgspec

from streams.clearance.publish import content, digest
from tests.streams.test_assess_story import BY_THEN, look, there
from topics.events.outputs import ClearanceUpdate


def long_way(update: ClearanceUpdate) -> bytes:
    """Everything left out by name."""
    return digest(msgspec.structs.replace(update, revision=0, assessed_at=0, eta=None, actions=(), filings=(), findings=()))


def test_a_side_without_filings_actions_and_findings_has_the_same_digest_either_way() -> None:
    bare = [u for u in look(there(), BY_THEN).updates if not (u.actions or u.filings or u.findings)]
    assert len(bare) >= 3
    for update in bare:
        assert content(update) == long_way(update)
        assert content(msgspec.structs.replace(update, eta=(1, 2, 3))) == long_way(update)
        assert content(msgspec.structs.replace(update, revision=7, assessed_at=8)) == long_way(update)


def test_what_a_reader_acts_on_changes_it() -> None:
    update = next(u for u in look(there(), BY_THEN).updates if not (u.actions or u.filings or u.findings))
    assert content(msgspec.structs.replace(update, movable=not update.movable)) != content(update)
