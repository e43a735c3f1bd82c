"""How the Python interpreter is set for steady work: used by every process that serves."""

import gc
import sys

SWITCH = 0.0001  # seconds that a thread may keep the interpreter from another; Python's own 5 ms are half an SLA


def settle() -> None:
    """Call it once everything is loaded.

    What was made until now lives as long as the process: frozen, it is not walked again by every full collection,
    which would stop the event loop for tens of milliseconds.
    """
    sys.setswitchinterval(SWITCH)
    gc.collect()
    gc.freeze()
