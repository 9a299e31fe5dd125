"""CLEARANCE: per shipment the facts in slots, and what they add up to, published when it changes. Pure; key = shipment id."""
from streams.clearance.fold import ClearanceFold
from streams.clearance.state import Shipment

__all__ = ["ClearanceFold", "Shipment"]
