"""Lists from people's judgments, beside the mined ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from millirank.errors import CatalogError
from millirank.evaluation import Judgments, fold
from millirank_engines.build.lists import JUDGED, Lists, Packed


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
) -> Lists:
    """The lists and, behind them, one for each judged query, of the products that were judged.

    Queries whose products are all rated alike teach nothing and are left out, and so are the least relevant products
    of lists that are too long.

    Args:
        lists: what was mined.
        catalogues: the product ids of each catalogue, in the order of lists.products.
        judgments: ratings by query and product id.
        pack: token ids of queries.

    Raises:
        CatalogError: if none of the judged products is in any catalogue.
    """
    places, first = [], 0
    for ids in catalogues:
        places.append({product: first + i for i, product in enumerate(ids)})
        first += len(ids)
    width = lists.rows.shape[1]
    queries, rows, targets, source = [], [], [], []
    for query, ratings in judgments.items():
        number = max(range(len(places)), key=lambda n: sum(product in places[n] for product in ratings))
        here = [(rating, places[number][product]) for product, rating in ratings.items() if product in places[number]]
        here.sort(reverse=True)
        if len({rating for rating, _ in here}) > 1:
            padded = [*here[:width], *[(0, -1)] * (width - len(here))]
            queries.append(query)
            rows.append([row for _, row in padded])
            targets.append([rating for rating, _ in padded])
            source.append(number)
    if not queries:
        raise CatalogError("no judged query has products of different ratings in these catalogues: check the ids")
    judged = pack(queries)
    return replace(
        lists,
        queries=Packed(
            np.concatenate([lists.queries.ids, judged.ids]),
            np.concatenate([lists.queries.offsets, judged.offsets[1:] + lists.queries.offsets[-1]]),
        ),
        query=np.concatenate([lists.query, np.arange(len(queries), dtype=np.int32) + len(lists.queries)]),
        rows=np.concatenate([lists.rows, np.array(rows, np.int32)]),
        targets=np.concatenate([lists.targets, np.array(targets, np.float32)]),
        parts=np.concatenate([lists.parts, np.zeros((len(queries), *lists.parts.shape[1:]), np.float16)]),
        kind=np.concatenate([lists.kind, np.full(len(queries), JUDGED, np.uint8)]),
        source=np.concatenate([lists.source, np.array(source, np.uint8)]),
    )
