"""What a product is, by rule: its type, what it belongs to, its brand, model numbers, sizes and colours.

Types are learned from the whole catalogue: a type is a phrase of a title's head (before "for", "with", a comma) that
several brands use and that ends in a noun, that is in a word that mostly ends such phrases. A category is one, too.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from .words import COLOURS, SIZE, STOP, UNITS, sizes, terms

LONGEST = 3  # words of a type
BRANDS = 2  # that use a type, at least
ENDS = 0.5  # of a noun's occurrences end a phrase, at least
VALUED = 0.5  # a word is a value, no type, if attributes have it so much oftener than titles
SHARED = 3  # products that one model number names, at most
NAMELESS = frozenset(  # end no type
    ["capacity", "color", "colour", "lite", "matt", "matte", "original", "premium", "serie", "total", "type"]
)
_SPLIT = re.compile(r"[,;:()\[\]/|\"]+|\s[-\u2013]\s")
_HEAD = re.compile(r"\b(?:for|with|compatible|by|fits)\b.*")  # what ends a phrase's head
_FOR = re.compile(r"\b(?:for|compatible with|fits)\b([^,;:()\[\]|]*)")
_TOKEN = re.compile(r"[\w+]+(?:[.\-/]\w+)*")
_MEASURE = re.compile(rf"\d[\d.,/x]*-?(?:pin|bit|way|year|{'|'.join(map(re.escape, UNITS))})?")  # 1280x800, 144-pin
_MODEL = re.compile(r"(?=.*\d)(?=.*[a-z])[a-z0-9][a-z0-9\-/.]{3,}|\d{5,}")
TYPED = ("category", "product_type")  # fields and attributes that may name a type


@dataclass(frozen=True)
class Facts:
    """What is known of a product; phrases are casefolded words joined by a space, plurals cut."""

    type: str = ""  # "" where none is known
    belongs: frozenset[str] = frozenset()  # the types that it is made for
    brand: str = ""
    maker: str = ""  # the brand as written, casefolded
    models: tuple[str, ...] = ()  # as written, casefolded
    sizes: Mapping[str, frozenset[float]] = field(default_factory=dict)  # by unit
    colours: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()  # of the title


def is_a(kind: str, wanted: str) -> bool:
    """Whether a product of a type is what was wanted: a networking cable is a cable, a cable tie is none."""
    return kind == wanted or kind.endswith(f" {wanted}")


def facts_of(products: Sequence[Mapping[str, Any]]) -> list[Facts]:
    """The facts of every product of one catalogue, in order.

    Args:
        products: with title and, where known, brand, category and attributes.
    """
    texts = [_Text(product) for product in products]
    types = _types(texts)
    shared = Counter(model for text in texts for model in set(text.models))
    return [_facts(text, types, shared) for text in texts]


class _Text:
    """A product's title, cut into phrases of words."""

    def __init__(self, product: Mapping[str, Any]) -> None:
        title = str(product["title"]).casefold()
        attributes: Mapping[str, Any] = product.get("attributes") or {}
        brand = str(product.get("brand") or "").casefold()
        self.title = title
        self.brand, self.maker = " ".join(terms(brand)), brand
        named = (product.get("category"), attributes.get("product_type"))
        self.named = next((" ".join(w) for v in named if v and _is_phrase(w := terms(str(v)))), "")
        self.values = {str(value).casefold() for name, value in attributes.items() if name not in TYPED}
        self.colours = {w for w in terms(title) if w in COLOURS}
        self.colours |= {w for n, v in attributes.items() if "colo" in n for w in terms(str(v)) if w in COLOURS}
        bare = SIZE.sub(" , ", title.replace(brand, " , ", 1) if brand else title)
        self.phrases = [list(_words(_HEAD.sub("", part), self.values)) for part in _SPLIT.split(bare)]
        behind = _FOR.search(title)
        self.behind = " ".join(terms(behind.group(1))) if behind else ""
        self.models = [token for token in _TOKEN.findall(bare) if _is_model(token)]

    def runs(self) -> Iterator[list[str]]:
        """Stretches of words that could name something, which nothing interrupts."""
        for phrase in self.phrases:
            run: list[str] = []
            for word in [*phrase, ""]:
                if word:
                    run.append(word)
                elif run:
                    yield run
                    run = []


