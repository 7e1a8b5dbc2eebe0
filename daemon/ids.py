"""Ids: unique, and sorting by time even when the clock is set back."""

import re
import time
from datetime import UTC, datetime

# Crockford's base 32 (https://www.crockford.com/base32.html), lower case: in ASCII order,
# and without the letters that are taken for digits.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
# A letter in front keeps a spreadsheet from taking an id for a number.
_PREFIX = "d"
_PLACES = 12
_COUNTER_BITS = 12  # ids a millisecond; the other 48 of the 60 bits last until the year 10889
_LAST_SECOND = 253402300799  # of the year 9999; an id that a stranger made up may lie beyond

LENGTH = len(_PREFIX) + _PLACES
PATTERN = re.compile(rf"{_PREFIX}[{_ALPHABET}]{{{_PLACES}}}")


def encode(value: int) -> str:
    """Write a 60-bit number as an id; ids sort as their numbers do."""
    places = [_ALPHABET[(value >> 5 * place) & 31] for place in reversed(range(_PLACES))]
    return _PREFIX + "".join(places)


def decode(text: str) -> int:
    """Read an id back as its number."""
    value = 0
    for letter in text.removeprefix(_PREFIX):
        value = value << 5 | _ALPHABET.index(letter)
    return value


def moment(text: str) -> datetime:
    """Return the time in an id: when the file was claimed, UTC, to the millisecond."""
    seconds = (decode(text) >> _COUNTER_BITS) / 1000
    return datetime.fromtimestamp(min(seconds, _LAST_SECOND), UTC)


class Ids:
    """Makes ids, each greater than every one before it, whatever the clock does."""

    def __init__(self) -> None:
        self._last = 0

    def skip(self, seen: str) -> None:
        """Make no id up to this one: an earlier run gave it."""
        self._last = max(self._last, decode(seen))

    def next(self) -> str:
        """Make the next id."""
        now = time.time_ns() // 1_000_000 << _COUNTER_BITS
        self._last = max(self._last + 1, now)
        return encode(self._last)
