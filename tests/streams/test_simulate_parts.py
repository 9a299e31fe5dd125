"""The simulator's parts: local times, numbers, ways, codes read backwards, the wire."""
from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from streams.reference.model import FilingRow
from streams.simulate import SimOptions, compressed, default_speed
from streams.simulate.codebook import CodeBook, side_row
from streams.simulate.desk import eaeu_office
from streams.simulate.incidents import DOSTYK, assign, strikes
from streams.simulate.noise import noisy
from streams.simulate.numbers import Numbers
from streams.simulate.options import Rates
from streams.simulate.pen import Cast
from streams.simulate.route import way
from streams.simulate.sent import Draft, sent
from streams.simulate.weather import Closures
from streams.simulate.zones import local
from tests.sim.worlds import START, reference
from topics.events.base import Heartbeat, TrainRef
from topics.events.rail import PositionReported
from topics.identifiers import parse_container, parse_mrn, parse_uscc, parse_wagon

HOUR = 3_600_000_000


def micros(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000_000)


@pytest.mark.parametrize(("utc", "country", "offset"), [
    ("2026-03-29T00:59:59+00:00", "PL", 1), ("2026-03-29T01:00:00+00:00", "PL", 2), ("2026-10-25T00:59:59+00:00", "DE", 2),
    ("2026-10-25T01:00:00+00:00", "DE", 1), ("2026-07-01T00:00:00+00:00", "LT", 3), ("2026-01-01T00:00:00+00:00", "KZ", 5),
    ("2026-07-01T00:00:00+00:00", "CN", 8),
])
def test_times_carry_the_offset_of_their_country_on_both_sides_of_summer_time(utc: str, country: str, offset: int) -> None:
    written = local(micros(utc), country)
    assert written.utcoffset() == timedelta(hours=offset)
    assert written == datetime.fromisoformat(utc)


def test_numbers_are_right_and_do_not_repeat() -> None:
    numbers = Numbers(random.Random(4))
    boxes = [parse_container(numbers.container()) for _ in range(3_000)]
    assert len(set(boxes)) == 3_000
    assert len({parse_mrn(numbers.mrn("transit", "PL", START)) for _ in range(500)}) == 500
    for gauge, country, digits in ((1435, "CN", 7), (1520, "KZ", 8), (1435, "PL", 12)):
        assert len(parse_wagon(numbers.wagon(gauge, country))) == digits
    parse_uscc(numbers.uscc())
    assert len(numbers.local("a-very-long-forwarder")) <= 22


def test_customs_codes_in_eaeu_numbers_have_the_length_of_their_country() -> None:
    assert (len(eaeu_office("RU", "RUZABAIK")), len(eaeu_office("KZ", "KZDOSTYK"))) == (8, 5)
    assert eaeu_office("BY", "12345") == "12345"


def test_a_way_east_is_the_way_west_turned_round() -> None:
    corridor = msgspec.structs.replace(reference().corridors["WEST-A"], origins=(), destinations=())
    west, east = (way(reference(), corridor, d, random.Random(1)) for d in ("west", "east"))
    assert west.stops == tuple(reversed(east.stops))
    assert [p.crossing.id for p in west.passes] == [p.crossing.id for p in reversed(east.passes)]
    first, last = west.passes[0], east.passes[-1]
    assert (first.exit_authority, first.entry_authority) == (last.entry_authority, last.exit_authority) == ("CN", "KZ")
    assert (west.stops[first.formed_at].id, east.stops[last.formed_at].id) == ("dostyk", "alashankou")


def test_the_transload_site_behind_a_border_station_is_where_the_next_train_is_formed() -> None:
    corridor = reference().corridors["WEST-A"]
    route = way(reference(), msgspec.structs.replace(corridor, origins=(), destinations=()), "west", random.Random(1))
    brest = next(p for p in route.passes if p.customs and p.exit_authority == "BY")
    assert route.stops[brest.formed_at].id == "malaszewicze"
    assert brest.formed_at == brest.entry_at + 1


@pytest.mark.parametrize(("authority", "kind", "phase", "at", "code"), [
    ("PL", "transit", "registered", "ENTRY", "IE028"), ("PL", "transit", "released", "ENTRY", "IE029"), ("PL", "ens", "registered", "ENTRY", "IE3R01"),
    ("CN", "declaration", "released", "EXIT", "PAS"), ("CN", "conveyance", "released", "EXIT", "ATP"), ("KZ", "td", "released", "ENTRY", "TD-RELEASED"),
    ("KZ", "pi", "rejected", "ENTRY", "PI-REFUSED"), ("LT", "transit", "ended", "EXIT", "IE045"), ("PL", "transit", "ended", "OFFICE", "IE025"),
    ("MN", "release", "released", "ENTRY", "RELEASED"), ("BY", "exit", "released", "EXIT", "EXIT-PERMITTED"), ("PL", "exit", "released", "EXIT", "IE525"),
])
def test_the_usual_code_says_it(authority: str, kind: str, phase: str, at: str, code: str) -> None:
    said = CodeBook(reference()).document(authority, kind, phase, at)
    assert said is not None
    assert said.row.code == code


def test_a_rejection_carries_the_type_that_makes_it_one() -> None:
    said = CodeBook(reference()).document("PL", "transit", "rejected", "ENTRY")
    assert said is not None
    assert (said.row.code, said.reason) == ("IE056", "015")


