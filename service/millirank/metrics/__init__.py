"""What a server tells of itself: recorded in every process, added up in one, read by Prometheus."""

from .exposition import Endpoint, Exposition
from .families import FAMILIES, STALL, TIME_BOUNDS
from .lag import LoopLag
from .recorder import Metrics

__all__ = ["FAMILIES", "STALL", "TIME_BOUNDS", "Endpoint", "Exposition", "LoopLag", "Metrics"]
