"""The checks of what the outside was told: silent on a sound log, and each fault is found, deliberate drops of whole topics first of all."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import pytest

from agents.runner.draft import REVISION_HEADER
from streams.effects import LogRecord
from tests.chaos.logs import Logs
from tests.chaos.outputs import OUTWARD, READINESS, Span, Told, outputs
from tests.chaos.test_checks import fullest, logs
from tests.sim.worlds import topics
from topics.events.outputs import ClearanceUpdate, TrainReadiness
from topics.registry import READINESS_REVISIONS, RESTRICTED_REVISIONS

Harm = Callable[[Logs], None]
KINDS = {spec.name: spec.kind for spec in topics().topics.values()}
BORDER, OTHER = "border.cn-kz-alashankou-dostyk.kz", "border.by-pl-brest-malaszewicze.pl"
COVERT = "restricted.cn"


def every(kind: str) -> Harm:
    """All that was sent to topics of a kind is gone."""
    def harm(log: Logs) -> None:
        found = [place for place in log.parts if KINDS[place[0]] == kind and log.parts[place]]
        assert found, f"the sound log has nothing on topics of kind {kind}"
        for place in found:
            log.parts[place] = []

    return harm


def one(topic: str, at: int = 3) -> Harm:
    def harm(log: Logs) -> None:
        del log.parts[fullest(log, topic)][at]

    return harm


def moved(source: str, target: str) -> Harm:
    """A record that is on one topic is on another, too."""
    def harm(log: Logs) -> None:
        records = log.parts.setdefault(fullest(log, target), [])
        records.append(renumbered(log.parts[fullest(log, source)][0], len(records), target))

    return harm


def renumbered(r: LogRecord, offset: int, topic: str = "") -> LogRecord:
    return msgspec.structs.replace(r, offset=offset, topic=topic or r.topic)


def rewritten(topic: str, change: Callable[[ClearanceUpdate], ClearanceUpdate]) -> Harm:
    def harm(log: Logs) -> None:
        records = log.parts[fullest(log, topic)]
        records[3] = changed(records[3], change)

    return harm


def changed(r: LogRecord, change: Callable[[ClearanceUpdate], ClearanceUpdate]) -> LogRecord:
    return msgspec.structs.replace(r, value=msgspec.json.encode(change(msgspec.json.decode(r.value or b"", type=ClearanceUpdate))))


def swapped(topic: str) -> Harm:
    """The first two words about a side come in the wrong order."""
    def harm(log: Logs) -> None:
        records = log.parts[fullest(log, topic)]
        first = msgspec.json.decode(records[0].value or b"", type=ClearanceUpdate)
        other = next(i for i, r in enumerate(records) if i and (u := msgspec.json.decode(r.value or b"", type=ClearanceUpdate)).side == first.side
                     and u.shipment == first.shipment)
        records[0], records[other] = records[other], records[0]

    return harm


ALWAYS = ((0, 1 << 62),)
"""A worker may have been cut short at any time."""


def told(harm: Harm, *, excusable: bool = True) -> Told:
    log = logs()
    harm(log)
    return outputs(log, excusable=excusable, cuts=ALWAYS)


def test_a_sound_log_has_every_publication_where_it_belongs() -> None:
    found = told(lambda log: None, excusable=False)
    assert (found.lost, found.wrong, found.backwards, found.duplicates, found.readiness_duplicates, found.interrupted) == ([], [], [], 0, 0, 0)
    assert found.outputs == sum(len(records) for place, records in logs().parts.items() if KINDS[place[0]] in OUTWARD)


@pytest.mark.parametrize("kind", ["border", "office", "territory", "status", "refusals", "readiness"])
def test_that_all_sends_to_a_kind_of_topic_are_lost_is_found(kind: str) -> None:
    assert len(told(every(kind)).lost) > 3


@pytest.mark.parametrize(("harm", "what", "words"), [
    (one(BORDER), "lost", f"{BORDER} lacks revision"),
    (one("status.ktz"), "lost", "status.ktz lacks revision"),
    (one("office.pl"), "lost", "office.pl lacks revision"),
    (one("clearance.history", -1), "lost", "clearance.history lacks revision"),
    (one("clearance.history", -1), "wrong", "is not in clearance.history"),
    (moved(BORDER, OTHER), "wrong", "does not belong here"),
    (moved("clearance.history", "territory.ru"), "wrong", "does not belong here"),
    (rewritten(BORDER, lambda u: msgspec.structs.replace(u, state="RELEASED", order=99)), "wrong", "is not what its reader may see"),
    (rewritten("clearance.history", lambda u: msgspec.structs.replace(u, order=99)), "wrong", "is not what its reader may see"),
    (swapped(BORDER), "backwards", "falls from revision"),
    (swapped("clearance.history"), "backwards", "falls from revision"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_fault_is_found(harm: Harm, what: str, words: str) -> None:
    log = logs()
    harm(log)
    found: list[str] = getattr(outputs(log, excusable=False, cuts=ALWAYS), what)
    assert any(words in text for text in found), found


def test_a_revision_with_two_contents_is_found() -> None:
    log = logs()
    records = log.parts[fullest(log, "clearance.history")]
    records.append(renumbered(changed(records[0], lambda u: msgspec.structs.replace(u, order=99)), len(records)))
    assert any("two contents" in text for text in outputs(log, excusable=True, cuts=ALWAYS).wrong)


def readiness(log: Logs, topic: str) -> list[int]:
    """Where the words about the train are of which most is said; on one partition."""
    records = log.parts[fullest(log, topic)]
    found = [(at, msgspec.json.decode(r.value or b"")) for at, r in enumerate(records)]
    runs = Counter(said["run"] for _, said in found if said["type"] == "train.readiness")
    mine = runs.most_common(1)[0][0]
    return [at for at, said in found if said.get("run") == mine and said["type"] == "train.readiness"]


@pytest.mark.parametrize("topic", ["status.cr", READINESS, RESTRICTED_REVISIONS, COVERT, BORDER])
def test_a_revision_has_one_content_wherever_it_is_said(topic: str) -> None:
    log = logs()
    records = log.parts[fullest(log, topic)]
    at = readiness(log, topic)[0] if topic in ("status.cr", READINESS) else 0
    harmed = (records[at].value or b"").replace(b'"revision":', b'"more":1,"revision":')
    records.append(msgspec.structs.replace(renumbered(records[at], len(records)), value=harmed))
    found = outputs(log, excusable=True, cuts=ALWAYS)
    assert [text for text in found.wrong if text.startswith(topic) and "has two contents of revision" in text] == found.wrong != []
    records[-1] = renumbered(records[at], len(records) - 1)
    assert outputs(log, excusable=True, cuts=ALWAYS).wrong == [], "the same again is none"


@pytest.mark.parametrize("topic", ["status.cr", READINESS])
def test_a_train_whose_revisions_fall_is_found(topic: str) -> None:
    log = logs()
    records, at = log.parts[fullest(log, topic)], readiness(log, topic)
    records[at[0]], records[at[1]] = records[at[1]], records[at[0]]
    found = outputs(log, excusable=True, cuts=ALWAYS).backwards
    assert len(found) == 1
    assert topic in found[0]
    assert "falls from revision" in found[0]


def views(log: Logs, words: int) -> list[LogRecord]:
    """So many words about one restricted side, as its authority hears them, and as they are restored."""
    old = log.parts[fullest(log, COVERT)][0]
    view, key = msgspec.json.decode(old.value or b"", type=ClearanceUpdate), b"S"
    said = [msgspec.json.encode(msgspec.structs.replace(view, shipment="S", revision=n)) for n in range(1, words + 1)]
    for topic in (COVERT, RESTRICTED_REVISIONS):
        records = log.parts[fullest(log, topic)]
        records += [LogRecord(topic, records[0].partition, len(records) + n, newest(log), key, value, ()) for n, value in enumerate(said)]
    return log.parts[fullest(log, COVERT)]


def test_a_restricted_view_whose_revisions_fall_is_found() -> None:
    log = logs()
    records = views(log, 2)
    assert outputs(log, excusable=True, cuts=ALWAYS).backwards == []
    records[-1], records[-2] = records[-2], records[-1]
    assert [text for text in outputs(log, excusable=True, cuts=ALWAYS).backwards if COVERT in text and "falls from revision 2 to 1" in text]


@pytest.mark.parametrize(("topic", "words"), [(COVERT, f"is not what {RESTRICTED_REVISIONS} says"), (READINESS, f"is not what {READINESS} says")])
def test_that_two_topics_say_different_things_under_one_revision_is_found(topic: str, words: str) -> None:
    log = logs()
    records = log.parts[fullest(log, topic)]
    at = 0 if topic == COVERT else next(at for at in readiness(log, topic) if b'"railway":"cr"' in (records[at].value or b""))
    records[at] = msgspec.structs.replace(records[at], value=(records[at].value or b"").replace(b'"revision":', b'"more":1,"revision":'))
    found = outputs(log, excusable=True, cuts=ALWAYS).wrong
    assert len(found) == 1
    assert words in found[0]


def test_a_train_s_revision_that_nothing_restores_is_found_and_one_that_nobody_heard_is_made_good_only_after_a_crash() -> None:
    log = logs()
    place = fullest(log, READINESS_REVISIONS)
    gone = log.parts[place].pop(0)
    assert len([text for text in outputs(log, excusable=True, cuts=ALWAYS).lost if f"{READINESS_REVISIONS} lacks" in text]) == 1
    more = tuple((name, b"%d" % (int(value) - 1) if name == REVISION_HEADER else value) for name, value in gone.headers)
    log.parts[place] = [msgspec.structs.replace(gone, headers=more), gone, *log.parts[place]]
    assert (outputs(log, excusable=True, cuts=ALWAYS).lost, outputs(log, excusable=True, cuts=ALWAYS).interrupted) == ([], 1)
    assert len(outputs(log, excusable=True).lost) == 1


def test_a_readiness_that_says_again_what_was_said_last_is_a_duplicate_of_its_own() -> None:
    log = logs()
    records = log.parts[fullest(log, READINESS)]
    last = records[readiness(log, READINESS)[-1]]
    said = msgspec.json.decode(last.value or b"", type=TrainReadiness)
    later = msgspec.structs.replace(said, revision=said.revision + 1, at=said.at + 60_000_000)
    records += [renumbered(last, len(records)), msgspec.structs.replace(renumbered(last, len(records) + 1), value=msgspec.json.encode(later))]
    found = outputs(log, excusable=False, cuts=ALWAYS)
    assert (found.readiness_duplicates, found.duplicates) == (2, 0)


def test_a_record_that_is_there_again_is_a_duplicate() -> None:
    log = logs()
    for topic in (BORDER, "clearance.history"):
        records = log.parts[fullest(log, topic)]
        records.append(renumbered(records[0], len(records)))
    assert outputs(log, excusable=False, cuts=ALWAYS).duplicates == 2


def same(r: LogRecord, u: ClearanceUpdate) -> bool:
    said = msgspec.json.decode(r.value or b"{}")
    return (said.get("shipment"), said.get("side"), said.get("revision")) == (u.shipment, u.side, u.revision)


def copies(log: Logs, u: ClearanceUpdate, revision: int) -> list[tuple[tuple[str, int], LogRecord]]:
    """This word as it is on all its topics, under another revision."""
    found = []
    for place, records in log.parts.items():
        for r in records if KINDS[place[0]] in (*OUTWARD, "clearance_history", "clearance_status") else ():
            if same(r, u):
                headers = tuple((name, b"%d" % revision if name == REVISION_HEADER else value) for name, value in r.headers)
                found.append((place, msgspec.structs.replace(changed(r, lambda u: msgspec.structs.replace(u, revision=revision)), headers=headers)))
    return found


def add(log: Logs, found: list[tuple[tuple[str, int], LogRecord]]) -> None:
    """A second after all the rest."""
    after = newest(log) + 1_000
    for place, r in found:
        log.parts[place].append(msgspec.structs.replace(renumbered(r, len(log.parts[place])), timestamp=after))


def newest(log: Logs) -> int:
    return max(r.timestamp for records in log.parts.values() for r in records)


def last_word(log: Logs) -> ClearanceUpdate:
    return msgspec.json.decode(log.parts[fullest(log, "clearance.history")][-1].value or b"", type=ClearanceUpdate)


def test_what_is_said_again_under_a_new_revision_is_a_duplicate_wherever_it_was_said() -> None:
    """A tick or a sweep that was carried out twice has no outcome record that would tell."""
    log = logs()
    last = last_word(log)
    more = copies(log, last, last.revision + 1)
    assert {KINDS[name] for (name, _), _ in more} >= {"clearance_history", "clearance_status", "status"}
    add(log, more)
    found = outputs(log, excusable=False, cuts=ALWAYS)
    assert (found.lost, found.wrong, found.backwards) == ([], [], [])
    assert found.duplicates == len(more)


def test_an_alert_that_opens_again_is_a_duplicate() -> None:
    log = logs()
    records = log.parts[fullest(log, "ops.alerts")]
    last = next(r for r in reversed(records) if b'"side":"' in (r.value or b""))
    records.append(renumbered(last, len(records)))
    assert outputs(log, excusable=False, cuts=ALWAYS).duplicates == 1


def cut_short(log: Logs, kind: str) -> int:
    """A worker was killed when the last publication of a shipment was not yet on topics of a kind; its successor said every side again. Returns how many
    outputs are missing."""
    final = last_word(log)
    last = {u.side: u for r in log.topic("clearance.history") for u in (msgspec.json.decode(r.value or b"", type=ClearanceUpdate),)
            if u.shipment == final.shipment}
    more = [one for u in last.values() for one in copies(log, u, final.revision + 1)]
    missing = 0
    for (name, _), records in log.parts.items():
        if KINDS[name] == kind:
            before = len(records)
            records[:] = [r for r in records if not same(r, final)]
            missing += before - len(records)
    add(log, more)
    return missing


def test_what_a_crash_cut_short_and_the_successor_made_good_is_interrupted_and_nothing_is_excused_exactly_once() -> None:
    log = logs()
    missing = cut_short(log, "status")
    assert missing > 0
    found = outputs(log, excusable=True, cuts=ALWAYS)
    assert (found.lost, found.wrong, found.backwards) == ([], [], [])
    assert found.interrupted == missing
    assert found.duplicates > missing
    assert len(outputs(log, excusable=False, cuts=ALWAYS).lost) == missing


def test_what_only_the_history_lacks_after_a_crash_is_interrupted_and_nothing_is_excused_exactly_once() -> None:
    log = logs()
    assert cut_short(log, "clearance_history") == 1
    found = outputs(log, excusable=True, cuts=ALWAYS)
    assert (found.lost, found.wrong) == ([], [])
    assert found.interrupted > 1
    strict = outputs(log, excusable=False, cuts=ALWAYS)
    assert len(strict.lost) == 1
    assert len(strict.wrong) == found.interrupted - 1


def first_step(log: Logs) -> tuple[ClearanceUpdate, list[ClearanceUpdate]]:
    """Of a shipment whose first step speaks of several sides and is on a border other than the first side's own: what is said of the first side, and of all."""
    steps: dict[tuple[str, int], list[ClearanceUpdate]] = {}
    for r in log.topic("clearance.history"):
        u = msgspec.json.decode(r.value or b"", type=ClearanceUpdate)
        steps.setdefault((u.shipment, u.revision), []).append(u)
    began = {shipment: min(n for s, n in steps if s == shipment) for shipment, _ in steps}
    found = next(said for (shipment, revision), said in steps.items() if began[shipment] == revision and len(said) > 3)
    return found[0], found


