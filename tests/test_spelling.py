import pytest
from hypothesis import given
from hypothesis import strategies as st

from millirank.spelling import CONFUSED, Speller

COUNTS = {
    "wireless": 40,
    "headphones": 30,
    "headphone": 9,
    "case": 80,
    "head": 12,
    "phones": 2,
    "kettle": 20,
    "printer": 25,
    "screen": 50,
    "protector": 30,
    "hard": 30,
    "drive": 30,
    "harddrive": 2,
    "copper": 8,
    "mode": 40,
}
ELSEWHERE = {"projector", "turquoise", "vans"}  # of other fields, or of the language


def slips(typed: str, meant: str) -> int:
    """Optimal string alignment, the distance of tantivy's automaton."""
    table = [[max(i, j) for j in range(len(meant) + 1)] for i in range(len(typed) + 1)]
    for i, a in enumerate(typed, 1):
        for j, b in enumerate(meant, 1):
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a != b))
            if i > 1 and j > 1 and (a, typed[i - 2]) == (meant[j - 2], b):
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]


class Shop:
    """A lexicon in memory."""

    def folded(self, word: str) -> str:
        return word.lower()

    def count(self, word: str) -> int:
        return COUNTS.get(word, 0)

    def __contains__(self, word: str) -> bool:
        return word in COUNTS or word in ELSEWHERE

    def near(self, word: str, most: int) -> list[tuple[str, int]]:
        found = [(known, count) for known, count in COUNTS.items() if slips(word, known) <= most]
        return sorted(found, key=lambda pair: -pair[1])


def found(word: str) -> bool:
    return word.rstrip("s") in COUNTS


def speller(*numbered: str) -> Speller:
    return Speller(Shop(), found, lambda _: numbered)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("wireles hedphones", "wireless headphones"),
        ("Wirelss, Kettel!", "wireless, kettle!"),
        ("wireless-hedphones", "wireless-headphones"),
        ("kettlle", "kettle"),
        ("ketyle", "kettle"),  # a neighbouring key
        ("brinter", "printer"),  # heard alike, in the first letter
        ("hedphnoes", "headphones"),  # two slips
        ("headphonecase", "headphone case"),
        ("head phones case", "headphones case"),
        ("hedphones 2020", "headphones 2020"),
    ],
)
def test_what_nobody_knows_is_corrected(typed: str, meant: str) -> None:
    assert speller().corrected(typed) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kettles",  # found by its stem
        "hard drive",  # known better as two words
        "head",
        "vans turquoise",  # known elsewhere
        "projector",  # of the language, one far key from protector
        "clasp",
        "modem",  # not mode with a letter too many
        "kfttle9",
        "wh-ketle-1000",
        "ket",
        "電熱水壺",
        "🙂 ~ '",
        "_kettel_9",
        "xyzzyxyzzy",
    ],
)
def test_other_words_stay(text: str) -> None:
    assert speller().corrected(text) == text


def test_a_letter_of_a_spaced_model_number_stays() -> None:
    assert speller().corrected("ketle 43") == "kettle 43"
    assert speller("ketle", "43").corrected("ketle 43") == "ketle 43"


class Counted(Shop):
    """Counts what it is asked for, and has a word that only folding makes known."""

    def __init__(self) -> None:
        self.near_calls = self.numbered_calls = 0

    def folded(self, word: str) -> str:
        return word.lower().replace("ø", "o")

    def near(self, word: str, most: int) -> list[tuple[str, int]]:
        self.near_calls += 1
        return super().near(word, most)

    def numbers(self, _: str) -> list[str]:
        self.numbered_calls += 1
        return ["kettøl", "43"]


@pytest.mark.parametrize("text", [" ".join(["hedphnoes"] * 16), "x" * 1000, "kettel printr wirelss headphne"])
def test_another_language_and_endless_words_are_not_looked_up(text: str) -> None:
    shop = Counted()
    assert Speller(shop, found, shop.numbers).corrected(text) == text
    assert (shop.near_calls, shop.numbered_calls) == (0, 0)


def test_numbers_are_looked_up_once_and_compared_as_words_are() -> None:
    shop = Counted()
    assert Speller(shop, found, shop.numbers).corrected("kettøl 43 printr wirelss") == "kettøl 43 printer wireless"
    assert shop.numbered_calls == 1
    assert shop.near_calls == 2


def test_a_joint_is_put_together_with_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COUNTS, "format", 30)
    monkeypatch.setitem(COUNTS, "mat", 2)
    assert speller().corrected("case for mat") == "case for mat"


WORD = st.text("abcdeghiklnoprst", min_size=1, max_size=12)
NUMBER = st.from_regex(r"[a-zA-Z]{0,5}-?[0-9]{1,4}[a-z]{0,3}", fullmatch=True)


@given(st.lists(st.one_of(st.sampled_from(sorted(ELSEWHERE | COUNTS.keys())), NUMBER), max_size=6))
def test_known_words_and_numbers_are_never_touched(words: list[str]) -> None:
    text = " / ".join(words)  # apart, as neighbours may be one word
    assert speller().corrected(text) == text


@given(st.lists(WORD, max_size=6).map(" ".join))
def test_a_corrected_query_is_correct(text: str) -> None:
    once = speller().corrected(text)
    assert len(once.split()) <= 2 * len(text.split())
    if " " not in text:
        assert once == text or all(part in Shop() for part in once.split())


@given(st.text(max_size=80))
def test_any_text_is_taken(text: str) -> None:
    assert speller().corrected(text).strip() != "" or not text.strip()


def test_neighbouring_keys_and_sounds_are_confused() -> None:
    assert {"q", "e", "a", "s"} <= CONFUSED["w"]
    assert "l" in CONFUSED["k"]
    assert "p" in CONFUSED["b"]
    assert "t" not in CONFUSED["j"]
