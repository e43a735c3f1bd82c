import pytest
from hypothesis import given
from hypothesis import strategies as st

from millirank.catalog.codes import WHOLE, asked, codes_of


def product(title: str, **fields: object) -> dict[str, object]:
    return {"id": "x", "title": title, **fields}


@pytest.mark.parametrize("typed", ["WH-1000XM4", "wh1000xm4", "WH 1000 XM4", "wh 1000xm4", "Sony WH/1000-XM4 black"])
@pytest.mark.parametrize("title", ["Sony WH-1000XM4 headphones", "WH 1000 XM4", "wh1000xm4, black"])
def test_a_number_is_the_same_however_it_is_joined(typed: str, title: str) -> None:
    _, numbers = asked(typed)
    assert "wh1000xm4" in {number.code for number in numbers if number.which} & set(codes_of(product(title)))


def test_a_whole_number_is_told_from_a_part() -> None:
    assert WHOLE + "she2550" in codes_of(product("Philips SHE2550 In-Ear"))
    part = codes_of(product("Philips SHE2550/00 In-Ear"))
    assert "she2550" in part
    assert WHOLE + "she2550" not in part
    assert WHOLE + "she255000" in part


def test_ids_and_number_attributes_are_numbers() -> None:
    made = codes_of(
        {"id": "AB-77", "title": "kettle", "attributes": {"mpn": "KX-1", "ean": "4006381333931", "w": "9z9z"}}
    )
    assert {"ab77", "=ab77", "=kx1", "4006381333931"} - set(made) == {"=kx1"}, "three letters and digits are too few"
    assert "9z9z" not in made


@pytest.mark.parametrize(
    ("text", "which"),
    [
        ("kettle 500gb", False),
        ("1920x1080 monitor", False),
        ("iphone 12", False),
        ("24 inch monitor", False),
        ("22 inch", False),
        ("5 port switch", False),
        ("4 gb usb stick", False),
        ("4gb usb", False),
        ("2 tb hdd", False),
        ("3 m hdmi", False),
        ("full hd 1080 p", False),
        ("1920 x 1080", False),
        ("100-240 v", False),
        ("usb 3.0 hub", False),
        ("usb 3.1 gen 2", False),
        ("hdmi 2.0 cable", False),
        ("cat5e 5 m", False),
        ("ddr4 16 gb", False),
        ("core i5", False),
        ("galaxy s20", False),
        ("2 in 1", False),
        ("pack of 100", False),
        ("canon 545xl", True),
        ("wh 1000 xm4", True),
        ("xr 1000", True),
        ("rtx 4090", True),
        ("t 407011", True),
        ("123456", True),
        ("ce 505a", True),
        ("q 8049 a", True),
        ("TK-570K toner", True),
        ("WH/1000-XM4", True),
        ("006R90321", True),
        ("dv7-1211ea", True),
    ],
)
def test_amounts_and_words_beside_a_figure_name_no_product(text: str, *, which: bool) -> None:
    assert any(number.which for number in asked(text)[1]) is which


def test_a_text_without_digits_asks_for_nothing() -> None:
    assert asked("wireless headphones") == (0, [])


def test_the_longer_of_two_numbers_counts() -> None:
    short, long = (next(n for n in asked("ab 12 cd")[1] if n.code == code) for code in ("ab12", "ab12cd"))
    assert short.within(long)
    assert not long.within(short)
    assert not long.within(long)


@given(st.text(max_size=120))
def test_any_text_gives_short_codes(text: str) -> None:
    for code in [*codes_of(product(text or "x")), *(number.code for number in asked(text)[1])]:
        assert 4 <= len(code.removeprefix(WHOLE)) <= 40
        assert any(c.isdigit() for c in code)
