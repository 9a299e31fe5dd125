"""Everything that an outside party may say, as one union: what intake decodes."""
from __future__ import annotations

from topics.events.base import Heartbeat
from topics.events.customs import CustomsNotice
from topics.events.operations import OperationsEvent
from topics.events.rail import RailEvent
from topics.events.sites import SiteEvent
from topics.events.trade import TradeEvent

OutsideEvent = RailEvent | TradeEvent | SiteEvent | CustomsNotice | OperationsEvent | Heartbeat
