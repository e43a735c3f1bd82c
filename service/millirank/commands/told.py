"""How far a long build is: a bar on a terminal, lines in a log elsewhere."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Say = Callable[[str], None]  # told what happens, a line each
EVERY = 10.0  # seconds between two lines of the same step, where there is no terminal
_SHARE = re.compile(r"(\d+)%")  # what of its step is done, as a build says it


@contextmanager
def told(console: Console, begins: str = "") -> Iterator[Say]:
    """What a build says: on a terminal one line with a bar that goes with it, elsewhere a line each.

    Args:
        console: where it is shown.
        begins: what is shown until anything is said.
    """
    if console.is_terminal:
        with Progress(
            SpinnerColumn(),
            BarColumn(20),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        ) as progress:
            bar = Bar(progress)
            bar(begins)
            yield bar
    else:
        lines = Lines(console)
        if begins:
            lines(begins)
        yield lines


def _step(line: str) -> str:
    return _SHARE.split(line, maxsplit=1)[0]


class Bar:
    """A task of rich's a step, of which the latest is shown; one that does not tell its share only moves.

    Args:
        progress: shows it.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress, self._task, self._shown = progress, TaskID(-1), ""

    def __call__(self, line: str) -> None:
        """Shows what is said."""
        share = _SHARE.search(line)
        if _step(line) != self._shown or not self._progress.tasks:
            for task in self._progress.task_ids:
                self._progress.remove_task(task)
            self._shown = _step(line)
            self._task = self._progress.add_task("", total=100.0 if share else None)
        done = float(share[1]) if share else None
        self._progress.update(self._task, description=escape(line), completed=done)


class Lines:
    """Each step's first and last line, and one every EVERY seconds in between.

    Args:
        console: where they go.
        clock: seconds.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._step, self._share, self._due = "", "", 0.0

    def __call__(self, line: str) -> None:
        """Writes what is said, if it is due."""
        step, now = _step(line), self._clock()
        share = found[1] if (found := _SHARE.search(line)) else ""
        if step == self._step and (share == self._share or (now < self._due and share != "100")):
            return
        self._step, self._share, self._due = step, share, now + EVERY
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
