"""What a long build shows: a bar on a terminal, lines in a log."""

from io import StringIO

from rich.console import Console

from millirank.commands.told import EVERY, Lines, told


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_log_has_each_steps_begin_and_end_and_is_never_silent_for_long() -> None:
    file, clock = StringIO(), Clock()
    say = Lines(Console(file=file, width=20), clock)
    say("reading shop [a]")
    for batch in range(1, 1001):
        clock.now += EVERY / 320  # exact in binary
        say(f"calibrating: {batch / 1000:.0%}, batch {batch}")
    say("calibrating: 100%, batch 1000")
    say("sealing")
    assert file.getvalue().splitlines() == [
        "reading shop [a]",
        "calibrating: 0%, batch 1",
        "calibrating: 32%, batch 321",
        "calibrating: 64%, batch 641",
        "calibrating: 96%, batch 961",
        "calibrating: 100%, batch 995",
        "sealing",
    ]


def test_where_there_is_no_terminal_a_build_says_what_it_does() -> None:
    file = StringIO()
    with told(Console(file=file, width=80), "building") as say:
        say("layer by layer: 4%, encoder.layer.0")
    assert file.getvalue().splitlines() == ["building", "layer by layer: 4%, encoder.layer.0"]


def test_a_terminal_has_a_bar_that_goes_with_what_is_said() -> None:
    file = StringIO()
    console = Console(file=file, width=120, force_terminal=True, color_system=None, legacy_windows=False)
    bars = []
    with told(console, "building") as say:
        progress = say._progress  # type: ignore[attr-defined]
        for line in ("exporting [x]", "layer by layer: 25%, a", "layer by layer: 50%, b", "sealing"):
            say(line)
            (task,) = progress.tasks
            bars.append((task.description, task.total, task.completed))
            progress.refresh()
    assert bars == [
        (r"exporting \[x]", None, 0),
        ("layer by layer: 25%, a", 100, 25),
        ("layer by layer: 50%, b", 100, 50),
        ("sealing", None, 0),
    ]
    shown = file.getvalue()
    assert "━" * 10 in shown
    assert "exporting [x]" in shown
