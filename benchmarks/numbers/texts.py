"""The numbers that are written."""

from __future__ import annotations

import numpy as np


def random_digits(chance: np.random.Generator, least: int, most: int) -> str:
    """Return ``least`` to ``most`` digits; the first may be a zero."""
    return "".join(map(str, chance.integers(0, 10, chance.integers(least, most + 1))))


def random_marked(chance: np.random.Generator) -> str:
    """Return a number with a mark: a decimal, a negative number, a date, a time, a range."""
    whole = str(chance.integers(1, 10 ** int(chance.integers(1, 4))))
    part = random_digits(chance, 1, 2)
    day, month, year = chance.integers([1, 1, 1950], [32, 13, 2031])
    year = int(year) if chance.random() < 2 / 3 else int(year) % 100
    hours, minutes = chance.integers([0, 0], [24, 60])
    forms = (
        f"{whole},{part}",
        f"{whole},{part}",
        f"{whole}.{part}",
        f"0.{part}",
        f"0,{part}",
        f"-{whole}",
        f"-{whole}",
        f"-{whole},{part}",
        f"{day}/{month}/{year:02}",
        f"{day:02}/{month:02}/{year:02}",
        f"{day}.{month}.{year:02}",
        f"{day:02}-{month:02}-{year:02}",
        f"{hours}:{minutes:02}",
        f"{hours}:{minutes:02}",
        f"{chance.integers(1, 10)}/{chance.integers(2, 13)}",
        f"{chance.integers(1, 40)}-{chance.integers(1, 40)}",
        f"{chance.integers(1, 10)}.{chance.integers(1, 1000):03},{part}",
    )
    return forms[chance.integers(len(forms))]
