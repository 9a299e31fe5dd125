"""Chinese sentences by key; `{name}` is filled in."""
TEXTS: dict[str, str] = {
    "route.side_ambiguous": "{authority} 的报文 {what}（{code}）未指明本路线的监管侧，指明之前不产生效力。",
    "route.unmapped_office": "{authority} 的海关机构 {office} 未在路网中登记，仅显示其自身报文。",
}
