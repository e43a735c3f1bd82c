"""Segments of a catalogue: the same each time, with answers that hold when they are looked up another way."""

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from typer.testing import CliRunner

from millirank.cli import app
from millirank.demo import products as demo_products
from millirank.evaluation import Segment, read_judgments, read_segments, write_segments
from millirank.keyboard import NEIGHBOURS, ROWS
from millirank.segments import NAMES, segments
from millirank.segments.numbers import is_number, model_numbers
from millirank.segments.texts import Texts, fields, words
from millirank.segments.types import Types
from millirank.segments.typos import misspelled, misspelled_query

COUNT = 60


@pytest.fixture(scope="module")
def shop() -> list[dict[str, Any]]:
    return list(demo_products())


@pytest.fixture(scope="module")
def made(shop: list[dict[str, Any]]) -> dict[str, Segment]:
    return segments(shop, count=COUNT)


def texts_of(shop: list[dict[str, Any]]) -> dict[str, list[str]]:
    return {product["id"]: list(fields(product)) for product in shop}


def distance(first: str, second: str) -> int:
    """Damerau's, restricted to one swap of neighbours: insert, delete, replace, swap."""
    table = [[max(i, j) if not i * j else 0 for j in range(len(second) + 1)] for i in range(len(first) + 1)]
    for i in range(1, len(first) + 1):
        for j in range(1, len(second) + 1):
            table[i][j] = min(
                table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (first[i - 1] != second[j - 1])
            )
            if i > 1 < j and first[i - 2 : i] == second[j - 2 : j][::-1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]


def test_keys_beside_each_other_are_neighbours() -> None:
    for row in ROWS:
        for first, second in pairwise(row):
            assert second in NEIGHBOURS[first]
            assert first in NEIGHBOURS[second]
    assert set(NEIGHBOURS["g"]) == set("fhtyvb")


def test_every_segment_is_there_and_no_query_stands_twice(made: dict[str, Segment]) -> None:
    assert tuple(made) == NAMES
    queries = [query for segment in made.values() for query in segment.judgments]
    assert len(queries) == len(set(queries))
    for name, segment in made.items():
        assert COUNT >= len(segment.judgments) >= 40, name
        assert all(query == " ".join(query.split()) for query in segment.judgments)
        assert all(bool(grades) == (name != "no-answer") for grades in segment.judgments.values())


def test_another_process_makes_the_same_and_another_seed_does_not(
    shop: list[dict[str, Any]], made: dict[str, Segment]
) -> None:
    script = (
        "import json; from millirank.demo import products; from millirank.segments import segments;"
        f"made = segments(list(products()), count={COUNT});"
        "print(json.dumps({name: [segment.judgments, segment.meant] for name, segment in made.items()}))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": os.pathsep.join(sys.path)}
    other = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(other.stdout) == {name: [s.judgments, s.meant] for name, s in made.items()}
    assert segments(shop, count=COUNT, seed=8)["title-less-two"] != made["title-less-two"]


def test_a_model_number_stands_in_its_product_and_in_no_other(
    shop: list[dict[str, Any]], made: dict[str, Segment]
) -> None:
    squeezed = {
        id_: " ".join(re.sub(r"[^a-z0-9 ]", "", t.lower()) for t in texts) for id_, texts in texts_of(shop).items()
    }
    titles = {product["id"]: product["title"] for product in shop}
    for number, grades in made["model-number"].judgments.items():
        (product,) = grades
        assert number in titles[product]
        bare = re.sub(r"[^a-z0-9]", "", number.lower())
        assert [id_ for id_, text in squeezed.items() if bare in text.split()] == [product]


@pytest.mark.parametrize(
    ("token", "number"),
    [
        *((token, True) for token in ("KX-360", "QC5070/80", "08A0476", "TL-WA860RE", "EC.J6000.001", "DU-210S")),
        *(
            (token, False)
            for token in ("A4", "256MB", "144-pin", "1920x1080", "62.5/125", "laptop", "w/32-bit", "2x16GB")
        ),
    ],
)
def test_measures_are_no_model_numbers(token: str, *, number: bool) -> None:
    assert is_number(token) == number


def test_a_number_that_others_carry_in_any_form_is_left_out() -> None:
    titles = ["Acme KX-360 laptop", "Acme KX-400 laptop", "Acme KX-500 laptop", "Acme KX-600/80 laptop", "Acme mouse"]
    shop: list[dict[str, Any]] = [{"id": str(n), "title": title} for n, title in enumerate(titles)]
    shop[4] |= {"description": "fits the kx360", "attributes": {"for": "Acme KX-600"}}
    shop.append({"id": "5", "title": "Sleeve for KX 500"})
    assert model_numbers(Texts(shop)) == {"KX-400": 1, "KX-600/80": 3}


