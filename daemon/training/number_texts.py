"""Choose the texts of numbers to train on."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

# Share of the texts with each number of digits, from 0 on.
_LENGTHS = np.array([0, 16, 15, 14, 13, 12, 9, 6, 5, 4, 3, 2.5, 2.5, 1, 1, 0.5, 0.5])
_MARKED, _SPOILT = 0.3, 0.1  # share of the texts with marks, and with other things


def choose(rng: Generator) -> str:
    """Return a text to write: digits, marks, ``x`` for something else, ``X`` for a struck digit."""
    count = int(rng.choice(len(_LENGTHS), p=_LENGTHS / _LENGTHS.sum()))
    kind = rng.random()
    if kind < _SPOILT:
        return _spoil(_digits(count, rng), rng)
    if kind < _SPOILT + _MARKED:
        shares = np.array([share for share, _ in _MARKED_TEXTS])
        _, write = _MARKED_TEXTS[rng.choice(len(shares), p=shares / shares.sum())]
        return write(count, rng)
    return _digits(count, rng)


def _digits(count: int, rng: Generator) -> str:
    digits = rng.integers(0, 10, count)
    kind = rng.random()
    if kind < 0.12:  # a few digits, often repeated
        digits = rng.choice(rng.integers(0, 10, 2), count)
    elif kind < 0.2:
        digits[rng.random(count) < 0.5] = 1
    elif kind < 0.26:
        digits[[0, -1]] = 1
    return "".join(map(str, digits))


def _short(rng: Generator) -> str:
    return _digits(int(rng.integers(1, 3)), rng)


def _choose_mark(marks: str, rng: Generator) -> str:
    return marks[int(rng.integers(len(marks)))]


def _negative(count: int, rng: Generator) -> str:
    return "-" + _digits(count, rng)


def _decimal(count: int, rng: Generator) -> str:
    sign = "-" if rng.random() < 0.15 else ""
    places = _digits(int(rng.integers(1, 4)), rng)
    return sign + _digits(count, rng) + _choose_mark(".,", rng) + places


def _date(_: int, rng: Generator) -> str:
    year = _digits(int(rng.choice((2, 4))), rng)
    parts = [_short(rng), _short(rng), year]
    return _choose_mark(".//-", rng).join(parts if rng.random() < 0.8 else parts[::-1])


def _time(_: int, rng: Generator) -> str:
    return ":".join(_short(rng) for _ in range(int(rng.integers(2, 4))))


def _pair(count: int, rng: Generator) -> str:
    return _digits(count, rng) + _choose_mark("/-", rng) + _digits(int(rng.integers(1, 5)), rng)


def _thousands(_: int, rng: Generator) -> str:
    groups = [_digits(3, rng) for _ in range(int(rng.integers(1, 4)))]
    return _choose_mark(".,", rng).join([_digits(int(rng.integers(1, 4)), rng), *groups])


def _with_a_mark_at_its_end(count: int, rng: Generator) -> str:
    sign = "-" if rng.random() < 0.3 else ""
    return sign + _digits(count, rng) + _choose_mark("...---,", rng)


def _with_marks_anywhere(count: int, rng: Generator) -> str:
    digits, at = _digits(count, rng), int(rng.integers(0, count + 1))
    marks = "".join(_choose_mark(".,-/:", rng) for _ in range(int(rng.integers(1, 3))))
    return digits[:at] + marks + digits[at:]


_MARKED_TEXTS: tuple[tuple[float, Callable[[int, Generator], str]], ...] = (
    (14, _negative),
    (22, _decimal),
    (22, _date),
    (18, _time),
    (12, _pair),
    (8, _thousands),
    (6, _with_a_mark_at_its_end),
    (4, _with_marks_anywhere),
)


def _spoil(text: str, rng: Generator) -> str:
    """Return a text in which something else, or a struck digit, takes the place of digits."""
    kind = rng.random()
    if kind < 0.3:
        return "x" * int(rng.integers(1, 9))
    if kind < 0.45:
        return "X" * len(text)
    if kind < 0.55:
        return text + "x" * int(rng.integers(1, 5))
    spoilt = list(text)
    for _ in range(int(rng.integers(1, 3))):
        spoilt[int(rng.integers(len(spoilt)))] = "x" if rng.random() < 0.5 else "X"
    return "".join(spoilt)
