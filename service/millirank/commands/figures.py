"""The figures of an evaluation: as rows of a benchmark's result, as tables and as words."""

from collections.abc import Iterator, Mapping

from rich.table import Table

from millirank.evaluation import ALL, MEASURES, Comparison, Segment, compare, paired
from millirank.evaluation.report import Side, names
from millirank.evaluation.result import Result
from millirank.loadtest.results import Row

NAMED = 5  # wins and losses


def rows_of(result: Result, segments: Mapping[str, Segment]) -> Iterator[Row]:
    """Every mean with its interval, what misspelling costs, and how much without a good answer was answered."""
    for order, by_segment in result.scores.items():
        for name, scores in by_segment.items():
            case = order if name == ALL else f"{name}/{order}"
            yield Row(case, "queries", len(scores.queries), "")
            for measure in MEASURES:
                low, high = scores.interval(measure)
                yield Row(case, measure, scores.mean(measure), "")
                yield from (Row(case, f"{measure} low", low, ""), Row(case, f"{measure} high", high, ""))
        for name, share in result.answered[order].items():
            yield from (Row(f"{name}/{order}", "queries", len(segments[name].judgments), ""),)
            yield Row(f"{name}/{order}", "answered", share, "")
        for wrong, right in spellings({name: segments[name] for name in by_segment}).items():
            typed, meant = paired(by_segment[wrong], by_segment[right], segments[wrong].meant)
            if not typed.queries:  # what was meant has no right answer
                continue
            found = compare(typed, meant, "ndcg@10")
            case = f"{wrong} less {right}/{order}"
            yield from difference_rows(case, found)
            base = meant.mean("ndcg@10")
            yield Row(case, "lost", -100 * found.difference / base if base else 0.0, "%")


def difference_rows(case: str, found: Comparison) -> Iterator[Row]:
    """A comparison as rows."""
    yield Row(case, "difference", found.difference, "")
    yield from (Row(case, "low", found.interval[0], ""), Row(case, "high", found.interval[1], ""))
    yield Row(case, "p", found.p, "")
    for name, pairs in (("wins", found.wins), ("losses", found.losses)):
        yield Row(case, name, len(pairs), "queries")


def spellings(segments: Mapping[str, Segment]) -> dict[str, str]:
    """For each segment of misspellings, the segment that has the correct ones."""
    return {
        wrong: right
        for wrong, one in segments.items()
        for right, other in segments.items()
        if one.meant and any(meant in other.judgments for meant in one.meant.values())
    }


def table(result: Result, segment: str, judged: Segment, depth: int) -> Table:
    """A segment: a row an order, a column a measure, with 95 % intervals."""
    by_order = {order: by_segment[segment] for order, by_segment in result.scores.items()}
    count = sum(len(grades) for grades in judged.judgments.values())
    scored = len(next(iter(by_order.values())).queries)
    every = len(judged.judgments)
    left_out = f" of {every}, the others have no right answer" if scored < every else ""
    made = Table(
        title=f"{segment}: {scored} queries{left_out}, {count} judgments, depth {depth}; 95 % bootstrap intervals"
    )
    made.add_column("order")
    for measure in MEASURES:
        made.add_column(measure, justify="right")
    for order, scores in by_order.items():
        cells = []
        for measure in MEASURES:
            low, high = scores.interval(measure)
            cells.append(f"{scores.mean(measure):.3f}\n[dim]{low:.3f} to {high:.3f}[/]")
        made.add_row(order, *cells)
    return made


def overview(result: Result, segments: Mapping[str, Segment], measure: str) -> Table:
    """Many segments: a row each, a column an order; of those without a good answer the share that found anything."""
    made = Table(title=f"{measure}; of segments without a good answer, the share that found anything")
    for head in ("segment", "queries", *result.scores):
        made.add_column(head, justify="left" if head == "segment" else "right")
    for name, one in segments.items():
        cells = []
        for order, by_segment in result.scores.items():
            value = by_segment[name].mean(measure) if name in by_segment else result.answered[order][name]
            cells.append(f"{value:.3f}")
        made.add_row(name, f"{len(one.judgments):,}", *cells)
    return made


def told(segment: str, found: Comparison, first: Side, second: Side, measure: str) -> str:
    """A comparison in words."""
    low, high = found.interval
    change = f"{found.difference:+.3f} ({low:+.3f} to {high:+.3f}, p {found.p:.2g})"
    counts = f"{len(found.wins)} wins, {len(found.losses)} losses in {found.queries} queries"
    lines = [f"{segment}: {' against '.join(names(first, second))}, {measure}: {change}, {counts}"]
    for word, pairs in (("most won", found.wins), ("most lost", found.losses)):
        listed = ", ".join(f"{query} {change:+.2f}" for query, change in pairs[:NAMED])
        lines.append(f"  {word}: {listed or 'none'}")
    return "\n".join(lines)
