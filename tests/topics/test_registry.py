"""Topics as values: names, limits, and who may read and write what."""
from __future__ import annotations

from itertools import product

import msgspec
import pytest

from agents.transport import keeper
from topics import registry
from topics.registry import ACCEPTS, OPS, RAILCLEAR, BadRegistry, Registry


class Row(msgspec.Struct, frozen=True):
    id: str = ""
    role: str = ""
    country: str = ""
    code: str = ""
    a_authority: str = ""
    b_authority: str = ""
    customs_border: bool = True


PARTIES = (Row("ktz", "railway", "KZ"), Row("cr", "railway", "CN"), Row("dostyk-terminal", "terminal", "KZ"), Row("lock-operator", "seals", "CN"),
           Row("forwarder", "trade", "DE"), Row("kz-vet", "agency", "KZ"), Row("corridor-desk", "network"))
AUTHORITIES = tuple(Row(code=code) for code in ("CN", "KZ", "RU", "BY", "PL"))
CROSSINGS = (Row("CN-KZ-ALASHANKOU-DOSTYK", a_authority="CN", b_authority="KZ"), Row("BY-PL-BREST-MALASZEWICZE", a_authority="BY", b_authority="PL"),
             Row("KZ-RU-SEMIGLAVYI-OZINKI", a_authority="KZ", b_authority="RU", customs_border=False))


@pytest.fixture(scope="module")
def built() -> Registry:
    return registry.build(PARTIES, AUTHORITIES, CROSSINGS)


def test_the_same_rows_in_any_order_give_the_same_registry(built: Registry) -> None:
    assert registry.build(PARTIES[::-1], AUTHORITIES[::-1], CROSSINGS[::-1]) == built


def test_names_are_lower_case_and_the_topics_of_the_design_are_there(built: Registry) -> None:
    assert all(registry.NAME.fullmatch(name) and name == spec.name for name, spec in built.topics.items())
    for name in ("rail.trains.ktz", "terminal.events.dostyk-terminal", "seals.events.lock-operator", "trade.filings.forwarder", "customs.notices.kz",
                 "agency.notices.kz-vet", "risk.indicators.kz", "network.control.corridor-desk", "trains.in", "clearance.state", "sources.in",
                 "border.cn-kz-alashankou-dostyk.kz", "border.by-pl-brest-malaszewicze.by", "office.pl", "territory.ru", "restricted.cn", "status.ktz",
                 "status.forwarder", "refusals.customs-kz", "outcomes.intake", "dead.letters", "clearance.status", "clearance.history",
                 "train.readiness", "ops.alerts"):
        assert name in built.topics, name


def test_an_inner_border_has_no_border_topic(built: Registry) -> None:
    assert not [name for name in built.topics if name.startswith("border.kz-ru")]


def test_every_party_has_exactly_one_inbound_and_one_refusals_topic(built: Registry) -> None:
    assert set(built.parties) == {row.id for row in PARTIES} | {f"{role}-{a.code.lower()}" for a in AUTHORITIES for role in ("customs", "risk")}
    for party in built.parties.values():
        assert [spec.name for spec in built.inbound if party.id in spec.writers] == [party.inbound]
        assert [spec.name for spec in built.by_kind("refusals") if party.id in spec.readers] == [party.refusals]
        assert built.topics[party.inbound].accepts == ACCEPTS[party.role]


def test_a_party_writes_its_own_inbound_topic_and_nothing_else(built: Registry) -> None:
    for party, (name, spec) in product(built.parties.values(), built.topics.items()):
        assert built.may_write(party.id, name) is (name == party.inbound)
        assert built.may_write(RAILCLEAR, name) is (spec.kind != "inbound")


def test_nobody_reads_another_partys_topics(built: Registry) -> None:
    for party, (name, spec) in product(built.parties.values(), built.topics.items()):
        if built.may_read(party.id, name):
            assert spec.party == party.id or (party.role == "risk" and name == f"restricted.{party.country.lower()}"), (party.id, name)
    for name, spec in built.topics.items():
        if spec.kind == "border":
            assert spec.readers == (f"customs-{name.rpartition('.')[2]}", RAILCLEAR), "only its own authority reads a border topic"


def test_what_is_internal_or_covert_has_no_outside_reader(built: Registry) -> None:
    for name, spec in built.topics.items():
        if spec.kind in ("fold_in", "state", "outcomes"):
            assert spec.readers == spec.writers == (RAILCLEAR,), name
        if spec.kind == "restricted" or name == registry.RESTRICTED_DEAD_LETTERS or name.startswith("risk."):
            assert OPS not in spec.readers, name


def test_a_topic_that_does_not_exist_is_nobodys(built: Registry) -> None:
    assert not built.may_read(RAILCLEAR, "no.such.topic")
    assert not built.may_write("ktz", "no.such.topic")


@pytest.mark.parametrize("partitions", [24, 4])
def test_folds_and_their_states_have_the_same_fixed_partitions(partitions: int) -> None:
    built = registry.build(PARTIES, AUTHORITIES, CROSSINGS, partitions=partitions)
    for fold in registry.FOLDS:
        put, state = built.topics[registry.fold_topic(fold)], built.topics[registry.state_topic(fold)]
        assert put.partitions == state.partitions == partitions
        assert put.fixed_partitions
        assert state.fixed_partitions
        assert put.config["message.timestamp.type"] == "LogAppendTime", "now is the append time"
        assert state.config["cleanup.policy"] == "compact"
        assert state.config["min.compaction.lag.ms"] == "3600000"
    assert built.topics["clearance.status"].partitions == partitions
    assert built.topics["clearance.status"].config["cleanup.policy"] == "compact"
    assert all(spec.partitions >= 1 for spec in built.topics.values())


def test_what_a_restore_reads_is_compacted_soon_and_a_tombstone_outlives_every_image(built: Registry) -> None:
    compacted = [spec for spec in built.topics.values() if spec.config["cleanup.policy"] == "compact"]
    assert {spec.kind for spec in compacted} == {"state", "clearance_status", "restricted_status", "readiness_revisions", "acts"}
    for spec in compacted:
        assert (spec.config["segment.ms"], spec.config["segment.bytes"]) == ("3600000", str(64 << 20)), "the segment that is written to is never compacted"
        assert float(spec.config["min.cleanable.dirty.ratio"]) == 0.2
        assert int(spec.config["segment.bytes"]) > spec.bytes_max
        assert int(spec.config["delete.retention.ms"]) >= 4 * keeper.AGE_MAX_S * 1000, "a deleted key must not come back from an image"


def test_settings_are_strings_and_say_the_record_limit(built: Registry) -> None:
    for spec in built.topics.values():
        assert all(isinstance(value, str) for value in spec.config.values())
        assert spec.config["max.message.bytes"] == str(spec.bytes_max)
    assert built.topics["dead.letters"].bytes_max == 8 * 1024 * 1024
    assert built.topics["clearance.history"].config["retention.ms"] == str(7 * 86_400_000)


@pytest.mark.parametrize(("parties", "word"), [
    ((Row("ktz", "pirate"),), "role"),
    ((Row("ktz", "railway"), Row("ktz", "trade")), "taken"),
    ((Row("railclear", "railway"),), "taken"),
    ((Row("KTZ", "railway"),), "name"),
    ((Row("x", "railway"), Row("railway-x", "railway")), "two specifications"),
])
def test_rows_that_give_no_sound_set_of_topics_are_refused(parties: tuple[Row, ...], word: str) -> None:
    with pytest.raises(BadRegistry, match=word):
        registry.build(parties, (), ())
