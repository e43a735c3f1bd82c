"""Lists from people's judgments, beside the mined ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from millirank.errors import CatalogError
from millirank.evaluation import Judgments, fold
from millirank_engines.build.lists import JUDGED, UNJUDGED, Lists, Packed

from .beside import Beside


def without(judgments: Judgments, part: int, parts: int) -> dict[str, Mapping[str, int]]:
    """The judgments of all queries but one part's: what a model learns from that is then scored on that part.

    Raises:
        CatalogError: if there is no such part, no query in it, or none outside of it.
    """
    unseen = fold(judgments, part, parts)
    kept = {query: ratings for query, ratings in judgments.items() if query not in unseen}
    if not kept:
        raise CatalogError(f"no judged query is outside of part {part} of {parts}: take more parts")
    return kept


def with_judgments(
    lists: Lists,
    catalogues: Sequence[Sequence[str]],
    judgments: Judgments,
    pack: Callable[[Sequence[str]], Packed],
    beside: Beside | None = None,
    most: int = 0,
) -> Lists:
    """The lists and, behind them, one for each judged query, of the products that were judged.

    Queries whose products are all rated alike teach nothing and are left out, and so are the least relevant products
    of lists that are too long. Behind the judged products stand those that a search finds besides: nobody judged them,
    so training decides what that is worth (Settings.unjudged). With them a list of products that are all right teaches,
    too.

    Args:
        lists: what was mined.
        catalogues: the product ids of each catalogue, in the order of lists.products.
        judgments: ratings by query and product id.
        pack: token ids of queries.
        beside: finds products for the queries of a catalogue.
        most: of those that were not judged, a list.

    Raises:
        CatalogError: if none of the judged products is in any catalogue.
    """
    starts = np.cumsum([0, *map(len, catalogues)]).tolist()
    places = [
        {product: first + i for i, product in enumerate(ids)} for first, ids in zip(starts, catalogues, strict=False)
    ]
    narrow = lists.rows.shape[1]
    width = narrow + most
    known: list[dict[str, list[tuple[float, int]]]] = [{} for _ in places]  # grades and rows by query, a catalogue each
    for query, ratings in judgments.items():
        number = max(range(len(places)), key=lambda n: sum(product in places[n] for product in ratings))
        here = [(rating, places[number][product]) for product, rating in ratings.items() if product in places[number]]
        if any(rating for rating, _ in here) if most else len({rating for rating, _ in here}) > 1:
            known[number][query] = sorted(map(_floated, here), reverse=True)
    found = {
        query: [row + starts[number] for row in rows]
        for number, asked in enumerate(known)
        if beside is not None and most and asked
        for query, rows in zip(asked, beside(number, list(asked)), strict=True)
    }
    queries, rows, targets, source = [], [], [], []
    for query in judgments:
        number = next((n for n, asked in enumerate(known) if query in asked), None)
        if number is None:
            continue
        here, judged = known[number][query][:narrow], {row for _, row in known[number][query]}
        here += [(UNJUDGED, row) for row in found.get(query, []) if row not in judged][:most]
        padded = [*here, *[(0.0, -1)] * (width - len(here))]
        queries.append(query)
        rows.append([row for _, row in padded])
        targets.append([rating for rating, _ in padded])
        source.append(number)
    if not queries:
        raise CatalogError("no judged query has products of different ratings in these catalogues: check the ids")
    packed = pack(queries)
    lists = lists.wider(width)
    return replace(
        lists,
        queries=Packed(
            np.concatenate([lists.queries.ids, packed.ids]),
            np.concatenate([lists.queries.offsets, packed.offsets[1:] + lists.queries.offsets[-1]]),
        ),
        query=np.concatenate([lists.query, np.arange(len(queries), dtype=np.int32) + len(lists.queries)]),
        rows=np.concatenate([lists.rows, np.array(rows, np.int32)]),
        targets=np.concatenate([lists.targets, np.array(targets, np.float32)]),
        parts=np.concatenate([lists.parts, np.zeros((len(queries), *lists.parts.shape[1:]), np.float16)]),
        kind=np.concatenate([lists.kind, np.full(len(queries), JUDGED, np.uint8)]),
        source=np.concatenate([lists.source, np.array(source, np.uint8)]),
    )


def _floated(pair: tuple[int, int]) -> tuple[float, int]:
    return float(pair[0]), pair[1]
