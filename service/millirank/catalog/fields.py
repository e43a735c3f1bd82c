"""The fields of a product, and what may stand in them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from millirank.errors import CatalogError

REQUIRED = ("id", "title")
TEXTS = ("title", "brand", "description", "category", "currency", "url", "image_url")
FIELDS = ("id", *TEXTS, "price", "in_stock", "attributes")
ATTRIBUTE = "attributes."  # prefix of one attribute's column
MAX_ID_BYTES = 511  # LMDB's largest key


class Reason(StrEnum):
    """Why a row is no product; a run's bad rows are counted by it."""

    NO_ID = "no id"
    NO_TITLE = "no title"
    DUPLICATE_ID = "duplicate id"
    WRONG_TYPE = "wrong type"
    BAD_VALUE = "bad value"
    BROKEN_ENCODING = "broken encoding"
    BROKEN_JSON = "broken JSON"
    BROKEN_CSV = "broken CSV"


class Unusable(Exception):
    """A value that no product may have."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def parse_map(pairs: Iterable[str]) -> dict[str, str]:
    """The names of a feed's columns by our fields, from pairs such as title=name or attributes.color=colour.

    Raises:
        CatalogError: if a pair has no =, or its left side is no field of ours, or stands twice.
    """
    mapping: dict[str, str] = {}
    for pair in pairs:
        ours, equals, theirs = (part.strip() for part in pair.partition("="))
        if not (ours and equals and theirs):
            raise CatalogError(f"--map {pair}: write OURS=THEIRS, such as --map title=name")
        if ours not in FIELDS and not (ours.startswith(ATTRIBUTE) and len(ours) > len(ATTRIBUTE)):
            raise CatalogError(
                f"--map {pair}: there is no field {ours}: use one of {', '.join(FIELDS)}, {ATTRIBUTE}NAME"
            )
        if ours in mapping:
            raise CatalogError(f"--map {pair}: {ours} is mapped twice: keep one")
        mapping[ours] = theirs
    return mapping


def product_from(
    raw: Mapping[str, Any], columns: Mapping[str, str], attributes: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """A valid product from a row of a feed.

    Args:
        raw: values by the feed's column names.
        columns: the feed's column name of each of our fields.
        attributes: columns that hold one attribute each: (the feed's name, the attribute's name).

    Returns:
        The fields that are present, of the contract's types; others are left out.

    Raises:
        Unusable: if a value is missing or wrong.
    """
    product: dict[str, Any] = {"id": _id(raw.get(columns["id"]))}
    for name in TEXTS:
        text = _text(name, raw.get(columns[name]))
        if text:
            product[name] = text
    if "title" not in product:
        raise Unusable(Reason.NO_TITLE, f"product {product['id']} has no title")
    price = raw.get(columns["price"])
    if price is not None:
        product["price"] = _price(price)
    in_stock = raw.get(columns["in_stock"])
    if in_stock is not None:
        if not isinstance(in_stock, bool):
            raise Unusable(Reason.WRONG_TYPE, f"in_stock is {in_stock!r:.60}, not true or false")
        product["in_stock"] = in_stock
    found = _attributes(raw.get(columns["attributes"]))
    for column, name in attributes:
        value = raw.get(column)
        if value is not None and value != "":
            found[name] = _attribute(name, value)
    if found:
        product["attributes"] = found
    return product


def _id(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise Unusable(Reason.NO_ID, "the row has no id")
    if not isinstance(value, str):
        raise Unusable(Reason.WRONG_TYPE, f"id is {value!r:.60}, not a text or a whole number")
    if len(value.encode()) > MAX_ID_BYTES:
        raise Unusable(Reason.BAD_VALUE, f"id {value:.20}… is longer than {MAX_ID_BYTES} bytes")
    return value


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if name == "category" and isinstance(value, list) and all(isinstance(part, str) for part in value):
        return " > ".join(value)
    if not isinstance(value, str):
        raise Unusable(Reason.WRONG_TYPE, f"{name} is {value!r:.60}, not a text")
    return value.strip()


def _price(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unusable(Reason.WRONG_TYPE, f"price is {value!r:.60}, not a number")
    if not math.isfinite(value) or value < 0:
        raise Unusable(Reason.BAD_VALUE, f"price is {value}, not a finite number from 0")
    return float(value)


def _attributes(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unusable(Reason.WRONG_TYPE, f"attributes is {value!r:.60}, not a map")
    return {str(name): _attribute(str(name), item) for name, item in value.items() if item is not None}


def _attribute(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise Unusable(Reason.WRONG_TYPE, f"attribute {name} is {value!r:.60}, not a text, number, true or false")
