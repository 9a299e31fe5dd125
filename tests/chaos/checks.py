"""Says from the logs alone what was lost, wrong, or said twice. Pure: every check has a test that it fires (test_checks.py)."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from agents.demo.reader import stage_of
from agents.ledger.rows import GENESIS, Rows
from agents.ledger.rows import LogRecord as LedgerRecord
from agents.runner.cells import RESERVED, unpack
from agents.runner.clock import Clock
from agents.runner.draft import REVISION_HEADER
from agents.settings import STAGES
from streams.audit import Auditor
from tests.chaos.load import Message
from tests.chaos.logs import Logs
from tests.chaos.outputs import RESTORES, Span, outputs
from tests.chaos.progress import outcomes
from tests.chaos.reference import final_cells, fold_alone, folds, last_said, merged, whole
from tests.sim.worlds import topics
from topics.codec import Refused
from topics.events.outputs import BatchOutcomes, DeadLetter

SAID_MAX = 12
OTHERS = tuple(stage for stage in STAGES if stage not in ("clearance", "ledger"))
"""Stages that work at least once in either mode, and say of each input what came of it. The ledger says nothing, it writes rows."""
Place = tuple[str, int, int]


class Found(msgspec.Struct):
    """What the checks count; `faults` says the first of each in words."""

    records: int = 0
    lost: int = 0
    wrong_keys: int = 0
    backwards: int = 0
    repeated_revisions: int = 0
    duplicates: int = 0
    duplicates_of: dict[str, int] = {}
    outputs: int = 0
    wrong_outputs: int = 0
    output_duplicates: int = 0
    readiness_duplicates: int = 0
    interrupted: int = 0
    faults: list[str] = []

    def say(self, texts: Iterable[str]) -> int:
        """Keep the first few; returns how many there are."""
        found = list(texts)
        self.faults += found[:SAID_MAX]
        return len(found)


def letters(logs: Logs) -> list[DeadLetter]:
    """Every dead letter."""
    return [msgspec.json.decode(r.value or b"", type=DeadLetter) for spec in topics().by_kind("dead_letters") for r in logs.topic(spec.name)]


# -- lost ------------------------------------------------------------------------------------------------------------------
def not_in_the_log(logs: Logs, acknowledged: Mapping[Place, Message]) -> list[str]:
    """Acknowledged by the brokers, and not there with the same bytes."""
    kept = {(r.topic, r.partition, r.offset): (r.key, r.value) for topic in {place[0] for place in acknowledged} for r in logs.topic(topic)}
    return [f"{t}/{p}/{o}: acknowledged, but not in the log" for (t, p, o), m in sorted(acknowledged.items()) if kept.get((t, p, o)) != (m.key, m.value)]


def unaccounted(logs: Logs, found: Found) -> list[str]:
    """Records of any stage's input without an outcome, with two that differ, or refused and not kept."""
    stages = stage_of(topics())
    auditor = Auditor(stages)
    for topic, partition in logs.ends:
        if topic in stages:
            auditor.partition(topic, partition)
    for topic in stages:
        for r in logs.topic(topic):
            auditor.record(r.topic, r.partition, r.offset, r.key, r.value)
    for _, said in outcomes(logs):
        auditor.outcome(said)
    for letter in letters(logs):
        auditor.dead_letter(letter)
    account = auditor.account()
    found.records = account.records
    more = account.unaccounted - len(account.faults)
    return [*account.faults, *(f"and {more} more" for _ in range(max(0, more)))]


def poison_not_kept(logs: Logs, poison: set[Place]) -> list[str]:
    """What no stage can read must be a dead letter of intake, and nothing else of the outside messages."""
    kept = {(x.topic, x.partition, x.offset) for x in letters(logs) if x.stage == "intake"}
    return [f"{t}/{p}/{o}: poison, but no dead letter" for t, p, o in sorted(poison - kept)]


# -- wrong -----------------------------------------------------------------------------------------------------------------
def wrong_state(logs: Logs, clock: Clock) -> list[str]:
    """Keys whose final state is not what the fold makes of its input topic as it lies there."""
    faults: list[str] = []
    for fold in folds():
        expected, actual = fold_alone(fold, logs, clock), final_cells(logs.topic(fold.state_topic))
        for key in sorted(expected.keys() | actual.keys()):
            if key not in actual or key not in expected:
                faults.append(f"{fold.name} {key}: {'has no state' if key not in actual else 'has a state'}, the fold over the input log says otherwise")
            else:  # the offset in the header may be lower: an input that changes nothing writes nothing
                mine, other = merged(fold, actual[key]), merged(fold, expected[key])
                if differ := [name for name in mine if mine[name] != other[name]]:
                    faults.append(f"{fold.name} {key}: {', '.join(differ)} differ from the fold over the input log")
    return faults


def wrong_words(logs: Logs, clock: Clock) -> list[str]:
    """Sides, trains, alerts and restricted views of which the last word is not what the whole system says in memory of the same outside messages."""
    expected, actual = whole(logs, clock), last_said({name for name, _ in logs.parts}, logs.topic)
    return [f"{side}: last word {actual.get(side)}, must be {expected.get(side)}"
            for side in sorted(expected.keys() | actual.keys()) if expected.get(side) != actual.get(side)]