def _words(part: str, values: set[str]) -> Iterator[str]:
    """The words of a part; "" for each that cannot be a part of a type: a value, or what a number counts."""
    counted = False
    for token in _TOKEN.findall(part):
        word = (terms(token) or [""])[0]
        usable = token.isalpha() and len(word) > 1 and word not in STOP and word not in COLOURS and word not in UNITS
        yield word if usable and token not in values and not counted else ""
        counted = token.isdigit()


def _is_phrase(words: Sequence[str]) -> bool:
    return 0 < len(words) <= LONGEST and all(word.isalpha() for word in words)


def _is_model(token: str) -> bool:
    return bool(_MODEL.fullmatch(token)) and (token.isdigit() or not _MEASURE.fullmatch(token))


def _types(texts: Sequence[_Text]) -> dict[str, int]:
    """Every phrase that names a type, with the number of its products."""
    makers = {text.brand for text in texts}
    valued = Counter(value for text in texts for value in text.values)
    met: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    before: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by word, how often each word comes before it
    brands: defaultdict[str, set[str]] = defaultdict(set)
    count: Counter[str] = Counter()
    for text in texts:
        seen = {text.named} - {""}
        for run in text.runs():
            met.update(run)
            ends[run[-1]] += 1
            for word, following in pairwise(run):
                before[following][word] += 1
            seen.update(_ngrams(run))
        count.update(seen)
        for phrase in seen:
            brands[phrase].add(text.brand)
    named = {text.named for text in texts} - {""}
    least = max(2, round(4 * (len(texts) / 20_000) ** 0.5))
    alone = met.copy()
    for word, n in ends.items():
        if n >= ENDS * met[word]:
            alone.subtract(before[word])  # a monitor cable makes monitor no less of a noun

    def is_type(phrase: str) -> bool:
        first, last = phrase.partition(" ")[0], phrase.rpartition(" ")[2]
        shared = len(brands[phrase]) >= BRANDS and count[phrase] >= least
        is_noun = len(last) > 2 and last not in NAMELESS and ends[last] >= ENDS * alone[last]  # noqa: PLR2004 - letters
        is_value = any(VALUED * met[word] < valued[word] for word in (first, last))
        return phrase in named or (shared and is_noun and not is_value and phrase not in makers)

    return {phrase: n for phrase, n in count.items() if is_type(phrase)}


def _ngrams(run: Sequence[str]) -> Iterator[str]:
    for length in range(1, LONGEST + 1):
        for start in range(len(run) - length + 1):
            yield " ".join(run[start : start + length])


def _facts(text: _Text, types: Mapping[str, int], shared: Mapping[str, int]) -> Facts:
    found = [phrase for run in text.runs() for phrase in _ngrams(run) if phrase in types]
    longest = max((phrase.count(" ") for phrase in found), default=0)
    kind = text.named or next((p for p in reversed(found) if p.count(" ") == longest), "")
    belongs = {" ".join(gram.split()) for gram in _ngrams(text.behind.split()) if gram in types}
    words = kind.split()
    belongs |= {" ".join(words[:end]) for end in range(1, len(words)) if " ".join(words[:end]) in types}
    return Facts(
        type=kind,
        belongs=frozenset(b for b in belongs if not is_a(kind, b)),
        brand=text.brand,
        maker=text.maker,
        models=tuple(dict.fromkeys(m for m in text.models if shared[m] <= SHARED)),
        sizes=sizes(text.title),
        colours=frozenset(text.colours),
        words=frozenset(terms(text.title)),
    )
