"""Compares rerankers at the depth that the same milliseconds allow, not at the same depth.

python loadtest/depths.py --heads chorus=HEADS demo=HEADS --scores scores.npz base=ENGINE three=ENGINE

Scores are named MODEL@HEADS, as `loadtest/heads.py score` made each; ENGINE is a folder of a reranker's engine. Each
depth is one engine call of so many pairs, as long as most pairs are.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ablation import sets_of
from heads import Head, heads_of, scored
from interleave import by_turns, drawn
from nested import MEASURES
from numpy.typing import NDArray
from report import Row, paired_rows, percentiles, write

from millirank.evaluation import Scores, compare
from millirank.rerank import SPREAD
from millirank_engines import LoadedEngine, open_engine
from millirank_engines.base import cheapest_profile

DEPTHS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 50)
LENGTH = 40  # tokens of a pair: three special ones, a query of a few, a product of 32
BUDGETS = (4, 6, 8, 12, 20, 50, 100)  # milliseconds for the reranker alone
NOTES = (
    "Every depth is timed as one call of so many pairs of 40 tokens, models and depths interleaved in random order on",
    "one machine, which others share; `depth` is the largest whose median fits the milliseconds that the reranker has,",
    "0 the fused order itself. `difference` is to the first model within the same milliseconds, paired, with p of",
    "Fisher's randomization test. `alone` is what the same scores gave when fused scores of a head of fewer than ten",
    "were standardised over that head alone: two candidates then had 1 and -1 whatever lay between them, and the fused",
    "order, which counts twice as much, always won.",
)


def orders_at(heads: Sequence[Head], scores: NDArray[np.float32], depth: int) -> list[list[str]]:
    """The final order of each head with so many candidates reranked.

    Args:
        heads: the heads.
        scores: of each, (heads, width), float32.
        depth: 0 leaves the fused order.
    """
    return [
        head.ranked(one[: min(depth, head.depth)]) if depth else list(head.ids)
        for head, one in zip(heads, scores, strict=True)
    ]


def alone(heads: Sequence[Head], scores: NDArray[np.float32], depth: int) -> list[list[str]]:
    """The same, as if there were no candidates behind those that are reranked."""
    ends = [head.exact + min(depth, head.depth) for head in heads]
    cut = [replace(head, ids=head.ids[:end], prior=head.prior[:end]) for head, end in zip(heads, ends, strict=True)]
    made = orders_at(cut, scores, depth)
    return [[*first, *head.ids[end:]] for first, head, end in zip(made, heads, ends, strict=True)]


def fitting(times: Mapping[int, float], budget: float) -> int:
    """The largest depth whose time, in the unit of the budget, fits; 0 where none does."""
    return max((depth for depth, taken in times.items() if taken <= budget), default=0)


def timed(engines: Mapping[str, LoadedEngine], rounds: int) -> dict[tuple[str, int], list[float]]:
    """Seconds of every depth of every engine, interleaved."""
    random = np.random.default_rng(7)
    runs = {
        (name, depth): drawn(loaded, cheapest_profile(loaded.engine.profiles, depth, LENGTH), depth, LENGTH, random)
        for name, loaded in engines.items()
        for depth in DEPTHS
    }
    return by_turns(runs, rounds, random)


def by_depth(case: str, scores: Mapping[int, Scores], before: Mapping[int, Scores]) -> Iterator[Row]:
    """Figures of every depth of one model on one set, and those of short heads as they were before."""
    for depth, one in scores.items():
        for measure in MEASURES:
            yield Row(f"{case}/{depth}", measure, one.mean(measure), "")
        if depth in before:
            yield Row(f"{case}/{depth}", "ndcg@10 alone", before[depth].mean(MEASURES[0]), "")
            yield from paired_rows(f"{case}/{depth}", "ndcg@10 less alone", compare(one, before[depth], MEASURES[0]))


def by_budget(
    case: str, scores: Mapping[str, Mapping[int, Scores]], times: Mapping[str, Mapping[int, float]]
) -> Iterator[Row]:
    """Figures of every model within the same milliseconds, less those of the first."""
    first = next(iter(scores))
    for budget in BUDGETS:
        for model, depths in scores.items():
            depth, base = fitting(times[model], budget), fitting(times[first], budget)
            if depth not in depths or base not in scores[first]:
                continue  # deeper than these heads are scored
            name = f"{case}: within {budget} ms/{model}"
            yield Row(name, "depth", depth, "")
            yield Row(name, "queries", len(depths[depth].queries), "")
            for measure in MEASURES:
                yield Row(name, measure, depths[depth].mean(measure), "")
                if model != first:
                    found = compare(depths[depth], scores[first][base], measure)
                    yield from paired_rows(name, f"{measure} difference", found)


def main() -> None:
    """Measures and writes docs/benchmarks/reranker-depths.json and reranker-depths.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", nargs="+", required=True, help="NAME=FOLDER that `heads.py make` wrote")
    parser.add_argument("--scores", type=Path, required=True, help="an NPZ file of MODEL@NAME")
    parser.add_argument("--rounds", type=int, default=30, help="of the timing")
    parser.add_argument("models", nargs="+", help="NAME=ENGINE, the first is what the others are compared with")
    given = parser.parse_args()
    folders = dict(text.split("=", 1) for text in given.models)
    taken = timed({name: open_engine(Path(folder)) for name, folder in folders.items()}, given.rounds)
    rows = [row for (name, depth), values in taken.items() for row in percentiles(f"{name}/{depth} pairs", values)]
    rows += [Row(f"{name}/{depth} pairs", "least", 1e3 * min(values), "ms") for (name, depth), values in taken.items()]
    times = {name: {d: 1e3 * float(np.median(taken[name, d])) for d in DEPTHS} for name in folders}
    stored = np.load(given.scores)
    for text in given.heads:
        name, _, folder = text.partition("=")
        heads = heads_of(Path(folder))
        for case, places in sets_of(name, heads, segments=False).items():
            chosen = [heads[place] for place in places]
            deepest = max(head.depth + head.exact for head in chosen)
            depths = (0, *(depth for depth in DEPTHS if depth <= deepest))
            scores: dict[str, dict[int, Scores]] = {}
            for model in folders:
                one = stored[f"{model}@{name}"][places]
                scores[model] = {depth: scored(chosen, orders_at(chosen, one, depth)) for depth in depths}
                before = {depth: scored(chosen, alone(chosen, one, depth)) for depth in depths if 0 < depth < SPREAD}
                rows += by_depth(f"{case}: {model} at each depth", scores[model], before)
            rows += by_budget(case, scores, times)
    write("reranker-depths", "Rerankers at the depth that time allows", NOTES, rows)


if __name__ == "__main__":
    main()
