"""Words that fill sentences: consequences, messages, kinds of documents, release members, seals. By group and name, in English, Chinese and Russian.

Reference data and facts carry the names; a name without a word here is shown as it is.
"""
from __future__ import annotations

LANGS = ("en", "zh", "ru")
Words = dict[str, tuple[str, str, str]]

CONSEQUENCES: Words = {
    "control at the border": ("control at the border", "在口岸接受查验", "контроль на границе"),
    "temporary storage ends after 90 days": ("temporary storage ends after 90 days", "临时存放期满 90 天终止", "временное хранение кончается через 90 дней"),
    "no entry without preliminary information": ("no entry without preliminary information", "无预先信息不得入境", "без предварительной информации въезда нет"),
    "the train waits": ("the train waits", "列车等待", "поезд стоит"),
    "the train does not leave": ("the train does not leave", "列车不得发车", "поезд не отправится"),
    "no onward movement": ("no onward movement", "不得继续运输", "дальше груз не пойдёт"),
    "not loaded, not declared": ("not loaded, not declared", "不得装车，不得报关", "нет погрузки и декларирования"),
    "not eligible (GTT_LATE), normal procedure": (
        "not eligible for the customs-rail link, normal procedure", "不适用关铁通，按一般程序办理", "канал неприменим, обычный порядок"),
    "not allowed after entry: normal procedure": (
        "not allowed after entry: normal procedure", "进境后不得适用，按一般程序办理", "после въезда нельзя: обычный порядок"),
    "no unloading": ("no unloading", "不得卸车", "выгрузки нет"),
    "no release at the border": ("no release at the border", "口岸不予放行", "на границе не выпустят"),
    "late fee 0.05 % a day": ("late fee of 0.05 % a day", "每日征收 0.05 % 滞报金", "пеня 0,05 % в день"),
    "no exit": ("no exit", "不得出境", "выезда нет"),
}
"""As the filing rows of the reference data name them."""

MESSAGES: Words = {
    "ENS": ("entry summary declaration (ENS)", "入境摘要申报（ENS）", "входная краткая декларация (ENS)"),
    "IE3F51": ("entry summary declaration (ENS, IE3F51)", "入境摘要申报（ENS，IE3F51）", "входная краткая декларация (ENS, IE3F51)"),
    "entry summary declaration": ("entry summary declaration", "入境摘要申报", "входная краткая декларация"),
    "IE015": ("transit declaration (IE015)", "过境申报（IE015）", "транзитная декларация (IE015)"),
    "IE515": ("export declaration (IE515)", "出口申报（IE515）", "экспортная декларация (IE515)"),
    "temporary storage declaration": ("temporary storage declaration", "临时存放申报", "декларация временного хранения"),
    "ПИ": ("preliminary information (ПИ)", "预先信息（ПИ）", "предварительная информация (ПИ)"),
    "ДТ": ("goods declaration (ДТ)", "货物报关单（ДТ）", "декларация на товары (ДТ)"),
    "ТД": ("transit declaration (ТД)", "过境报关单（ТД）", "транзитная декларация (ТД)"),
    "транзитная декларация": ("transit declaration (транзитная декларация)", "过境报关单（транзитная декларация）", "транзитная декларация"),
    "出境铁路列车申报单": ("outbound-train declaration (出境铁路列车申报单)", "出境铁路列车申报单", "декларация отправляемого поезда (出境铁路列车申报单)"),
    "import declaration": ("import declaration", "进口报关单", "импортная декларация"),
    "short import declaration": ("short import declaration", "简易进口申报", "краткая импортная декларация"),
    "customs warehousing declaration": ("customs warehousing declaration", "保税仓储申报", "декларация на таможенный склад"),
    "出口报关单": ("export declaration (出口报关单)", "出口报关单", "экспортная декларация (出口报关单)"),
    "进口报关单": ("import declaration (进口报关单)", "进口报关单", "импортная декларация (进口报关单)"),
    "报关单": ("customs declaration (报关单)", "报关单", "таможенная декларация (报关单)"),
    "预配舱单": ("pre-loading manifest (预配舱单)", "预配舱单", "предварительный манифест (预配舱单)"),
    "装载舱单": ("loading manifest (装载舱单)", "装载舱单", "манифест погрузки (装载舱单)"),
    "原始舱单": ("original manifest (原始舱单)", "原始舱单", "первичный манифест (原始舱单)"),
    "理货报告": ("tally report (理货报告)", "理货报告", "тальманский отчёт (理货报告)"),
    "进境快速通关信息": ("rail fast-clearance data (进境快速通关信息)", "进境快速通关信息", "сведения быстрого оформления (进境快速通关信息)"),
    "中哈海关“关铁通”数据交换申请": (
        "data-exchange application of the customs-rail link (“关铁通”)", "中哈海关“关铁通”数据交换申请", "заявка на обмен данными канала «关铁通»"),
    "TIR-EPD": ("TIR pre-declaration (TIR-EPD)", "TIR 电子预申报（TIR-EPD）", "предварительная декларация МДП (TIR-EPD)"),
}
"""Official names with what they mean, so that who does not read them knows."""

