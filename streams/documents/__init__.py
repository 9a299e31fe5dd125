"""DOCUMENTS: per document the filings, owner, other numbers, shipments and notices, and what they say of each shipment.

`inputs` what is kept and merged · `slim` how much of a very long one · `names` which number is the canonical one · `cover` which shipments a
document covers · `derive` what follows · `fold` the step. Pure: may import `topics` and the rest of `streams`.
"""
from streams.documents.fold import DocumentsFold

__all__ = ["DocumentsFold"]
