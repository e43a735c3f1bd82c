"""A catalogue as the rules read it: products by row, and which rows have which words."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """The runs of letters and digits of a text, folded."""
    return _WORD.findall(text.casefold())


def fields(product: Mapping[str, Any]) -> Iterator[str]:
    """Every text of a product, its title first."""
    yield from (str(product[name]) for name in ("title", "brand", "description", "category") if product.get(name))
    yield from map(str, product.get("attributes", {}).values())


class Texts:
    """Products and their words.

    Args:
        products: of one catalogue, in the order of their rows.
    """

    def __init__(self, products: Sequence[Mapping[str, Any]]) -> None:
        self.products = products
        self.ids = [str(product["id"]) for product in products]
        self.titles = [words(str(product["title"])) for product in products]
        self.vocabulary: set[str] = set()  # words of any field
        self._rows: defaultdict[str, set[int]] = defaultdict(set)
        for row, product in enumerate(products):
            for word in self.titles[row]:
                self._rows[word].add(row)
            for text in fields(product):
                self.vocabulary.update(words(text))

    def titled(self, wanted: Iterable[str]) -> set[int]:
        """The rows whose titles have all of these words; without a word, none."""
        found = sorted((self._rows.get(word, set()) for word in wanted), key=len)
        return set.intersection(*found) if found else set()
