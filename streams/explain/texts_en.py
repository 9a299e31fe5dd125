"""English sentences by key; `{name}` is filled in."""
TEXTS: dict[str, str] = {
    "route.side_ambiguous": "{authority} said {what} ({code}) without naming a side of this route; it has no effect until it does.",
    "route.unmapped_office": "Office {office} of {authority} is not in the network; only its own messages are shown.",
}
