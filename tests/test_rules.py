"""Facts of products, pseudo-queries by kind, and rules that tell right products from those that only look right."""

import math
from collections import Counter
from itertools import islice
from typing import Any

import numpy as np
import pytest

from millirank.mining.facts import Facts, facts_of, is_a
from millirank.mining.misspell import misspelt
from millirank.mining.queries import KINDS, Drawn, Pseudo, Wanted, pseudo_queries
from millirank.mining.rules import BEST, Negatives, grade, grades
from millirank.mining.words import normal, reserved, sizes


def made() -> list[dict[str, Any]]:
    """A shop of two brands in which every printer has a cartridge and a cable, in two colours and sizes."""
    products = []
    for brand in ("Nova", "Orbit"):
        for number in range(40):
            model = f"{brand[0]}X-{4000 + number}"
            colour = ("black", "cyan")[number % 2]
            products += [
                {"title": f"{brand} {model} laser printer {colour}", "brand": brand},
                {"title": f"{brand} ink cartridge {colour} for laser printer, {10 + number % 3} ml", "brand": brand},
                {"title": f"{brand} printer cable {1 + number % 2} m {colour}", "brand": brand},
            ]
    return [{"id": str(row), **product} for row, product in enumerate(products)]


SHOP = made()
FACTS = facts_of(SHOP)
TITLES = [product["title"] for product in SHOP]


def draw(count: int = 300, seed: int = 1, **options: Any) -> list[Pseudo]:
    return pseudo_queries(TITLES, FACTS, Drawn(count, **options), np.random.default_rng(seed))


def test_facts_are_read_off_the_titles() -> None:
    printer, cartridge, cable = FACTS[:3]
    assert printer.type == "laser printer"
    assert (printer.brand, printer.maker, printer.models, printer.colours) == ("nova", "nova", ("nx-4000",), {"black"})
    assert cartridge.type == "ink cartridge"
    assert "laser printer" in cartridge.belongs
    assert cartridge.sizes == {"ml": {10.0}}
    assert is_a(cable.type, "cable")
    assert cable.sizes == {"m": {1.0}}


def test_a_category_names_the_type_and_values_do_not() -> None:
    named = {"title": "Nova Zip", "category": "Headphones", "attributes": {"product_colour": "Red"}}
    (facts,) = facts_of([named])
    assert (facts.type, facts.colours) == ("headphone", {"red"})
    matte = [{"title": f"{b} poster paper matte", "brand": b, "attributes": {"finish": "Matte"}} for b in "ABCDEFGH"]
    assert {facts.type for facts in facts_of(matte)} == {"poster paper"}


def test_a_number_that_many_products_carry_is_no_model() -> None:
    shop = [{"title": f"Nova lamp DDR2 1280x800 144-pin ZX-{i}00", "brand": "Nova"} for i in range(9)]
    assert [facts.models for facts in facts_of(shop)] == [(f"zx-{i}00",) for i in range(9)]


def test_sizes_are_compared_by_unit() -> None:
    assert sizes('HDD 2,5 inch 250 GB 17" 3 pcs') == {"in": {2.5, 17.0}, "gb": {250.0}, "pc": {3.0}}
    assert sizes("cat5e 4kg5") == {}


def test_every_kind_is_drawn_in_its_proportion() -> None:
    shares = {"model": 0.5, "attribute": 0.3, "type": 0.2}
    drawn = Counter(query.kind for query in draw(20, kinds=shares))
    assert drawn == {"model": 10, "attribute": 6, "type": 4}
    assert {query.kind for query in draw(2000)} <= set(KINDS)
    assert math.isclose(sum(KINDS.values()), 1)
    everything = draw(100_000)
    assert len({query.text for query in everything}) == len(everything)
    assert len(draw(150)) == 150  # kinds that are short leave their share to others


def test_the_draw_is_the_seeds() -> None:
    assert draw(seed=3) == draw(seed=3)
    assert draw(100, seed=3) != draw(100, seed=4)


def test_training_and_evaluation_never_share_a_query_nor_a_model_number() -> None:
    trained, kept = draw(100_000), draw(100_000, evaluation=True)
    assert trained
    assert kept
    assert {normal(q.read) for q in trained}.isdisjoint({normal(q.read) for q in kept})
    models = [{q.wanted.model for q in part if q.wanted and q.wanted.model} for part in (trained, kept)]
    assert models[0]
    assert models[1]
    assert models[0].isdisjoint(models[1])
    assert all(reserved(model) for model in models[1])


