"""ROUTE: what cannot be placed on the route."""
from __future__ import annotations

from streams.reference.model import Reference
from streams.rules import grounds
from streams.rules.case import Case, Finding
from streams.rules.rule import Rule, titles


def _never(case: Case, reference: Reference, now: int) -> Finding | None:
    return None


SIDE_AMBIGUOUS = Rule(
    id="ROUTE-01", family="ROUTE", legal="[D] status-model section 3", certainty="high", check=_never,
    titles=titles("A message names no side of this route", "报文未指明本路线的监管侧", "Сообщение не указывает стороны маршрута"))
"""Raised where facts are put on sides, so that nothing is looked for twice."""


FACTS_LIMIT = Rule(
    id="ROUTE-04", family="ROUTE", legal="[D] design section 3, sizes", certainty="high", check=_never,
    titles=titles("Too many facts: some were refused", "事实过多：部分未收", "Слишком много фактов: часть не принята"))
"""Raised for sides that have refused facts."""


FACTS_MASKED = Rule(
    id="ROUTE-05", family="ROUTE", legal="[D] status-model section 3", certainty="high", check=_never,
    titles=titles("Words of an authority are masked", "监管方报文已被屏蔽", "Слова органа скрыты"))
"""Raised for sides of which a retracted feed had said something."""


def unmapped_office(case: Case, reference: Reference, now: int) -> Finding | None:
    """An office that documents name and the network does not know: its side shows what its authority says, without a row."""
    if case.side.mapped:
        return None
    return Finding(code="UNMAPPED_OFFICE", severity="warning", text="route.unmapped_office", present=case.side.office,
                   args={"authority": case.side.authority, "office": case.side.office})


UNMAPPED_OFFICE = Rule(
    id="ROUTE-02", family="ROUTE", legal="[D] design section 2", certainty="high", check=unmapped_office, kinds=frozenset({"OFFICE"}), needs=grounds.UNMAPPED,
    titles=titles("Office unknown to the network", "路网中未登记的海关机构", "Таможенный орган неизвестен сети"))
