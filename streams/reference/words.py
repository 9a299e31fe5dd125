"""The closed vocabularies that reference rows may use. A word outside them is refused on load, so a typo never becomes a silent rule."""
from __future__ import annotations

DOCUMENT_KINDS: frozenset[str] = frozenset({
    # China: pre-loading or original manifest, loading manifest, declaration, outbound or inbound train declaration, 快通, arrival and tally reports
    "manifest", "loading_manifest", "declaration", "conveyance", "fast_clearance", "arrival_report", "tally", "gtt", "ecommerce",
    # EAEU: preliminary information, transit declaration, goods declaration for export, permission to leave
    "pi", "td", "dt", "exit",
    # EU and common transit
    "ens", "exs", "export", "reexport", "transit", "next_transit", "temporary_storage", "import", "warehouse", "arrival",
    # TIR, entry summary declarations of others, and any release of an authority without a known code list
    "tir", "guarantee", "entry_summary", "release",
})
"""Kinds of filings and documents with an authority; transport documents (smgs, cim …) are not filings."""

TRANSPORT_KINDS: frozenset[str] = frozenset({"smgs", "cim", "cim_smgs", "lrn", "mrn"})
PHASES: frozenset[str] = frozenset({"sent", "registered", "amended", "assessed", "rejected", "released", "revoked", "invalidated", "ended"})
DEMAND_KINDS: frozenset[str] = frozenset({"control", "hold", "info", "refusal"})
DEMAND_PHASES: frozenset[str] = frozenset({"opened", "started", "discrepancy", "closed", "answered"})
PRESENCE: frozenset[str] = frozenset({"seen", "handed_over", "presented", "departed"})
SEAL_WHATS: frozenset[str] = frozenset({
    "applied", "armed", "reading", "ok", "bad", "tamper", "opened_authorised", "removed", "replaced", "lost", "restored", "deviation",
})
CHAINS: frozenset[str] = frozenset({"customs_lock", "bolt", "zpu", "navigation"})
SIDE_KINDS: frozenset[str] = frozenset({"EXIT", "ENTRY", "OFFICE", "TERRITORY"})
OFFICE_ROLES: frozenset[str] = frozenset({"", "departure", "destination", "inland"})
DIRECTIONS: frozenset[str] = frozenset({"", "west", "east"})
PROCEDURES: frozenset[str] = frozenset({"", "transit", "import", "warehouse", "export", "undecided", "empty"})
CLOCK_REFS: frozenset[str] = frozenset({
    "eta_first_station", "eta_customs_territory", "eta_office_of_first_entry", "eta_office_of_exit", "loading_start", "train_decl_review",
    "presentation", "unloading", "conveyance_declared", "departure",
})
UNIONS: frozenset[str] = frozenset({"EAEU", "EU"})
CONVENTIONS: frozenset[str] = frozenset({"CTC", "EAEU", "TIR"})
FILER_ROLES: frozenset[str] = frozenset({
    "carrier", "declarant", "railway", "holder", "terminal", "exporter", "importer", "sea_carrier", "consignee", "forwarder",
})
PARTY_ROLES: frozenset[str] = frozenset({"railway", "terminal", "seals", "trade", "agency", "risk", "network", "customs", "operations"})
PLACE_KINDS: frozenset[str] = frozenset({"station", "terminal", "port", "hub", "town", "office"})
"""town: a point that only shapes the line between stations."""
AGREEMENT_KINDS: frozenset[str] = frozenset({"gtt", "aeo_mra", "recognition", "exchange", "green_lane", "joint", "sstl", "transit"})
EXCHANGE_FIELDS: frozenset[str] = frozenset({"status", "time", "office", "seal", "inspection"})
CONTROL_TYPES: frozenset[str] = frozenset({"document", "scan", "physical", "veterinary", "phyto", "radiation"})
SYSTEMS: frozenset[str] = frozenset({
    "NCTS", "AES", "ICS2", "CN-MANIFEST", "CN-DECLARATION", "CN-CONVEYANCE", "EAEU-PI", "EAEU-TD", "KZ-ASTANA1", "CEB", "ETIR", "GTT", "GENERIC",
})
RISK_CLASSES: frozenset[str] = frozenset({"explosives", "nuclear", "weapons", "dual_use", "drugs", "organisms", "cites", "waste", "vague"})
RISK_KINDS: frozenset[str] = frozenset({"hs", "un", "cas", "keyword"})
STRENGTHS: frozenset[str] = frozenset({"strong", "weak"})
CERTAINTIES: frozenset[str] = frozenset({"high", "med", "low"})
LANGUAGES: frozenset[str] = frozenset({"", "en", "zh", "ru"})

SOURCE_NUMBERS: frozenset[int] = frozenset(range(1, 142)) - {110, 113, 117}
"""Numbers of the domain reference's source list (its section 10)."""
SOURCE_WORDS: frozenset[str] = frozenset({"M", "M?", "D", "V"})