def test_types_are_read_from_categories_and_titles() -> None:
    titles = [f"{brand} KX-{n} laptop bag black" for n, brand in enumerate(["Acme", "Bosco", "Cyra", "Acme", "Bosco"])]
    titles += [
        "Bosco 15 inch laptop bag",
        "Acme Blue 20 ft Case (4 kg) laptop bag",
        "Acme strap for laptop bag",
        "Acme lamp",
    ]
    shop: list[dict[str, Any]] = [
        {"id": title, "title": title, "brand": title.split()[0], "attributes": {"colour": "black"}} for title in titles
    ]
    shop += [{"id": str(n), "title": "Cyra", "category": "Electronics > Laptops"} for n in range(5)]
    types = Types(Texts(shop))
    assert types.names == ["laptop bag", "laptops"]
    assert types.rows("laptop bags") == types.rows("bag") == set(range(7))
    assert types.rows("laptop") == set(range(9, 14))
    assert types.of[7] == types.of[8] == ()


def test_brands_and_types_of_the_demo_are_those_of_its_fields(
    shop: list[dict[str, Any]], made: dict[str, Segment]
) -> None:
    for brand, grades in made["brand"].judgments.items():
        assert set(grades) == {product["id"] for product in shop if product["brand"].casefold() == brand}
    for name, grades in made["type"].judgments.items():
        leaves = {product["id"] for product in shop if product["category"].casefold().endswith(f"> {name}")}
        assert leaves
        assert leaves <= set(grades)


@pytest.mark.parametrize("kind", ["brand", "type"])
def test_a_misspelling_is_one_slip_from_what_was_meant_and_has_its_answers(
    shop: list[dict[str, Any]], made: dict[str, Segment], kind: str
) -> None:
    right, wrong = made[kind], made[f"{kind}-misspelled"]
    known = {word for texts in texts_of(shop).values() for text in texts for word in words(text)}
    assert set(wrong.meant) == set(wrong.judgments)
    for query, meant in wrong.meant.items():
        assert distance(query, meant) == 1
        assert wrong.judgments[query] == right.judgments[meant]
        (now,) = set(query.split()) - set(meant.split())
        assert now not in known
        assert not any(letter.isdigit() for letter in now)


def test_slips_are_of_all_kinds_and_spare_the_first_letter() -> None:
    rng = Random(1)  # noqa: S311 - not a secret
    found = {misspelled("phone", rng) for _ in range(400)}
    assert {"phoen", "pone", "phonne", "pjone"} <= found
    assert all(slip[0] == "p" and distance(slip, "phone") <= 1 for slip in found)
    assert misspelled_query("a4 sn-380", set(), rng) is None


def test_what_is_left_of_a_title_names_its_product_alone(shop: list[dict[str, Any]], made: dict[str, Segment]) -> None:
    titles = {product["id"]: product["title"].casefold() for product in shop}
    for name, less in (("title-less-two", 2), ("title-misspelled", 1)):
        for query, grades in made[name].judgments.items():
            (product,) = grades
            kept = [word for word in query.split() if word in titles[product].split()]
            assert len(kept) == len(titles[product].split()) - less
            needed = {part for word in kept for part in words(word)}
            assert [id_ for id_, title in titles.items() if needed <= set(words(title))] == [product]


def test_a_phrase_names_facts_of_its_best_answers(shop: list[dict[str, Any]], made: dict[str, Segment]) -> None:
    by_id = {product["id"]: product for product in shop}
    for query, grades in made["long"].judgments.items():
        assert len(query.split()) >= 6
        assert set(grades.values()) <= {2, 3}
        perfect = [by_id[product] for product, grade in grades.items() if grade == 3]
        assert perfect
        for product in perfect:
            values = {str(value).casefold() for value in product["attributes"].values()}
            assert product["brand"].casefold() in query
            assert sum(value in query for value in values) >= 2


def test_nothing_answers_what_has_no_answer(shop: list[dict[str, Any]], made: dict[str, Segment]) -> None:
    known = {word for texts in texts_of(shop).values() for text in texts for word in words(text)}
    for query in made["no-answer"].judgments:
        assert words(query)[-1] not in known


def test_segments_come_back_from_their_file(tmp_path: Path, made: dict[str, Segment]) -> None:
    write_segments(tmp_path / "segments.csv", made)
    assert read_segments(tmp_path / "segments.csv") == made
    judged = read_judgments(tmp_path / "segments.csv")
    assert len(judged) == sum(len(segment.judgments) for segment in made.values())
    (tmp_path / "plain.csv").write_text("query,docid,rating\nlamp,1,3\n", "utf-8")
    assert read_segments(tmp_path / "plain.csv") == {"all": Segment({"lamp": {"1": 3}})}


def test_the_command_writes_them(tmp_path: Path, tiny_index: Path) -> None:
    out = tmp_path / "segments.csv"
    done = CliRunner().invoke(app, ["segments", "--index", str(tiny_index), "--out", str(out), "--count", "5"])
    assert done.exit_code == 0, done.output
    found = read_segments(out)
    assert len(found["title-less-two"].judgments) == 5
    assert "millirank eval" in done.output
