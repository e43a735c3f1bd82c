"""A discrete-event simulation of the service: the policies that serve, fed by a trace, with no wall clock."""

from .device import Device
from .outcome import Ended, Outcome, Summary
from .simulate import Scenario, simulate
from .traces import Trace

__all__ = ["Device", "Ended", "Outcome", "Scenario", "Summary", "Trace", "simulate"]
