"""When a child that died is started again: a pure policy, with time as an argument."""


class Restarts:
    """The failures of one child.

    One that was ready is started again at once, and so is one that failed for the first time. Further failures in a
    row wait longer and longer; GIVE_UP of them within WINDOW end the service, because somebody must look at it.
    """

    GIVE_UP = 5  # failures in a row
    WINDOW = 60.0  # seconds
    FIRST, LONGEST = 0.25, 10.0  # seconds of back-off: after the second failure, and at most

    def __init__(self) -> None:
        self.was_ready = False  # ever
        self._ready = False  # since the last start
        self._failures: list[float] = []  # since it was last ready; monotonic seconds

    def ready(self) -> None:
        """Notes that the child has started."""
        self.was_ready = self._ready = True
        self._failures.clear()

    def died(self, now: float) -> float | None:
        """How many seconds to wait before the next start; None if there should be none."""
        if self._ready:
            self._ready = False
            return 0.0
        self._failures.append(now)
        recent = self._failures[-self.GIVE_UP :]
        if len(recent) == self.GIVE_UP and now - recent[0] <= self.WINDOW:
            return None
        doublings = len(self._failures) - 2
        return min(self.FIRST * 2**doublings, self.LONGEST) if doublings >= 0 else 0.0
