"""Russian sentences by key; `{name}` is filled in."""
TEXTS: dict[str, str] = {
    "route.side_ambiguous": "{authority}: сообщение {what} ({code}) не указывает стороны этого маршрута; пока не укажет, действия не имеет.",
    "route.unmapped_office": "Орган {office} ({authority}) не внесён в сеть; показаны только его собственные сообщения.",
}
