"""Compare numbers with those that are expected: a regular expression, or the values of a file."""

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from daemon.files import open_untrusted
from daemon.records import LONGEST_NUMBER, Doubt, Expected, Status, Verdict, is_number
from daemon.regex import Graph, Regex
from daemon.text import escape

_DIGITS, _MARKS = "0123456789", ".,/:-"
_MOST_MB = 4  # of a file with values: 100,000 values of the greatest length, or 400,000 short ones
_SHOWN = 40  # characters of a line that is no number


def find_fault(pattern: str) -> str:
    """Return why a regular expression cannot be used, and what to do; empty if it can."""
    try:
        regex = Regex(pattern)
    except ValueError as error:
        return str(error)
    graph, ends = _graph_of_numbers()
    if regex.matches_some(graph, ends):
        return ""
    return "it matches no number: write one that matches numbers such as 0471, 7,5 or -3"


def _graph_of_numbers() -> tuple[Graph, frozenset[int]]:
    """Return a graph with all numbers, and the positions where one may end."""
    # After so many characters, position 2n follows a digit and 2n + 1 a minus or a mark.
    graph: list[dict[str, int]] = []
    for position in range(2, 2 * LONGEST_NUMBER + 2, 2):
        after_digit = dict.fromkeys(_DIGITS, position)
        marks = _MARKS if graph else "-"
        graph += [after_digit | dict.fromkeys(marks, position + 1), after_digit]
    return [*graph, {}, {}], frozenset(range(2, len(graph) + 2, 2))


def load_values(file: Path) -> Expected:
    """Return the values of a file, which has one number a line.

    A byte order mark, blank lines, spaces around a number and duplicates do not matter.

    Raises:
        ValueError: it has no numbers, or something else; the text says what.
        OSError: it cannot be read.
    """
    descriptor = open_untrusted(os.path.realpath(file))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("is not a regular file")
    with open(descriptor, "rb") as opened:  # noqa: PTH123 - opened above
        data = opened.read(_MOST_MB * 1_000_000 + 1)
    if len(data) > _MOST_MB * 1_000_000:
        raise ValueError(f"has more than {_MOST_MB} MB")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    values = set()
    for number, line in enumerate(lines, 1):
        value = line.strip()
        if value and not is_number(value):
            raise ValueError(f"has {escape(value[:_SHOWN])} in line {number}, which is no number")
        values.add(value)
    values.discard("")
    if not values:
        raise ValueError("has no number")
    return Expected(values=frozenset(values))


def check_verdict(verdict: Verdict, expected: Expected) -> Verdict:
    """Return a verdict on a number, ``unsure`` unless the number is expected.

    If exactly one expected value differs from the number by one character, it becomes the guess.
    """
    text, is_ok = verdict.text, verdict.status is Status.OK
    if text is None or not (is_ok or verdict.reason.startswith(Doubt.LOW_CONFIDENCE)):
        return verdict
    if text in expected.values or (expected.pattern and _compile(expected.pattern).matches(text)):
        return verdict
    near = set(_neighbours(text)) & expected.values
    (guess,) = near if len(near) == 1 else (text,)
    if is_ok:
        reason = str(Doubt.NOT_EXPECTED) if guess == text else f"{Doubt.NOT_EXPECTED}: read {text}"
    else:
        separator = "; " if ":" in verdict.reason else ": "
        reason = f"{verdict.reason}{separator}{text} is not expected"
    doubtful = replace(verdict, status=Status.UNSURE, reason=reason)
    return doubtful if guess == text else _replace_text(doubtful, guess)


def _replace_text(verdict: Verdict, text: str) -> Verdict:
    """Return a verdict with another text, which has a confidence only if it is one digit."""
    if verdict.probabilities is None or len(text) > 1:
        return replace(verdict, text=text, confidence=None, probabilities=None)
    return replace(verdict, text=text, confidence=verdict.probabilities[int(text)])


_compile = lru_cache(maxsize=1)(Regex)


def _neighbours(text: str) -> Iterator[str]:
    """Yield all texts that one wrong, missing or extra character separates from a text."""
    for position in range(len(text) + 1):
        before, after = text[:position], text[position:]
        for c in _DIGITS + _MARKS:
            yield f"{before}{c}{after}"
            yield f"{before}{c}{after[1:]}"
        yield before + after[1:]
