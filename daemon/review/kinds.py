"""Sort rows into kinds: by status, by what they are, and by whether a person has answered."""

from collections.abc import Iterable
from itertools import product

from daemon.outbox.labels import NOT_A_DIGIT
from daemon.records import DIGITS, Status

STATUSES = (Status.OK, Status.UNSURE, Status.ERROR)
# What a row is: the person's answer, or else the model's digit.
NOTHING, OTHER = "", "number"
VALUES = (*map(str, range(DIGITS)), NOT_A_DIGIT, NOTHING, OTHER)
_VALUE_NUMBERS = {value: number for number, value in enumerate(VALUES)}
_STATUS_NUMBERS = {status.value: number for number, status in enumerate(STATUSES)}
COUNT = len(STATUSES) * len(VALUES) * 2


def kind(status: str, value: str, *, answered: bool) -> int:
    """Return the number of a kind, below ``COUNT``.

    Args:
        status: of the row.
        value: the person's answer if there is one, or else the model's digit, which may be empty.
        answered: whether a person has answered.
    """
    number = _VALUE_NUMBERS.get(value, _VALUE_NUMBERS[OTHER])
    return (_STATUS_NUMBERS[status] * len(VALUES) + number) * 2 + answered


def status_of(number: int) -> Status:
    """Return the status of the rows of a kind."""
    return STATUSES[number // 2 // len(VALUES)]


def is_answered(number: int) -> bool:
    """Return whether a person has answered the rows of a kind."""
    return bool(number % 2)


def matching(statuses: Iterable[str], values: Iterable[str], answered: Iterable[bool]) -> list[int]:
    """Return the kinds with one of each; an empty list allows all."""
    return sorted(
        kind(status, value, answered=done)
        for status, value, done in product(
            list(statuses) or _STATUS_NUMBERS,
            list(values) or VALUES,
            list(answered) or (False, True),
        )
    )