def cut_in_history(log: Logs) -> tuple[ClearanceUpdate, list[ClearanceUpdate]]:
    """History has only the first side of a shipment's first step, whose topics have heard all; then the successor says every side again, and nothing more."""
    kept, step = first_step(log)
    every = [one for u in step for one in copies(log, u, kept.revision + 1)]
    for (name, _), records in log.parts.items():
        if KINDS[name] in (*OUTWARD, "clearance_history", "clearance_status"):
            records[:] = [r for r in records if not _about(r, kept.shipment) or any(same_step(r, u) for u in step)]
        if KINDS[name] == "clearance_history":
            records[:] = [r for r in records if not any(same(r, u) for u in step[1:])]
    add(log, every)
    return kept, step


def _about(r: LogRecord, shipment: str) -> bool:
    return shipment.encode() in (r.value or b"") or (r.key or b"").startswith(shipment.encode())


def same_step(r: LogRecord, u: ClearanceUpdate) -> bool:
    """This word, or what restores its revision."""
    return same(r, u) or ((r.key or b"").decode() == f"{u.shipment}|{u.side}" and dict(r.headers).get(REVISION_HEADER) == b"%d" % u.revision)


def test_a_step_that_history_has_heard_in_part_is_known_whole_from_what_restores_it() -> None:
    log = logs()
    kept, step = cut_in_history(log)
    found = outputs(log, excusable=True, cuts=ALWAYS)
    assert (found.lost, found.wrong) == ([], [])
    assert found.interrupted >= len(step) - 1
    strict = outputs(log, excusable=True)
    assert [text for text in strict.wrong if "does not belong here" in text and kept.side in text], "nobody was cut short"