KINDS: Words = {
    "conveyance": ("train declaration", "列车申报单", "декларация поезда"), "declaration": ("customs declaration", "报关单", "таможенная декларация"),
    "dt": ("goods declaration (ДТ)", "货物报关单（ДТ）", "ДТ"), "ens": ("ENS", "入境摘要申报（ENS）", "ENS"),
    "entry_summary": ("entry summary declaration", "入境摘要申报", "входная краткая декларация"), "exit": ("exit", "出境", "выезд"),
    "export": ("export declaration", "出口申报", "экспортная декларация"),
    "exs": ("exit summary declaration (EXS)", "出境摘要申报（EXS）", "EXS"),
    "fast_clearance": ("rail fast clearance", "铁路快通", "быстрое оформление"),
    "gtt": ("data-exchange application", "数据交换申请", "заявка на обмен данными"),
    "import": ("import declaration", "进口申报", "импортная декларация"), "loading_manifest": ("loading manifest", "装载舱单", "манифест погрузки"),
    "manifest": ("manifest", "舱单", "манифест"), "next_transit": ("onward transit declaration", "后续过境申报", "следующая транзитная декларация"),
    "pi": ("preliminary information (ПИ)", "预先信息（ПИ）", "ПИ"), "reexport": ("re-export declaration", "复运出境申报", "декларация реэкспорта"),
    "release": ("goods", "货物", "товары"), "tally": ("tally report", "理货报告", "тальманский отчёт"),
    "td": ("transit declaration (ТД)", "过境报关单（ТД）", "ТД"),
    "temporary_storage": ("temporary storage declaration", "临时存放申报", "декларация временного хранения"), "tir": ("TIR carnet", "TIR 证", "книжка МДП"),
    "transit": ("transit declaration (T1)", "过境申报（T1）", "транзитная декларация (T1)"),
    "warehouse": ("customs warehousing declaration", "保税仓储申报", "декларация на таможенный склад"),
}

MEMBERS: Words = {
    "registered": ("{kind} registered", "{kind}已登记", "{kind}: регистрация"), "released": ("{kind} released", "{kind}已放行", "{kind}: выпуск"),
    "ended": ("{kind} ended", "{kind}已结束", "{kind}: завершение"),
    "amended": ("amendment of {kind} registered", "{kind}修改已登记", "{kind}: исправление принято"),
    "assessed": ("{kind} assessed", "{kind}已评估", "{kind}: оценка"), "presented": ("goods presented", "货物已交验", "товары предъявлены"),
    "risk": ("risk cleared by the authority", "监管方风险排除", "риск снят органом"), "ens_assessed": ("ENS assessed", "ENS 评估完成", "оценка ENS завершена"),
    "done.ended": ("transit ended", "过境已结束", "транзит завершён"), "procedure": ("procedure chosen", "手续已确定", "процедура выбрана"),
    "run": ("next train known", "下一列车已定", "следующий поезд известен"), "seal reading": ("seal read", "封志已读取", "пломба считана"),
    "seal armed": ("lock armed", "锁已启用", "замок взведён"),
    "demand": ("request {kind} closed by the authority", "监管方了结要求 {kind}", "орган закрыл запрос {kind}"),
}
"""What is waited for: `released:td`, `presented`, or a word of ours; {kind} is the document's kind, or the number of a request."""

SEALS: Words = {
    "applied": ("applied", "施封", "установлена"), "armed": ("armed", "启用", "взведена"), "reading": ("reading", "读取", "считывание"),
    "ok": ("ok", "正常", "цела"), "bad": ("bad", "异常", "повреждена"), "wrong_id": ("wrong number", "号码不符", "номер не тот"),
    "tamper": ("tamper", "撬动", "вмешательство"), "broken": ("broken", "损坏", "сломана"), "removed": ("removed", "拆除", "снята"),
    "opened_authorised": ("opened with authority", "授权开启", "вскрыта по акту"),
    "opened": ("opened", "开启", "вскрыта"), "replaced": ("replaced", "更换", "заменена"),
    "lost": ("signal lost", "信号丢失", "сигнал потерян"), "restored": ("signal restored", "信号恢复", "сигнал восстановлен"),
    "battery_low": ("battery low", "电量低", "батарея разряжена"), "deviation": ("off its route", "偏离路线", "отклонение от маршрута"),
}

CHAINS: Words = {
    "customs_lock": ("customs lock", "安全智能锁", "таможенный замок"), "bolt": ("bolt seal", "子弹头封", "болтовая пломба"),
    "zpu": ("ЗПУ", "铁路封（ЗПУ）", "ЗПУ"), "nav": ("navigation seal", "导航封", "навигационная пломба"),
    "navigation": ("navigation seal", "导航封", "навигационная пломба"),
}

ROLES: Words = {
    "consignor": ("consignor", "发货人", "отправитель"), "departure": ("office of departure", "启运地海关", "орган отправления"),
    "closed": ("closed", "关闭", "закрыт"), "limited": ("limited", "受限", "ограничен"), "open": ("open", "开放", "открыт"),
}

PAPERS: Words = {
    "note": ("note", "运单", "накладная"), "manifest": ("manifest", "舱单", "манифест"), "data set": ("data set", "数据集", "набор данных"),
    "TD": ("TD", "过境申报单", "ТД"), "PI": ("PI", "预先信息", "ПИ"),
}
"""How a finding calls the documents that name a seal; others by their own name."""

GROUPS: dict[str, Words] = {
    "cons": CONSEQUENCES, "message": MESSAGES, "kind": KINDS, "member": MEMBERS, "what": SEALS, "chain": CHAINS, "role": ROLES, "state": ROLES, "paper": PAPERS,
}
ARGUMENTS = {"consequence": "cons", "message": "message", "kind": "kind", "what": "what", "chain": "chain", "role": "role", "filer": "role",
             "state": "state"}
"""Names of places in sentences -> group of the words that fill them."""


def found(group: str, name: str, lang: str) -> str:
    """The word; "" when there is none."""
    words = GROUPS.get(group, {}).get(name)
    return words[LANGS.index(lang) if lang in LANGS else 0] if words is not None else ""
