"""The GTT rules of the pack, in order."""
from __future__ import annotations

from streams.rules import grounds, gtt
from streams.rules.rule import Check, Rule, titles

LEGAL = "GACC Ann. 2018/166 [S01]; conditions of railclear [D]"


def _rule(number: str, check: Check, en: str, zh: str, ru: str, *, scope: bool = False, pre: bool = True, certainty: str = "med",
          version: int = 1, once: bool = False, pair: bool = True, needs: int = grounds.LINK) -> Rule:
    return Rule(id=f"GTT-{number}", family="GTT", titles=titles(en, zh, ru), legal=LEGAL, certainty=certainty, check=check,
                per="scope" if scope else "side", phase="condition", pre_arrival=pre, kinds=frozenset({"EXIT", "ENTRY"}), version=version, once=once, pair=pair,
                needs=needs)


GTT_RULES = (
    _rule("01", gtt.eligibility, "Customs-rail link: eligible", "关铁通：符合适用条件", "Таможенно-железнодорожный канал: применимо", certainty="high",
          pair=False, needs=grounds.OPTED),
    _rule("02", gtt.application_in_time, "Data-exchange application before the train declaration's review", "数据交换申请早于出境列车申报单审核",
          "Заявка на обмен данными до проверки декларации поезда", certainty="high", scope=True, version=2, once=True),
    _rule("03", gtt.lock_type, "Agreed smart lock, unique, armed before departure", "安全智能锁符合标准、唯一且发车前启用",
          "Согласованный замок, единственный, взведён до отправления", scope=True, version=2),
    _rule("04", gtt.binding, "Lock, container and consignment agree", "锁、箱、运单一致", "Замок, контейнер и накладная совпадают", scope=True, version=2),
    _rule("05", gtt.data_complete, "Data set complete", "交换数据齐全", "Набор данных полон", scope=True),
    _rule("06", gtt.transmission, "Partner customs acknowledged the data in time", "对方海关按时确认收到数据", "Таможня-партнёр вовремя подтвердила данные",
          scope=True, version=2, once=True),
    _rule("07", gtt.recognised_inspection, "Inspection at origin", "启运地查验", "Досмотр в месте отправления", scope=True, version=2, once=True, pair=False),
    _rule("08", gtt.partner_answer, "Partner customs recognises", "对方海关予以认可", "Таможня-партнёр признаёт", scope=True, version=2, once=True),
    _rule("09", gtt.seal_at_border, "Lock read intact at this border", "口岸读锁完好", "Замок считан на границе, цел", scope=True, pre=False, version=2,
          pair=False),
    _rule("10", gtt.seal_failure, "Lock unbroken", "锁未被破坏", "Замок не нарушен", scope=True, version=2),
    _rule("11", gtt.deviation, "On its route", "未偏离路线", "Без отклонения от маршрута", scope=True),
    _rule("12", gtt.load_change, "Same container throughout", "全程同一箱", "Один и тот же контейнер", scope=True),
    _rule("13", gtt.expiry, "Filings within their validity", "申报在有效期内", "Сведения в пределах срока действия", scope=True, version=2, once=True,
          pair=False),
)
