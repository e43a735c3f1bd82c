"""A page of one order against another: every segment's figures, then the queries that got worst, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from .comparison import Comparison
from .judgments import Segment
from .result import Result
from .scores import Scores

WORST = 60  # queries that are shown
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1a1a1a }
table { border-collapse: collapse; margin: 1rem 0 } th, td { padding: .25rem .7rem; text-align: right }
th { border-bottom: 1px solid #999 } td:first-child, th:first-child { text-align: left }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: 2rem } ol { padding-left: 1.8rem; margin: .3rem 0 }
section { border-top: 1px solid #ccc; padding: .6rem 0 } h2 { margin: 2rem 0 0 } h3 { margin: .2rem 0 }
.id { color: #777; font-size: .85em } .grade { border-radius: .3rem; padding: 0 .4rem; font-size: .85em }
.g0 { background: #f5c6c6 } .g1 { background: #fbeab7 } .g2 { background: #d6ebc1 } .g3 { background: #a8d99c }
.unjudged { background: #e6e6e6 } .worse { color: #a11 } .better { color: #171 }
"""


@dataclass(frozen=True)
class Side:
    """One of the two orders."""

    result: Result
    order: str

    def scores(self, segment: str) -> Scores:
        """Of a segment."""
        return self.result.scores[self.order][segment]


def names(first: Side, second: Side) -> tuple[str, str]:
    """What the two are called: by their orders where both are of one result."""
    if first.result is second.result:
        return first.order, second.order
    return f"{first.result.name}, {first.order}", f"{second.result.name}, {second.order}"


def page(
    first: Side,
    second: Side,
    comparisons: Mapping[str, Comparison],
    segments: Mapping[str, Segment],
    measure: str,
) -> str:
    """HTML without scripts or outside files.

    Args:
        first: the order that is judged.
        second: what it is compared with.
        comparisons: of first and second by segment.
        segments: the judgments, to show grades.
        measure: that was compared.
    """
    title = " against ".join(names(first, second))
    worst = sorted(
        ((change, name, query) for name, found in comparisons.items() for query, change in found.losses),
    )
    many = f", of which the first {WORST} are shown" if len(worst) > WORST else ""
    return "\n".join(
        [
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>',
            f"<style>{_STYLE}</style><h1>{escape(title)}</h1>",
            f"<p>{escape(measure)}; 95 % intervals by bootstrap over queries, p of Fisher's randomization test.</p>",
            *_summary(first, second, comparisons, measure),
            f"<h2>Worse: {len(worst):,} queries{many}</h2>",
            *(_query(first, second, segments[name], name, query, change) for change, name, query in worst[:WORST]),
            "</html>",
            "",
        ]
    )


def _summary(first: Side, second: Side, comparisons: Mapping[str, Comparison], measure: str) -> Sequence[str]:
    heads = ("segment", "queries", *names(first, second), "difference", "95 %", "p", "wins", "losses")
    rows = ["".join(f"<th>{escape(head)}</th>" for head in heads)]
    for name, found in comparisons.items():
        both = [query for query in first.scores(name).queries if query in set(second.scores(name).queries)]
        cells = (
            name,
            f"{found.queries:,}",
            f"{first.scores(name).of(both).mean(measure):.3f}",
            f"{second.scores(name).of(both).mean(measure):.3f}",
            f"{found.difference:+.3f}",
            f"{found.interval[0]:+.3f} to {found.interval[1]:+.3f}",
            f"{found.p:.2g}",
            f"{len(found.wins):,}",
            f"{len(found.losses):,}",
        )
        rows.append("".join(f"<td>{escape(cell)}</td>" for cell in cells))
    return ["<table>", *(f"<tr>{row}</tr>" for row in rows), "</table>"]


def _query(first: Side, second: Side, segment: Segment, name: str, query: str, change: float) -> str:
    meant = f", meant as {segment.meant[query]}" if query in segment.meant else ""
    grades = segment.judgments[query]
    right = sum(grade > 0 for grade in grades.values())
    called = zip((first, second), names(first, second), strict=True)
    sides = "".join(_side(side, name_, query, grades) for side, name_ in called)
    return (
        f'<section><h3>{escape(query)} <span class="worse">{change:+.3f}</span></h3>'
        f'<span class="id">{escape(name + meant)}; right products: {right:,}</span>'
        f'<div class="sides">{sides}</div></section>'
    )


def _side(side: Side, name: str, query: str, grades: Mapping[str, int]) -> str:
    items = []
    for product in side.result.runs[side.order].get(query, ()):
        grade = grades.get(product)
        mark = "unjudged" if grade is None else f"g{min(3, max(0, grade))}"
        told = "unjudged" if grade is None else str(grade)
        items.append(
            f'<li><span class="grade {mark}">{told}</span> {escape(side.result.titles.get(product, ""))} '
            f'<span class="id">{escape(product)}</span></li>'
        )
    return f"<div><b>{escape(name)}</b><ol>{''.join(items) or '<li>nothing</li>'}</ol></div>"