def test_a_side_that_history_has_heard_of_excuses_nothing() -> None:
    """Taken off the route, it is no reader of what the same step says of others; its tombstone carries the revision, too."""
    log = logs()
    kept, step = cut_in_history(log)
    gone = next(u for u in step if u.authority != kept.authority and u.crossing == kept.crossing)
    place, at = next((place, n) for place, records in log.parts.items() if place[0] == "clearance.history" for n, r in enumerate(records) if same(r, kept))
    off = msgspec.structs.replace(gone, state="CANCELLED", flags=(*gone.flags, "off_route"))
    log.parts[place].insert(at + 1, msgspec.structs.replace(log.parts[place][at], value=msgspec.json.encode(off)))
    found = outputs(log, excusable=True, cuts=ALWAYS).wrong
    assert [text for text in found if "does not belong here" in text and kept.side in text]


def test_a_topic_of_a_side_that_the_step_has_not_spoken_of_is_no_place_for_it() -> None:
    log = logs()
    _, step = cut_in_history(log)
    for place in [place for place in log.parts if place[0] == "clearance.status"]:
        log.parts[place] = [r for r in log.parts[place] if not any(same_step(r, u) for u in step[1:])]
    assert [text for text in outputs(log, excusable=True, cuts=ALWAYS).wrong if "does not belong here" in text]


