"""Compare numbers with those that are expected: a regular expression, or the values of a file."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import re2

from daemon.files import open_regular
from daemon.records import Doubt, Expected, Status, Verdict, is_number
from daemon.text import escape

_DIGITS, _MARKS = "0123456789", ".,/:-"
_MOST_MB = 4  # of a file with values: 100,000 values of the greatest length, or 400,000 short ones
_SHOWN = 40  # characters of a line that is no number

# RE2 matches in linear time. `re` backtracks: ``(?:[0-9]?){30}-`` takes it minutes to refuse 30
# digits, and no setting limits that.
_RE2 = re2.Options()
_RE2.max_mem = 1 << 18  # bytes: 2000 numbers with | between them; 25 ms to compile (2-core x86)
_RE2.never_capture = True
_RE2.log_errors = False  # they are raised too

# RE2's messages about what other engines have, such as lookaround, backreferences and possessive
# counts; the rest of the message is the part of the pattern.
_UNSUPPORTED = frozenset(
    {"invalid perl operator", "invalid escape sequence", "bad repetition operator"}
)
# A brace that RE2 takes as a character, as in {,3} and {2. Escapes such as \{ and \pN may have one.
_STRAY_BRACE = re.compile(r"(?<!\\)(?<!\\[pPx])\{(?![0-9]{1,8}(,[0-9]{0,8})?\})")

# Ranges as people write them, such as 1-15, 1..15 and, of numbers with several digits, [1-15].
_RANGE = re.compile(r"(\[?)(-?[0-9]+)(?:[-\u2010-\u2015\u2212\u2026]|\.\.+|to)(-?[0-9]+)\]?")


def find_fault(pattern: str) -> str:
    """Return why a regular expression cannot be used, and what to do; empty if it can."""
    if re.search(r"\s", pattern):
        return "it has a space or a line break, and no number has one: remove it"
    if _STRAY_BRACE.search(pattern):
        return "it has a { that begins no count: write counts such as {2}, {2,} and {0,3}"
    try:
        regex = re2.compile(pattern, _RE2)
    except UnicodeEncodeError as error:
        return f"it is broken ({error}): correct it"
    except re2.error as error:
        return _describe(error.args[0].decode(errors="replace"))
    if not _may_match_number(regex):
        return "it matches no number: write one that matches numbers such as 0471, 7,5 or -3"
    return ""


def find_range(pattern: str) -> tuple[str, str] | None:
    """Return the ends of a range of numbers that a pattern seems to mean; ``None`` without one.

    It may mean the text: 12-15 is a number as people write them.
    """
    for part in re.split("[|,;]", pattern):
        if found := _RANGE.fullmatch(part.strip("^$()")):
            bracket, low, high = found.groups()
            is_set = bracket and len(low) == len(high) == 1  # [0-9] is right
            if not is_set and int(low) < int(high):
                return low, high
    return None


def _may_match_number(regex: Any) -> bool:  # noqa: ANN401 - re2 has no types
    """Return whether a match may begin with a minus or a digit, as a number does.

    RE2 says only between which two texts all matches are. This is enough to refuse quotes, letters
    and an empty pattern, but not 33 digits.
    """
    try:
        least, most = regex.possiblematchrange(2)
    except re2.error:  # anything may match
        return True
    return bool(least[:1] <= b"9" and most >= b"-")


def _describe(fault: str) -> str:
    """Return a message of RE2 with what to do."""
    message, _, part = fault.partition(": ")
    if message in _UNSUPPORTED:
        return (
            f"{escape(part)} is not supported: write it with characters, sets, groups, | and counts"
        )
    if message.startswith("pattern too large"):
        return "it is too large: write a shorter one, with smaller counts"
    return f"it is broken ({escape(fault)}): correct it"


def load_values(file: Path) -> Expected:
    """Return the values of a file, which has one number a line.

    A byte order mark, blank lines, spaces around a number and duplicates do not matter.

    Raises:
        ValueError: it has no numbers, or something else; the text says what.
        OSError: it cannot be read.
    """
    with open_regular(file) as opened:
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
    if text in expected.values or (expected.pattern and _matches(expected.pattern, text)):
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


def _matches(pattern: str, text: str) -> bool:
    """Return whether a regular expression matches a whole number."""
    return re2.compile(pattern, _RE2).fullmatch(text) is not None  # compile has a cache


def _neighbours(text: str) -> Iterator[str]:
    """Yield all texts that one wrong, missing or extra character separates from a text."""
    for position in range(len(text) + 1):
        before, after = text[:position], text[position:]
        for c in _DIGITS + _MARKS:
            yield f"{before}{c}{after}"
            yield f"{before}{c}{after[1:]}"
        yield before + after[1:]
