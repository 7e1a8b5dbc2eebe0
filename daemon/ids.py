"""Issue ids that are unique and sort in the order of arrival, whatever the clock does.

After the clock was ahead, ids continue from the last one until the clock has caught up. So never
take a time from an id: a row has ``received_at``.
"""

import re
import time
from datetime import UTC, datetime

# Crockford's base 32 (https://www.crockford.com/base32.html) in lower case. It is in ASCII order
# and omits letters that look like digits.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
# A leading letter keeps spreadsheets from parsing an id as a number.
_PREFIX = "d"
_PLACES = 12
_COUNTER_BITS = 12  # for ids in the same millisecond; the other 48 bits last until the year 10889
# The same digits in the order of Python's base 32, so that int() can read them: 0.4 us, not 1.6.
_TO_PYTHON = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")
_LAST_SECOND = 253402300799  # end of the year 9999, datetime's limit; a forged id may exceed it

LENGTH = len(_PREFIX) + _PLACES
PATTERN = re.compile(rf"{_PREFIX}[{_ALPHABET}]{{{_PLACES}}}")


def encode(value: int) -> str:
    """Return a 60-bit number as an id; ids sort like their numbers."""
    places = [_ALPHABET[(value >> 5 * place) & 31] for place in reversed(range(_PLACES))]
    return _PREFIX + "".join(places)


def decode(text: str) -> int:
    """Return the number in an id."""
    return int(text.removeprefix(_PREFIX).translate(_TO_PYTHON), 32)


def moment(text: str) -> datetime:
    """Return the time in an id, UTC, to the millisecond; wrong if the clock was ever ahead."""
    seconds = (decode(text) >> _COUNTER_BITS) / 1000
    return datetime.fromtimestamp(min(seconds, _LAST_SECOND), UTC)


class Ids:
    """Issues ids, each greater than all previous ones, whatever the clock does."""

    def __init__(self) -> None:
        self._last = 0

    def skip(self, seen: str, more: int = 0) -> None:
        """Issue no id up to ``seen``, and none of the ``more`` ids after it."""
        self._last = max(self._last, decode(seen) + more)

    def next(self) -> str:
        """Return the next id."""
        now = time.time_ns() // 1_000_000 << _COUNTER_BITS
        self._last = max(self._last + 1, now)
        return encode(self._last)
