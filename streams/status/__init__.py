"""How a status is computed (status-model): facts of one side in, any order; the status, its flags and its reasons out.

`states` words and answers · `view` facts of a scope · `documents`, `demands`, `seals`, `release` the four questions · `ladder` one scope ·
`rollup` the side · `edges` what is expected to follow what. Pure; may import `topics.facts` only.
"""
from streams.status.edges import Cause, causes_of, expected
from streams.status.rollup import scope_status, side_of, side_status
from streams.status.states import (
    Basis,
    Block,
    Condition,
    Demand,
    DocState,
    Document,
    Evidence,
    Group,
    Reading,
    ScopeStatus,
    Seal,
    SealVerdict,
    SideRules,
    SideStatus,
    State,
)
from streams.status.view import FACTS_MAX

__all__ = [
    "FACTS_MAX", "Basis", "Block", "Cause", "Condition", "Demand", "DocState", "Document", "Evidence", "Group", "Reading", "ScopeStatus", "Seal",
    "SealVerdict", "SideRules", "SideStatus", "State", "causes_of", "expected", "scope_status", "side_of", "side_status",
]
