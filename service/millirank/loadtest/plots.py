"""Curves of a load test as SVG."""

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING

from millirank_engines.base import BackendUnavailable

from .results import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIX = "`pip install millirank[loadtest]`"
STYLES = ("-", "--", ":", "-.")  # of the runs that lie over one another
LATENCIES = ("first p50", "first p99", "final p50", "final p95", "final p99")
PLOTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (  # title, axis, metrics
    ("Latency of answered queries", "ms from the intended send time", LATENCIES),
    ("Throughput", "answered queries/s", ("answered",)),
    ("Rerank depth", "candidates", ("depth mean", "depth min")),
    ("Less, or nothing", "% of queries", ("refused", "errors", "degraded")),
)
Curves = Mapping[str, Sequence[Row]]  # rows of each run, by its label


def need() -> None:
    """Checks that plots can be made, before anything is measured.

    Raises:
        BackendUnavailable: without matplotlib.
    """
    try:
        import matplotlib as mpl  # noqa: F401
    except ModuleNotFoundError as error:
        raise BackendUnavailable("matplotlib", FIX) from error


def curves(rows: Sequence[Row], metric: str) -> tuple[list[float], list[float]]:
    """A metric against the offered rate, ascending; cases without either are left out."""
    by_case: dict[str, dict[str, float]] = {}
    for row in rows:
        by_case.setdefault(row.case, {})[row.metric] = row.value
    points = sorted((one["offered"], one[metric]) for one in by_case.values() if "offered" in one and metric in one)
    return [x for x, _ in points], [y for _, y in points]


def svg(runs: Curves, bound_ms: float) -> str:
    """The four plots of PLOTS, one SVG element; each run in a line style of its own.

    Raises:
        BackendUnavailable: without matplotlib.
    """
    need()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "millirank", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(12, 8), layout="constrained")
        for axes, (title, unit, metrics) in zip(figure.subplots(2, 2).flat, PLOTS, strict=True):
            _draw(axes, runs, metrics)
            axes.set(title=title, xlabel="offered queries/s", ylabel=unit, ylim=(0, None))
            axes.grid(alpha=0.3)
            if not axes.lines:
                continue
            axes.legend(fontsize=7)
            if metrics is LATENCIES:
                axes.axhline(bound_ms, color="black", linewidth=0.8)
                axes.set_yscale("log")  # what keeps no bound goes far beyond it
                axes.set_ylim(bound_ms / 10, None)
                axes.yaxis.set_major_formatter("{x:g}")
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _draw(axes: "Axes", runs: Curves, metrics: Sequence[str]) -> None:
    for place, (label, rows) in enumerate(runs.items()):
        for colour, metric in enumerate(metrics):
            offered, values = curves(rows, metric)
            if offered:
                said = f"{label}: {metric}" if len(runs) > 1 else metric
                axes.plot(offered, values, f"C{colour}{STYLES[place % len(STYLES)]}", marker=".", label=said)
