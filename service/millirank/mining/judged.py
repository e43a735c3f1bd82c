"""Lists from people's judgments, beside the mined ones."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
    narrow = lists.rows.shape[1]
    width = narrow + most
    queries, rows, targets, source = [], [], [], []
    for number, first, here in _known(catalogues, judgments, alike=most > 0):
        found = beside(number, list(here)) if beside is not None and most and here else [[] for _ in here]
        for (query, graded), others in zip(here.items(), found, strict=True):
            judged = {row for _, row in graded}
            unjudged = [(UNJUDGED, row + first) for row in others if row + first not in judged]
            line = [*graded[:narrow], *unjudged[:most]]
            line += [(0.0, -1)] * (width - len(line))
            queries.append(query)
            rows.append([row for _, row in line])
            targets.append([grade for grade, _ in line])
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


def _known(
    catalogues: Sequence[Sequence[str]], judgments: Judgments, *, alike: bool
) -> Iterator[tuple[int, int, dict[str, list[tuple[float, int]]]]]:
    """Each catalogue's number, its first row and its queries, those that have most of their products in it.

    Args:
        catalogues: product ids.
        judgments: ratings by query and product id.
        alike: whether products that are all rated alike, and right, teach something.

    Yields:
        The queries with the grades and rows of their products, best first.
    """
    starts = np.cumsum([0, *map(len, catalogues)]).tolist()
    places = [
        {product: first + i for i, product in enumerate(ids)} for first, ids in zip(starts, catalogues, strict=False)
    ]
    queries: list[dict[str, list[tuple[float, int]]]] = [{} for _ in places]
    for query, ratings in judgments.items():
        number = max(range(len(places)), key=lambda n: sum(product in places[n] for product in ratings))
        here = [
            (float(rating), places[number][product]) for product, rating in ratings.items() if product in places[number]
        ]
        grades = {grade for grade, _ in here}
        if len(grades) > 1 or (alike and max(grades, default=0) > 0):
            queries[number][query] = sorted(here, reverse=True)
    yield from zip(range(len(places)), starts, queries, strict=False)
