"""Which keys lie beside each other, on a QWERTY keyboard."""

ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")  # each a third of a key to the right of the one above
_NEXT = 1.1  # widths of a key between those that are neighbours, and a bit: thirds are not exact


def _neighbours() -> dict[str, str]:
    at = {key: (row, column + row / 3) for row, keys in enumerate(ROWS) for column, key in enumerate(keys)}
    return {
        key: "".join(k for k, (r, c) in at.items() if k != key and abs(r - row) <= 1 and abs(c - column) < _NEXT)
        for key, (row, column) in at.items()
    }


NEIGHBOURS = _neighbours()  # by letter, in the same row and in those above and below
