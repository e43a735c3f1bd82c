"""How far a TensorRT build is: its phases, nested and with steps, as one line and one share; and how it is stopped."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Progress = Callable[[str], None]


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Phases:
    """The phases that have begun and not ended, by name; pure, told by a monitor."""

    def __init__(self) -> None:
        self._phases: dict[str, _Phase] = {}
        self._share = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of so many steps begins within its parent, if it has one."""
        self._phases[name] = _Phase(parent or None, max(1, steps))

    def step(self, name: str, number: int) -> None:
        """The step of that number, from 0, is done; numbers may leave some out."""
        if name in self._phases:
            self._phases[name].done = number + 1

    def finish(self, name: str) -> None:
        """The phase ends, whether all its steps were told or not."""
        self._phases.pop(name, None)
        if not self._phases:
            self._share = 1.0

    def share(self) -> float:
        """How much is done, 0 to 1; it never falls."""
        roots = [name for name, phase in self._phases.items() if phase.parent not in self._phases]
        if roots:
            self._share = max(self._share, min(1.0, self._done(roots[0])))
        return self._share

    def _done(self, name: str) -> float:
        phase = self._phases[name]
        within = [self._done(child) for child, other in self._phases.items() if other.parent == name]
        return min(1.0, (phase.done + max(within, default=0.0)) / phase.steps)

    def __str__(self) -> str:
        inner = next(reversed(self._phases), "done")
        return f"{self.share():.0%}, {inner.lower()}"


class Stop:
    """Asks a build to end at its next step; what asked for it is raised when the build has ended."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self.cause: Exception | None = None

    def ask(self, cause: Exception | None = None) -> None:
        """Asks."""
        self.cause = self.cause or cause
        self._asked.set()

    def __bool__(self) -> bool:
        return self._asked.is_set()


def progress_monitor(trt: Any, say: Progress, stop: Stop) -> Any:  # noqa: ANN401 - TensorRT's module and its classes
    """TensorRT's own monitor: says each new line, and ends the build when it is asked to.

    An exception of say ends the build, too, and is stop.cause: TensorRT would swallow it.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # its base is known at run time only
        def __init__(self) -> None:
            super().__init__()
            self._phases, self._said, self._lock = Phases(), "", threading.Lock()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._tell(self._phases.start, phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(self._phases.step, phase_name, step)
            return not stop

        def phase_finish(self, phase_name: str) -> None:
            self._tell(self._phases.finish, phase_name)

        def _tell(self, change: Callable[..., None], *what: object) -> None:
            with self._lock:  # TensorRT may time tactics in several threads
                change(*what)
                line = str(self._phases)
                if line == self._said or stop:
                    return
                self._said = line
                try:
                    say(f"building the plan: {line}")
                except Exception as error:  # noqa: BLE001 - raised again when the build has ended
                    stop.ask(error)

    return Monitor()
