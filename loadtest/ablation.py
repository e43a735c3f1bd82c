"""What each part of a reranker's training is worth: docs/benchmarks/NAME.json and NAME.md from stored scores of heads.

python loadtest/ablation.py --heads chorus=HEADS demo=HEADS --scores scores.npz --first base
python loadtest/ablation.py --heads judged=HEADS --scores scores.npz --folds 5 --models cvA cvB --name cross-validation

Scores are named MODEL@HEADS, as `loadtest/heads.py score` made each; with --folds MODELi@HEADS is the model that never
saw part i of the judged queries, and ranks those alone. Where MODELij@HEADS is there, too, a case `chosen` is added:
for each part the model and the weight that are best on the other parts (see nested.py). With --mean a case `mean` is
added that ranks by several models at once, with --weights cases that weigh the reranker otherwise than the service.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from firststage import half
from heads import Head, heads_of, scored
from nested import MEASURES, WEIGHTS, choices, complete, nested
from numpy.typing import NDArray
from recipes import FOLDED, RECIPES
from report import Row, paired_rows, write

from millirank.evaluation import Scores, compare, part_of
from millirank.rerank import WEIGHT

NOTES = (
    "Each model reranks the same heads of the fused order (50 candidates of people's queries, 20 of rule-made ones),",
    "scored on the GPU where it was trained, and blended with the prior as the service does. `judged` leaves products",
    "without a judgment out. `difference` is to the first model (or to the order that is named), paired, with its 95 %",
    "interval by bootstrap over queries and p of Fisher's randomization test. People's queries stand in halves, too:",
    "recipes were chosen on `development`, on the demo's and on rule-made queries; `other` had no say.",
    "",
    "What `millirank train` was told other than for `base`, which has all kinds and --mix dense=1,bm25=0.5,rule=1.5:",
)
MEAN = "mean"  # a case of its own: several models at once
EQUAL = 1e-6  # a smaller spread of scores is none
CHOSEN = "chosen"  # a case of its own: model and weight of each fold by the other folds
SHOWN = {"queries", *(f"ndcg@10{what}" for what in ("", " difference", " difference low", " difference high"))}
SHOWN |= {f"ndcg@10 {what}" for what in ("difference p", "judged", "judged difference", "judged difference p")}
Stored = Mapping[str, NDArray[np.float32]]
Chosen = tuple[list[list[str]], str]  # an order of each query, and what they were made with


def sets_of(name: str, heads: Sequence[Head], *, segments: bool) -> dict[str, list[int]]:
    """Places of the heads by set: people's queries whole and in halves (the demo's are too few), rule-made ones whole.

    Args:
        name: of the catalogue.
        heads: of its queries.
        segments: whether rule-made ones stand by segment, too.
    """
    found: dict[str, list[int]] = {}
    for place, head in enumerate(heads):
        names = [f"{name} {head.set}"]
        if head.set == "judged" and name != "demo":
            names.append(f"{name} {half(head.query)}")
        if segments and head.segment:
            names.append(f"{name} {head.set}: {head.segment}")
        for one in names:
            found.setdefault(one, []).append(place)
    return found


def weighed(models: Sequence[str], weights: Sequence[float]) -> Iterator[tuple[str, str, float]]:
    """What a case is called, its model and its weight: the service's, which is not said, and those asked for."""
    for model in models:
        yield model, model, WEIGHT
        yield from ((f"{model} at {weight:g}", model, weight) for weight in weights if weight != WEIGHT)


def orders_of(
    model: str, name: str, heads: Sequence[Head], stored: Stored, folds: int, weight: float = WEIGHT
) -> list[list[str]] | None:
    """A model's final orders, each query by the fold that never saw it; None where it has not scored these heads.

    A model that was trained without judgments has no folds.
    """
    if model == "bm25":
        return [list(head.words) for head in heads]
    if model == "fused":
        return [list(head.ids) for head in heads]
    whole = not folds or f"{model}@{name}" in stored
    keys = [f"{model}@{name}" if whole else f"{model}{part_of(head.query, folds)}@{name}" for head in heads]
    if any(key not in stored for key in keys):
        return None
    return [head.ranked(stored[key][place], weight) for place, (key, head) in enumerate(zip(keys, heads, strict=True))]


def mean_of(models: Sequence[str], name: str, heads: Sequence[Head], stored: Stored) -> NDArray[np.float32] | None:
    """Means of several models' standard scores, (heads, width); None where one has not scored these heads.

    One model's scores are comparable within one query only, so each is standardised over the head.
    """
    keys = [f"{model}@{name}" for model in models]
    if any(key not in stored for key in keys):
        return None
    mean = np.zeros(stored[keys[0]].shape, np.float32)
    for place, head in enumerate(heads):
        if head.depth:
            scores = np.stack([stored[key][place, : head.depth] for key in keys])
            spread = np.maximum(scores.std(1, keepdims=True), EQUAL)
            mean[place, : head.depth] = ((scores - scores.mean(1, keepdims=True)) / spread).mean(0)
    return mean


