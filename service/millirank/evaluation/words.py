"""Words of a text as BM25 and hold-outs compare them."""

import re

_TERM = re.compile(r"\w+")
_PLURAL = 4  # letters from which a last s is taken for a plural


def terms(text: str) -> list[str]:
    """The words of a text as BM25 and the hold-out compare them: folded, and without the s of a plural."""
    words = _TERM.findall(text.casefold())
    return [w[:-1] if len(w) >= _PLURAL and w[-1] == "s" and w[-2] not in "su" else w for w in words]


def normal(query: str) -> str:
    """A query as the hold-out compares it: two queries with the same normal form are one."""
    return " ".join(terms(query))
