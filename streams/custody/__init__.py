"""CUSTODY: per container what it carries from when to when, which train it is on, where it is, its locks and seals.

`inputs` what is kept and merged · `spans` which shipment an instant belongs to · `places` which side a place is · `presence`, `seals`,
`trip` what follows · `fold` the step. Pure: may import `topics` and the rest of `streams`.
"""
from streams.custody.fold import CustodyFold

__all__ = ["CustodyFold"]
