"""Match numbers with regular expressions, in polynomial time.

Python's ``re`` backtracks: ``(?:[0-9]?){30}-`` takes it minutes to refuse 30 digits, and no setting
limits that. Here, each part of a pattern is a function from a position in a text to all positions
at which a match of the part may end, and each such step is computed once.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from daemon.records import LONGEST_NUMBER

LONGEST_PATTERN = 200  # characters, so that the worst pattern takes 0.2 s for 32 characters

# A text is a graph with one path: from its start to its end, with a character at each step. Other
# graphs have several paths, and so stand for many texts at once.
Graph = Sequence[Mapping[str, int]]
"""For each position, the position after each character that may follow; 0 is the start."""

# A part that is repeated more often than a number has characters matches nothing at least once, and
# may do so any number of times.
_MOST = LONGEST_NUMBER + 1

_ATOM = re.compile(
    r"""\[ \^? \]? (?: \\. | [^]\\] )* \]   # a set
      | \\ (?: [dDsSwW] | [^0-9A-Za-z] )    # a class, or an escaped mark
      | [^][\\(){}|*+?^$]                   # a character
    """,
    re.VERBOSE | re.DOTALL,
)
_GROUP = re.compile(r"\((?:\?:|\?P<\w+>|(?!\?))")
_ANCHOR = re.compile(r"\^|\$|\\A|\\Z")
_BAR, _LAZY = re.compile(r"\|"), re.compile(r"\?")
_COUNT = re.compile(r"[*+?]|\{(?=[0-9,])([0-9]*)(,?)([0-9]*)\}")
_BOUNDS = {"*": (0, _MOST), "+": (1, _MOST), "?": (0, 1)}


# Compared by identity, because they are keys of the steps that are known.
@dataclass(frozen=True, slots=True, eq=False)
class _Characters:
    """One character of a set."""

    regex: re.Pattern[str]


@dataclass(frozen=True, slots=True, eq=False)
class _Anchor:
    """The start or the end of the text."""

    at_end: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Sequence:
    """One part after the other."""

    parts: tuple["_Part", ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Choice:
    """One of several parts."""

    parts: tuple["_Part", ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Repeat:
    """A part, ``least`` to ``most`` times."""

    part: "_Part"
    least: int
    most: int


_Part = _Characters | _Anchor | _Sequence | _Choice | _Repeat


class Regex:
    """A regular expression without lookaround, backreferences, flags and possessive counts."""

    def __init__(self, pattern: str) -> None:
        """Parse a pattern.

        Raises:
            ValueError: it is broken, too long, or not supported; the text says what to do.
        """
        if len(pattern) > LONGEST_PATTERN:
            raise ValueError(f"it has more than {LONGEST_PATTERN} characters: write a shorter one")
        try:
            with warnings.catch_warnings(action="error"):  # "[[0-9]" will get another meaning
                re.compile(pattern)
        except (re.error, OverflowError, RecursionError, FutureWarning) as error:
            raise ValueError(f"it is broken ({error}): correct it") from None
        self._part = _Parser(pattern).parse()

    def matches(self, text: str) -> bool:
        """Return whether the pattern matches a whole text, which is no longer than a number."""
        graph = [*({c: position + 1} for position, c in enumerate(text)), {}]
        return self.matches_some(graph, frozenset({len(text)}))

    def matches_some(self, graph: Graph, ends: frozenset[int]) -> bool:
        """Return whether the pattern matches a text of a graph without cycles.

        Args:
            graph: has no path with more steps than a number has characters.
            ends: the positions where a text may end.
        """
        walk = _Walk(graph, ends)
        return not walk.ends.isdisjoint(walk.step(self._part, 0))


class _Parser:
    """Parses a pattern that ``re`` has accepted."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._position = 0

    def parse(self) -> _Part:
        """Return the pattern as a part."""
        part = self._choice()
        if self._position < len(self._pattern):
            self._refuse()
        return part

    def _choice(self) -> _Part:
        parts = [self._sequence()]
        while self._take(_BAR):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else _Choice(tuple(parts))

    def _sequence(self) -> _Part:
        parts: list[_Part] = []
        while self._pattern[self._position : self._position + 1] not in {"", "|", ")"}:
            parts.append(self._repeat())
        return parts[0] if len(parts) == 1 else _Sequence(tuple(parts))

    def _repeat(self) -> _Part:
        part = self._one()
        if found := self._take(_COUNT):
            part = _Repeat(part, *_bounds(found))
            self._take(_LAZY)  # which of several matches is found does not matter
        return part

    def _one(self) -> _Part:
        if found := self._take(_ANCHOR):
            return _Anchor(found[0] in {"$", r"\Z"})
        if found := self._take(_ATOM):
            return _Characters(re.compile(found[0]))
        if not self._take(_GROUP):
            self._refuse()
        part = self._choice()
        self._position += 1  # the closing bracket: ``re`` has found one for each
        return part

    def _take(self, token: re.Pattern[str]) -> re.Match[str] | None:
        found = token.match(self._pattern, self._position)
        if found:
            self._position = found.end()
        return found

    def _refuse(self) -> None:
        raise ValueError(
            f"{self._pattern[self._position :]} is not supported: write it with characters, sets, "
            "groups, | and counts"
        )


def _bounds(count: re.Match[str]) -> tuple[int, int]:
    """Return how often a part is repeated at least and at most."""
    if count[0] in _BOUNDS:
        return _BOUNDS[count[0]]
    least, comma, most = count.groups()
    bounds = int(least or 0), int(most or _MOST) if comma else int(least)
    return min(bounds[0], _MOST), min(bounds[1], _MOST)


class _Walk:
    """The steps through one graph.

    Attributes:
        ends: the positions where a text may end.
    """

    def __init__(self, graph: Graph, ends: frozenset[int]) -> None:
        # From an end, $ leads to another one, after which no character follows.
        self._graph = [*graph, {}]
        self._after_end = len(graph)
        self.ends = ends | {self._after_end}
        self._steps: dict[tuple[_Part, int], set[int]] = {}

    def step(self, part: _Part, start: int) -> set[int]:
        """Return all positions at which a match of a part that begins at ``start`` may end."""
        key = part, start
        if key not in self._steps:
            self._steps[key] = self._find(part, start)
        return self._steps[key]

    def _find(self, part: _Part, start: int) -> set[int]:
        match part:
            case _Characters(regex):
                return {end for c, end in self._graph[start].items() if regex.fullmatch(c)}
            case _Anchor(at_end=True):
                return {self._after_end} if start in self.ends else set()
            case _Anchor():
                return {0} if start == 0 else set()
            case _Choice(parts):
                return {end for one in parts for end in self.step(one, start)}
            case _Sequence(parts):
                found: set[int] = {start}
                for one in parts:
                    found = self._step_all(one, found)
                return found
            case _Repeat(part, least, most):
                return self._repeat(part, least, most, start)

    def _step_all(self, part: _Part, starts: set[int]) -> set[int]:
        return {end for start in starts for end in self.step(part, start)}

    def _repeat(self, part: _Part, least: int, most: int, start: int) -> set[int]:
        last: set[int] = {start}
        for _ in range(least):
            last = self._step_all(part, last)
        found = set(last)
        for _ in range(most - least):
            last = self._step_all(part, last) - found
            found |= last
        return found