def ahead(logs: Logs, kept: Mapping[tuple[str, int], tuple[int, bytes]]) -> list[tuple[str, int]]:
    """Partitions of which the ledger has read more than is in these logs: they were read before it."""
    last = {place: records[-1].offset if records else -1 for place, records in logs.parts.items()}
    return [place for place, (next_offset, _) in sorted(kept.items()) if next_offset > last.get(place, -1) + 1]


def wrong_ledger(logs: Logs, kept: Mapping[tuple[str, int], tuple[int, bytes]]) -> list[str]:
    """Partitions whose hash chain in the database is not the chain over the log. `kept`: next offset and last link by topic and partition."""
    faults = []
    for (topic, partition), (next_offset, link) in sorted(kept.items()):
        rows, expected = Rows(), GENESIS
        for r in logs.parts.get((topic, partition), []):
            record = LedgerRecord(r.topic, r.partition, r.offset, r.timestamp * 1000, r.key, r.value, r.headers)
            if r.offset < next_offset:
                try:
                    expected = rows.add(record, expected)
                except Refused:  # parked by the ledger: not in the chain
                    continue
        if expected != link:
            faults.append(f"ledger {topic}/{partition}: what was written up to {next_offset} is not what the log says")
    return faults


# -- order -----------------------------------------------------------------------------------------------------------------
def state_backwards(logs: Logs) -> list[str]:
    """State records that are older than one before them of the same key: a former owner wrote after its time."""
    faults = []
    for fold in folds():
        seen: dict[tuple[int, bytes], tuple[int, int]] = {}
        for r in logs.topic(fold.state_topic):
            key = r.key or b""
            if r.value is None or key.startswith(RESERVED.encode()):
                continue
            header, _ = unpack(r.value)
            if (header.offset, header.seq) < seen.get((r.partition, key), (-1, -1)):
                faults.append(f"{r.topic}/{r.partition}/{r.offset}: state of {key.decode()} goes back to input {header.offset}")
            else:
                seen[r.partition, key] = header.offset, header.seq
    return faults


def revisions(logs: Logs) -> tuple[list[str], list[str]]:
    """Along what restores revisions: those that fall, and those that repeat, per shipment and side, shipment with its restricted views, train. Nothing is
    excused: these topics are claimed by their lane's owner, and a former one's late write is refused."""
    falling, repeated = [], []
    seen: dict[tuple[str, bytes], int] = {}
    for r in (r for topic in RESTORES for r in logs.topic(topic)):
        revision = int(dict(r.headers).get(REVISION_HEADER, b"0"))
        if revision == 0:
            continue
        key = r.topic, r.key or b""
        before, name = seen.get(key, 0), key[1].decode()
        if revision < before:
            falling.append(f"{r.topic}/{r.partition}/{r.offset}: {name} falls from revision {before} to {revision}")
        elif revision == before:
            repeated.append(f"{r.topic}/{r.partition}/{r.offset}: {name} repeats revision {revision}")
        seen[key] = max(before, revision)
    return falling, repeated


def said_twice(logs: Logs, stage: str = "clearance") -> int:
    """Inputs of a stage that more than one of its outcome records covers: what they made it say was said again, except where its state held it already."""
    covered: Counter[tuple[str, int, int]] = Counter()
    for r in logs.topic(f"outcomes.{stage}"):
        said = msgspec.json.decode(r.value or b"", type=BatchOutcomes)
        held = {o for low, high in said.absent for o in range(low, high + 1)}
        covered.update((said.topic, said.partition, o) for o in range(said.first, said.last + 1) if o not in held)
    return sum(n - 1 for n in covered.values() if n > 1)


# -- all -------------------------------------------------------------------------------------------------------------------
def check(logs: Logs, acknowledged: Mapping[Place, Message], clock: Clock, kept: Mapping[tuple[str, int], tuple[int, bytes]], *,
          exactly_once: bool = False, cuts: Sequence[Span] = ()) -> Found:
    """All of it. `exactly_once`: how CLEARANCE worked. `cuts`: when workers were cut short, ms UTC."""
    found = Found()
    found.lost += found.say(not_in_the_log(logs, acknowledged))
    found.lost += found.say(unaccounted(logs, found))
    found.lost += found.say(poison_not_kept(logs, {place for place, m in acknowledged.items() if m.poison}))
    found.wrong_keys += found.say(wrong_state(logs, clock))
    found.wrong_keys += found.say(wrong_words(logs, clock))
    found.wrong_keys += found.say(wrong_ledger(logs, kept))
    falling, repeated = revisions(logs)
    found.backwards += found.say(state_backwards(logs)) + found.say(falling)
    found.repeated_revisions += found.say(repeated)
    found.duplicates = said_twice(logs)
    found.duplicates_of = {stage: said_twice(logs, stage) for stage in OTHERS}
    told = outputs(logs, excusable=not exactly_once, cuts=cuts)
    found.lost += found.say(told.lost)
    found.wrong_outputs += found.say(told.wrong)
    found.backwards += found.say(told.backwards)
    found.outputs, found.output_duplicates, found.interrupted = told.outputs, told.duplicates, told.interrupted
    found.readiness_duplicates = told.readiness_duplicates
    return found
