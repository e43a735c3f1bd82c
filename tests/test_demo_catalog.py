import csv
import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from millirank.demo import judgments, products, queries, write
from millirank.demo.brands import MAKERS
from millirank.demo.catalog import KINDS
from millirank.demo.judgments import wants
from millirank.demo.kinds import parse
from millirank.errors import CatalogError

FIELDS = ["id", "title", "brand", "description", "category", "price", "currency", "in_stock", "url", "image_url"]
TRADEMARKS = re.compile(
    r"\b(sony|samsung|apple|iphone|galaxy|nike|adidas|puma|ikea|bosch|lego|dyson|canon|nikon|hp|epson|dell|lenovo|asus|"
    r"acer|logitech|philips|hoover|makita|dewalt|garmin|fitbit|xiaomi|huawei|thermos|velcro|north face|barbie|weber)\b",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def shop() -> list[dict[str, Any]]:
    return list(products())


@pytest.fixture(scope="module")
def judged() -> dict[str, dict[str, int]]:
    grades: dict[str, dict[str, int]] = defaultdict(dict)
    for query, product, grade in judgments():
        assert product not in grades[query], f"{query} judges {product} twice"
        grades[query][product] = grade
    return grades


def digest() -> str:
    rows = [*products(), *judgments()]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()


def test_the_shop_is_large_and_varied(shop: list[dict[str, Any]]) -> None:
    assert len(shop) >= 3500
    assert len({product["category"] for product in shop}) >= 60
    assert len({product["category"].split(" > ")[0] for product in shop}) >= 7
    assert Counter(product["attributes"]["type"] for product in shop) == {kind.name: kind.count for kind in KINDS}


def test_products_have_the_fields_of_the_contract(shop: list[dict[str, Any]]) -> None:
    for product in shop:
        assert list(product) == [*FIELDS, "attributes"]
        assert len(product["category"].split(" > ")) == 3
        assert re.fullmatch(r"https://shop\.example/p/[a-z0-9-]+", product["url"])
        assert product["image_url"].startswith("https://img.shop.example/")
        assert product["currency"] == "EUR"
        assert isinstance(product["in_stock"], bool)
        assert all(isinstance(value, str) and value for value in product["attributes"].values())
    assert 0.8 < statistics.mean(product["in_stock"] for product in shop) < 0.97


def test_ids_and_titles_are_unique(shop: list[dict[str, Any]]) -> None:
    assert len({product["id"] for product in shop}) == len(shop)
    assert len({product["title"] for product in shop}) == len(shop)
    assert len({product["url"] for product in shop}) == len(shop)
    assert len({product["description"] for product in shop}) > 0.75 * len(shop)


def test_texts_read_like_a_shop(shop: list[dict[str, Any]]) -> None:
    assert 8 <= statistics.median(len(product["title"].split()) for product in shop) <= 18
    for product in shop:
        assert 15 <= len(product["description"].split()) <= 45, product["description"]
        for text in (product["title"], product["description"]):
            assert not re.search(r"[{}\[\]]|  | ,|,,|\ban [b-df-gj-km-np-qv-z][a-z]|\b(\w+) \1\b", text), text
            assert not TRADEMARKS.search(text), text


def test_prices_are_positive_with_two_decimals(shop: list[dict[str, Any]]) -> None:
    for product in shop:
        assert 1 <= product["price"] <= 5000
        assert product["price"] == round(product["price"], 2)
        assert len(json.dumps(product["price"]).partition(".")[2]) <= 2


def test_a_brand_keeps_to_its_trade(shop: list[dict[str, Any]]) -> None:
    trades: dict[str, set[str]] = defaultdict(set)
    for product in shop:
        trades[product["brand"]].add(product["category"].split(" > ")[0])
    assert set(trades) == {brand for brands in MAKERS.values() for brand in brands}
    assert max(map(len, trades.values())) <= 4


def test_accessories_name_a_product_that_is_sold(shop: list[dict[str, Any]]) -> None:
    fits = {kind.name: kind.fits[0] for kind in KINDS if kind.fits}
    sold = {(p["attributes"]["type"], f"{p['brand']} {p['attributes'].get('model')}") for p in shop}
    accessories = [p for p in shop if p["attributes"]["type"] in fits]
    assert len(accessories) > 500
    for product in accessories:
        main = product["attributes"]["compatible_with"]
        assert (fits[product["attributes"]["type"]], main) in sold
        assert main.split(" ", 1)[1] in product["title"]


def test_a_model_number_means_one_type(shop: list[dict[str, Any]]) -> None:
    types: dict[tuple[str, str], set[str]] = defaultdict(set)
    for product in shop:
        model = product["attributes"].get("model", "")
        if re.search(r"\d", model) and not model.split()[0].isalpha():
            types[product["brand"], model].add(product["attributes"]["type"])
    assert [model for model, found in types.items() if len(found) > 1] == []


def test_two_runs_and_another_process_make_the_same_bytes(shop: list[dict[str, Any]]) -> None:
    assert list(products()) == shop
    script = "import test_demo_catalog; print(test_demo_catalog.digest())"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    other = subprocess.run(  # our own interpreter and script
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert digest() == other.stdout.strip()


def test_another_seed_makes_another_shop_with_the_same_models(shop: list[dict[str, Any]]) -> None:
    other = list(products(8))
    assert other != shop
    for brand, model in (("Nuvo", "P7"), ("Kaldrix", "KX-360"), ("Brewden", "BW-420")):
        assert any(p["brand"] == brand and p["attributes"].get("model") == model for p in other)
    answered = {query for query, _, grade in judgments(8) if grade == 3}
    assert len(answered) >= 0.9 * len(queries())


def test_queries_are_many_and_of_all_kinds() -> None:
    kinds = Counter(query.kind for query in queries())
    assert len(queries()) == len({query.text for query in queries()}) >= 100
    assert set(kinds) == {"type", "synonym", "brand", "model", "accessory", "attribute", "phrase", "misspelling"}
    assert min(kinds.values()) >= 8


def test_judgments_are_sane(shop: list[dict[str, Any]], judged: dict[str, dict[str, int]]) -> None:
    ids = {product["id"] for product in shop}
    assert list(judged) == [query.text for query in queries()]
    for query, grades in judged.items():
        assert set(grades) <= ids
        assert set(grades.values()) <= {0, 1, 2, 3}
        assert 3 in grades.values(), query
        assert 0 in grades.values(), query
        assert 10 <= len(grades) <= 180, query
    assert statistics.median(map(len, judged.values())) <= 75


def test_clauses_name_facts_that_the_shop_has(shop: list[dict[str, Any]]) -> None:
    for query in queries():
        for want in wants(" / ".join(filter(None, (query.asks, query.near, query.related)))):
            for term in want.terms:
                assert any(term.holds(p) for p in shop if p["attributes"]["type"] == want.type), (query.text, term)


def test_a_case_is_not_a_phone(shop: list[dict[str, Any]], judged: dict[str, dict[str, int]]) -> None:
    types = {product["id"]: product["attributes"] for product in shop}
    for query, best, related in (("phone", "Smartphones", "Phone Cases"), ("phone case", "Phone Cases", "Smartphones")):
        assert {types[i]["type"] for i, grade in judged[query].items() if grade == 3} == {best}
        assert related in {types[i]["type"] for i, grade in judged[query].items() if grade == 1}
    for product, grade in judged["case for nuvo p7"].items():
        if grade == 3:
            assert types[product]["compatible_with"] == "Nuvo P7"
        elif types[product]["type"] == "Phone Cases":
            assert grade == 0


def test_the_files_can_be_read_back(tmp_path: Path, shop: list[dict[str, Any]]) -> None:
    paths = write(tmp_path / "demo")
    assert [json.loads(line) for line in paths.products.read_text("utf-8").splitlines()] == shop
    with paths.judgments.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["query", "docid", "rating"]
    assert [(query, product, int(grade)) for query, product, grade in rows[1:]] == list(judgments())
    assert sorted(path.name for path in paths.products.parent.iterdir()) == ["judgments.csv", "products.jsonl"]


def test_a_second_write_keeps_what_would_not_change(tmp_path: Path) -> None:
    paths = write(tmp_path)
    first = paths.products.stat()
    paths.judgments.write_text("old\n")
    write(tmp_path)
    assert (paths.products.stat().st_ino, paths.products.stat().st_mtime_ns) == (first.st_ino, first.st_mtime_ns)
    assert paths.judgments.read_text("utf-8").startswith("query,docid,rating\n")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_place_that_cannot_be_written_is_refused_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CatalogError, match="choose another --folder"):
        write(tmp_path / "file")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("title {brand}", "start it with a '==' row"),
        ("== Lamps | Home > Light | decor | many | 1-2 | home", "products"),
        ("== Lamps | Home > Light | decor | 3 | 1-2 | home\ncolor red", "no row is called 'color'"),
    ],
)
def test_a_broken_table_is_refused(table: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(table)


@pytest.mark.parametrize("clause", ["Spaceships & colour=red", "colour is red"])
def test_a_broken_clause_is_refused(clause: str) -> None:
    with pytest.raises(ValueError, match=re.escape(clause)):
        wants(clause if "Spaceships" in clause else f"Smartphones & {clause}")