def test_nothing_is_excused_where_nobody_was_cut_short() -> None:
    log = logs()
    before = log.parts[fullest(log, "clearance.history")][-1].timestamp
    missing = cut_short(log, "status")
    again = newest(log)
    assert before < again
    assert len(outputs(log, excusable=True).lost) == missing
    assert len(outputs(log, excusable=True, cuts=((0, before - 1), (again + 1, again + 9_000))).lost) == missing
    assert outputs(log, excusable=True, cuts=((again - 500, again - 400),)).lost == []


def test_a_readiness_that_only_one_topic_has_is_made_good_by_a_later_one_and_the_last_is_not() -> None:
    def without(which: int, cuts: Sequence[Span] = ALWAYS) -> Told:
        log = logs()
        place = fullest(log, "status.cr")
        mine = [r for r in log.parts[place] if b'"train.readiness"' in (r.value or b"")]
        assert len(mine) > 2
        log.parts[place].remove(mine[which])
        return outputs(log, excusable=False, cuts=cuts)

    assert (without(0).lost, without(0).interrupted) == ([], 1)
    assert (len(without(0, ()).lost), without(0, ()).interrupted) == (1, 0), "nobody was cut short"
    assert len(without(-1).lost) == 1


def test_a_restricted_view_that_its_authority_has_not_heard_of_is_lost() -> None:
    log = logs()
    view = msgspec.structs.replace(last_word(log), authority="KZ")
    log.add(LogRecord(RESTRICTED_REVISIONS, 0, 0, 0, view.shipment.encode(), msgspec.json.encode(view), ()))
    assert [text for text in outputs(log, excusable=True, cuts=ALWAYS).lost if "restricted.kz lacks" in text]
    log.add(LogRecord("restricted.kz", 0, 0, 0, view.shipment.encode(), msgspec.json.encode(view), ()))
    assert outputs(log, excusable=True, cuts=ALWAYS).lost == []
