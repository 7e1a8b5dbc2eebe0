"""What is measured, and what each figure must be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_UNREADABLE = frozenset({"none", "multi"})  # labels of what must not be read


class Figure(StrEnum):
    """A share of some files."""

    RIGHT = "right"
    OK = "ok"
    RIGHT_OF_OK = "right of ok"
    WRONG_AND_OK = "wrong and ok"
    NOT_OK = "not ok"  # of what must not be read; the others are of what must


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure and what it must be.

    Attributes:
        what: the files.
        figure: of them.
        least: the share must not be smaller; ``None``: no bar.
        most: the share must not be larger.
        traits: only files with one of these are counted; empty: all are.
        without: files with one of these are not counted.
    """

    what: str
    figure: Figure
    least: float | None = None
    most: float | None = None
    traits: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def counts(self, label: str, traits: frozenset[str]) -> bool:
        """Return whether a file is one of its files."""
        if (label in _UNREADABLE) != (self.figure is Figure.NOT_OK):
            return False
        if label not in _UNREADABLE and not any(map(str.isdigit, label)):
            return False  # a label such as "ambiguous"
        if traits.intersection(self.without):
            return False
        return not self.traits or bool(traits.intersection(self.traits))

    def is_met(self, part: int, whole: int) -> bool | None:
        """Return whether so many of all files are enough; ``None`` if there is no bar."""
        if self.least is None and self.most is None:
            return None
        tiny = 1e-9  # rounding of the shares
        return (self.least is None or part >= self.least * whole - tiny) and (
            self.most is None or part <= self.most * whole + tiny
        )


@dataclass(frozen=True, slots=True)
class Run:
    """One run of ``digitd evaluate``.

    Attributes:
        name: of the run.
        source: name of the set.
        bars: figures of it.
        skipped: traits whose files are left out.
        reads_numbers: whether with ``--reads number``.
    """

    name: str
    source: str
    bars: tuple[Bar, ...]
    skipped: tuple[str, ...] = ()
    reads_numbers: bool = False


def _right(what: str, least: float | None, *traits: str) -> Bar:
    return Bar(what, Figure.RIGHT, least, traits=traits)


def _not_ok(what: str, least: float | None, *traits: str) -> Bar:
    return Bar(what, Figure.NOT_OK, least, traits=traits)


def _not_wrong_and_ok(what: str, most: float | None, *traits: str) -> Bar:
    return Bar(what, Figure.WRONG_AND_OK, most=most, traits=traits)


_COMPOSED = ("apart", "close", "touching", "boxes", "slanted", "long")
_STRUCK = ("strike", "two-strikes", "cross", "scribble")
_BESIDE = ("minus", "bar", "tick")
_BELOW = ("underlined-6-9", "dotted-6-9", "underlined")
_PAGES = (
    *("plain", "printed-ring", "drawn-ring", "box", "thick-frame", "desk", "hard-shadow"),
    *("ruled", "squared", "neighbour", "chalk", "perspective"),
)
_UNSEEN = {"letter": 0.95, "word": 0.95, "symbol": 0.95, "blank": 1.0, "noise": 1.0}
_WILD, _NUMBERS, _SEQUENCES = 432, 99, 14  # files

RUNS = (
    Run("mnist", "mnist", (_right("MNIST's test digits", 0.995),)),
    Run(
        "numbers",
        "numbers",
        (
            _right("apart", 0.985, "apart"),
            _right("close", 0.98, "close"),
            _right("touching", 0.975, "touching"),
            _right("boxes", 0.98, "boxes"),
            _right("slanted line", 0.97, "slanted"),
            _right("7 to 12 digits", 0.935, "long"),
            Bar("all of these", Figure.OK, 0.88, traits=_COMPOSED),
            Bar("all of these", Figure.RIGHT_OF_OK, 0.995, traits=_COMPOSED),
            _right("with marks", 0.9, "marks"),
            _not_wrong_and_ok("with marks", 0.005, "marks"),
            _not_ok("struck", 0.97, "struck"),
            _right("underlined", 0.95, "underlined"),
            _not_wrong_and_ok("underlined", None, "underlined"),
            _right("before a dash that fills the field", None, "filled"),
            Bar("before a dash that fills the field", Figure.OK, most=0.03, traits=("filled",)),
        ),
        reads_numbers=True,
    ),
    Run(
        "marks",
        "marks",
        (
            *(_not_ok(kind, 0.97, kind) for kind in (*_STRUCK, *_BESIDE)),
            _not_ok("sign", None, "sign"),
            *(_right(kind, 0.95, kind) for kind in _BELOW),
            *(_not_wrong_and_ok(kind, 0.0, kind) for kind in _BELOW),
        ),
    ),
    Run(
        "marks in number mode",
        "marks",
        (
            *(_not_ok(kind, 0.97, kind) for kind in _STRUCK),
            *(_right(kind, None, kind) for kind in _BELOW),
            *(_not_wrong_and_ok(kind, None, kind) for kind in _BELOW),
        ),
        skipped=(*_BESIDE, "sign"),
        reads_numbers=True,
    ),
    Run(
        "styles",
        "styles",
        (
            *(_right(style, 0.97, style) for style in ("slashed-0", "crossed-0")),
            *(
                _right(style, 0.99, style)
                for style in ("european-1", "long-1", "open-6", "square-9")
            ),
            *(
                _right(style, None, style)
                for style in ("pointed-6", "small-9", "split-2", "split-5")
            ),
            _not_wrong_and_ok("all styles", None),
        ),
    ),
    Run(
        "pages",
        "pages",
        (
            *(_right(kind, 0.97, kind) for kind in _PAGES),
            _not_wrong_and_ok("all pages", 0.0015),
        ),
    ),
    Run(
        "unseen",
        "unseen",
        (
            *(_not_ok(kind, least, kind) for kind, least in _UNSEEN.items()),
            _not_ok("pair", 0.99, "pair"),
        ),
    ),
    Run(
        "unseen in number mode",
        "unseen",
        tuple(_not_ok(kind, least, kind) for kind, least in _UNSEEN.items()),
        skipped=("pair",),
        reads_numbers=True,
    ),
    Run(
        "wild",
        "wild",
        (
            Bar("drawings", Figure.RIGHT, 430 / _WILD),
            Bar("drawings", Figure.OK, 0.98),
            Bar("drawings", Figure.WRONG_AND_OK, most=1 / _WILD),
            _not_ok("no digit, or several", None),
        ),
        skipped=("hard", "printed-font", "mnist-like"),
    ),
    Run(
        "wild-numbers",
        "wild-numbers",
        (
            Bar("numbers", Figure.RIGHT, 94 / _NUMBERS, without=("sequence", "separators")),
            Bar("numbers", Figure.OK, 84 / _NUMBERS, without=("sequence", "separators")),
            Bar(
                "numbers",
                Figure.WRONG_AND_OK,
                most=1 / _NUMBERS,
                without=("sequence", "separators"),
            ),
            _right("sequences", 13 / _SEQUENCES, "sequence"),
            _right("with separators", None, "separators"),
        ),
        reads_numbers=True,
    ),
)