def test_what_no_code_of_an_authority_says_stays_unsaid() -> None:
    book = CodeBook(reference())
    assert book.condition("MN", "ens_assessed") is None
    assert book.named("PL", "GTT", "ENROLLED") is None


def test_the_most_specific_side_row_is_taken() -> None:
    rows = reference().side_rows
    dostyk = side_row(rows, authority="KZ", union="EAEU", kind="ENTRY", direction="west", procedure="transit", crossing=DOSTYK)
    elsewhere = side_row(rows, authority="KZ", union="EAEU", kind="ENTRY", direction="east", procedure="transit", crossing="KZ-AZ-AKTAU-ALAT")
    assert dostyk is not None
    assert elsewhere is not None
    assert (dostyk.authority, elsewhere.union, elsewhere.procedure) == ("KZ", "EAEU", "transit")


def test_planned_incidents_go_only_where_they_can_happen() -> None:
    corridor = reference().corridors["WEST-K"]
    plans = assign([(0, way(reference(), corridor, "east", random.Random(1)))])
    assert "lock_broken" not in {plan.what for plan, _ in plans[0]}
    assert all(":ENTRY" in side or ":EXIT" in side or side == "LEG" for _, side in plans[0])


def position(at: int = START) -> Draft:
    event = PositionReported(source="ktz", id="m-1", event_time=local(at, "KZ"), lat=45.2, lon=82.5,
                             train=TrainRef(railway="ktz", number="1402", date="2026-03-02"))
    return Draft(at=at, topic="rail.trains.ktz", key="1402", event=event)


def test_a_message_may_come_again_byte_for_byte() -> None:
    drafts = list(noisy(position(), random.Random(1), SimOptions(rates=Rates(duplicate=1.0, out_of_order=0.0, wrong_bytes=0.0))))
    assert [d.expect for d in drafts] == ["applied", "duplicate"]
    assert sent(drafts[0]).value == sent(drafts[1]).value
    assert drafts[1].at > drafts[0].at


def test_a_late_message_is_late_by_no_more_than_the_limit() -> None:
    options = SimOptions(late_hours_max=5, rates=Rates(duplicate=0.0, out_of_order=1.0, wrong_bytes=0.0))
    delays = [d.at - START for n in range(300) for d in noisy(position(), random.Random(n), options)]
    assert min(delays) > 0
    assert max(delays) <= 5 * HOUR


def test_heartbeats_are_neither_late_nor_repeated() -> None:
    beat = Draft(at=START, topic="rail.trains.ktz", key="ktz", event=Heartbeat(source="ktz", id="h", event_time=datetime.fromtimestamp(START / 1e6, UTC)))
    options = SimOptions(rates=Rates(duplicate=1.0, out_of_order=1.0, wrong_bytes=1.0))
    assert list(noisy(beat, random.Random(1), options)) == [beat]


def test_a_train_ready_while_the_crossing_is_closed_leaves_after_it_opens() -> None:
    route = way(reference(), reference().corridors["WEST-A"], "west", random.Random(3))
    closures = Closures(reference(), random.Random(1), SimOptions(), START, [route])
    assert closures.crossing
    assert closures.may_leave(closures.crossing, closures.since) >= closures.until
    assert closures.may_leave(closures.crossing, closures.until) == closures.until
    assert closures.may_leave("CN-MN-ERENHOT-ZAMYNUUD", closures.since) == closures.since


def test_simulated_time_becomes_wall_time_at_the_speed() -> None:
    paced = list(compressed([sent(position(START + HOUR)), sent(position(START))], 3_600.0, START))
    assert [p.offset for p in paced] == [1.0, 0.0]
    with pytest.raises(ValueError, match="not above 0"):
        next(compressed([], 0.0, START))


def test_more_trains_in_the_same_time_are_played_faster() -> None:
    assert default_speed(SimOptions(trains=24)) > default_speed(SimOptions(trains=12)) > 10_000


def test_an_incident_that_is_planned_elsewhere_does_not_strike_here() -> None:
    from streams.simulate.cargo import Consignment
    from streams.simulate.desk import Post
    from topics.events.base import DocumentRef

    c = Consignment(document=DocumentRef(kind="smgs", number="31046586"), boxes=[], parties=(), forwarder="f", direction="west", procedures={})
    c.story["hold"] = f"{DOSTYK}:KZ:ENTRY"
    there = Post(authority="KZ", kind="ENTRY", office="", crossing=DOSTYK, country="KZ", since=0, arrives=0, leaves=0)
    here = msgspec.structs.replace(there, authority="CN", kind="EXIT")
    assert not strikes(random.Random(1), c, "hold", 1.0, here)
    assert strikes(random.Random(1), c, "hold", 0.0, there)
    assert not strikes(random.Random(1), c, "hold", 1.0, there), "it happens once, and nothing else by chance"


def test_a_filing_is_lodged_by_somebody_of_its_authority_s_country() -> None:
    cast = Cast(reference())
    assert cast.country(cast.who("railway", "KZ")) == "KZ"
    assert cast.topic("customs-kz") == "customs.notices.kz"
    assert cast.topic(cast.terminal("dostyk")) == "terminal.events.dostyk"
    assert FilingRow(kind="pi").role == "carrier"
