"""From the facts of one shipment to the status of every side: `core.assess`. Pure; imports status, rules, network and reference only."""
from streams.assess.core import Assessment, Previous, Wanted, assess
from streams.assess.updates import stamp

__all__ = ["Assessment", "Previous", "Wanted", "assess", "stamp"]