def rows_of(case: str, scores: Mapping[str, Scores], first: Sequence[str]) -> Iterator[Row]:
    """Figures of every model on one set, each compared with the first ones."""
    for model, one in scores.items():
        yield Row(f"{case}/{model}", "queries", len(one.queries), "")
        for measure in MEASURES:
            yield Row(f"{case}/{model}", measure, one.mean(measure), "")
            for other in first:
                if other == model or other not in scores:
                    continue
                named = f"{measure} less {other}" if len(first) > 1 else f"{measure} difference"
                yield from paired_rows(f"{case}/{model}", named, compare(one, scores[other], measure))


def choice(name: str, heads: Sequence[Head], stored: Stored, models: Sequence[str], parts: int) -> Chosen | None:
    """The orders of nested choice and what was chosen, where there is anything to choose from."""
    found = [model for model in models if complete(model, name, stored, parts)]
    if not found:
        return None
    made = list(choices(found, name, heads, stored, parts))
    picked = ", ".join(f"{one.model} at {one.weight:g} for part {one.part}" for one in made)
    weights = ", ".join(f"{weight:g}" for weight in WEIGHTS)
    told = (
        f"- `{CHOSEN}` of `{name}`: among {', '.join(f'`{model}`' for model in found)} with weights {weights}: {picked}"
    )
    return nested(made, name, heads, stored), told


def told(models: Sequence[str]) -> Iterator[str]:
    """Lines on each model's recipe."""
    recipes = RECIPES | FOLDED  # folds stand beside models that saw no judgment
    yield ""
    yield from (f"- `{model}`: {recipes[model]}" for model in models if model in recipes)


def lacking(models: Sequence[str], heads: Sequence[str], stored: Stored, *, folds: bool) -> Iterator[str]:
    """A line on the models that are not there, where most are."""
    known = FOLDED if folds else RECIPES
    scored = {key.partition("@")[0] for key in stored if key.partition("@")[2] in heads}
    missing = [name for name in known if name not in models and (f"{name}0" if folds else name) not in scored]
    if missing and len(missing) < len(known) / 2:
        yield f"- not measured yet: {', '.join(f'`{name}` ({known[name]})' for name in missing)}"


def main() -> None:
    """Writes both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", nargs="+", required=True, help="NAME=FOLDER that `heads.py make` wrote")
    parser.add_argument("--scores", nargs="+", type=Path, required=True, help="NPZ files of MODEL@NAME")
    parser.add_argument("--models", nargs="*", help="in this order  [default: all that are stored]")
    parser.add_argument("--first", nargs="+", default=["fused"], help="compared with: models, bm25 or fused")
    parser.add_argument("--mean", nargs="+", default=[], help=f"models whose standard scores `{MEAN}` averages")
    parser.add_argument("--weights", nargs="+", type=float, default=[], help="of the reranker, besides the service's")
    parser.add_argument("--folds", type=int, default=0, help="of a cross-validation")
    parser.add_argument("--name", default="reranker-ablation", help="of the result")
    given = parser.parse_args()
    stored = {key: value for path in given.scores for key, value in np.load(path).items()}
    models = given.models or list(dict.fromkeys(key.partition("@")[0] for key in stored))
    averaged = [MEAN] if given.mean else []
    rows: list[Row] = []
    picked: list[str] = []
    for text in given.heads:
        name, _, folder = text.partition("=")
        heads = heads_of(Path(folder))
        if given.mean and (mean := mean_of(given.mean, name, heads, stored)) is not None:
            stored[f"{MEAN}@{name}"] = mean
        cases = [(plain, plain, WEIGHT) for plain in ("bm25", "fused")]
        cases += [*weighed([*models, *averaged], given.weights)]
        orders = {case: orders_of(model, name, heads, stored, given.folds, w) for case, model, w in cases}
        if given.folds and (found := choice(name, heads, stored, models, given.folds)):
            orders[CHOSEN] = found[0]
            picked.append(found[1])
        for case, places in sets_of(name, heads, segments=not given.weights).items():
            chosen = [heads[place] for place in places]
            scores = {
                model: scored(chosen, [order[place] for place in places])
                for model, order in orders.items()
                if order is not None
            }
            rows += rows_of(case, scores, given.first)
    named = [text.partition("=")[0] for text in given.heads]
    means = [f"- `{MEAN}`: the mean of the standard scores of {', '.join(given.mean)}"] if given.mean else []
    if given.weights:
        title = "Rerankers by their weight"
        elsewhere = f"elsewhere {WEIGHT:g} times"
        more = [f"- `at W`: a reranker's standard score counts W times as much as the fused one, {elsewhere}"]
    else:
        title = "Rerankers by cross-validation" if given.folds else "What each part of the training is worth"
        more = [*lacking(models, named, stored, folds=bool(given.folds))]
    notes = [*NOTES, *told(models), *more, *means, *picked]
    write(given.name, title, notes, rows, shown=SHOWN if len(given.first) == 1 else None)


if __name__ == "__main__":
    main()