def test_a_misspelt_query_knows_what_was_meant_and_is_held_out_by_it() -> None:
    wrong = [query for query in draw(100_000) if query.kind == "misspelt"]
    assert wrong
    for query in wrong:
        assert query.text != query.meant == query.read
        assert len(query.text.split()) == len(query.meant.split())
    barred = wrong[0].meant
    assert barred not in {query.meant for query in draw(100_000, held_out=[barred.upper()])}


@pytest.mark.parametrize("seed", range(40))
def test_a_mistake_is_one_and_never_in_the_first_letter_or_a_number(seed: int) -> None:
    wrong = misspelt("nova cartridge 80211ac", np.random.default_rng(seed)).split()
    assert wrong[0] == "nova"  # too short to be read with a letter wrong
    assert wrong[2] == "80211ac"
    assert wrong[1] != "cartridge"
    assert wrong[1][0] == "c"
    assert abs(len(wrong[1]) - len("cartridge")) <= 1


def test_grades_tell_the_thing_from_its_accessory() -> None:
    wanted = Wanted(type="laser printer")
    assert [grade(wanted, facts) for facts in FACTS[:3]] == [BEST, 0, 0]
    red = Facts(type="stand", words=frozenset(["laser", "printer", "stand"]))
    assert grade(wanted, red) == 1  # names it, and nothing says that it is made for one


def test_grades_take_off_what_a_product_lacks() -> None:
    printer = FACTS[0]
    assert grade(Wanted("printer", "nova", colour="black"), printer) == BEST
    assert grade(Wanted("printer", "orbit", colour="black"), printer) == BEST - 1
    assert grade(Wanted("printer", "orbit", colour="cyan"), printer) == BEST - 2
    assert grade(Wanted("cartridge", size=("ml", 11.0)), FACTS[1]) == BEST - 1
    assert grade(Wanted(brand="nova", model="nx-4000"), printer) == BEST
    assert grade(Wanted(brand="nova", model="nx-4001"), printer) == 1
    assert grade(Wanted(brand="orbit", model="ox-4001"), printer) == 0


def test_negatives_are_what_they_claim() -> None:
    negatives, rng = Negatives(FACTS), np.random.default_rng(0)
    model = Wanted(brand="nova", model="nx-4010")
    (right,) = negatives.right(model)
    assert FACTS[right].models == ("nx-4010",)
    near = [FACTS[row].models[0] for row in islice(negatives.wrong(model, rng), 2)]
    assert set(near) == {"nx-4009", "nx-4011"}
    printer = Wanted(type="laser printer", brand="nova")
    wrong = [FACTS[row] for row in islice(negatives.wrong(printer, rng), 8)]
    assert {facts.type for facts in wrong} == {"ink cartridge", "laser printer"}
    assert all(facts.brand == "orbit" for facts in wrong if facts.type == "laser printer")
    cable = Wanted(type="cable", size=("m", 2.0))
    assert all(FACTS[row].sizes["m"] == {1.0} for row in islice(negatives.wrong(cable, rng), 8))
    for query in draw(100):
        if query.wanted:
            assert set(negatives.right(query.wanted)).isdisjoint(negatives.wrong(query.wanted, rng))


def test_a_noun_before_another_names_a_type_still() -> None:
    shop = [{"title": f"{brand} Monitor Cable {n} m", "brand": brand} for brand in ("Nova", "Orbit") for n in range(9)]
    shop += [
        {"title": f"{brand} NX{n}B computer monitor", "brand": brand} for brand in ("Nova", "Orbit") for n in (1, 2)
    ]
    types = [facts.type for facts in facts_of(shop)]
    assert set(types[:18]) == {"monitor cable"}
    assert set(types[18:]) == {"computer monitor"}


def test_a_product_of_no_known_type_is_not_called_wrong() -> None:
    rows = [Facts(type="printer"), Facts(), Facts(type="cable")]
    assert np.isnan(grades(Wanted(type="printer"), rows, [0, 1, 2])).tolist() == [False, True, False]
    assert grades(Wanted(brand="nova"), rows, [1]).tolist() == [0]
