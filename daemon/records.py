"""Frozen records that the modules exchange, from the claimed file to its row."""

import os
import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Self

from daemon.layout import PICTURE_SUFFIX

DIGITS = 10
LONGEST_NUMBER = 32  # characters

_NUMBER = re.compile(r"-?[0-9]+(?:[.,/:-][0-9]+)*")


class Reads(StrEnum):
    """What an image has: one digit, or a whole number."""

    DIGIT = "digit"
    NUMBER = "number"


class Pictures(StrEnum):
    """Which rows get an annotated picture; the values are those of ``pictures`` in config.yaml."""

    ALL = "true"
    DOUBTFUL = "doubtful"  # those that are not ``ok``
    NONE = "false"


class Status(StrEnum):
    """How far a row can be trusted."""

    OK = "ok"
    UNSURE = "unsure"
    ERROR = "error"


class Doubt(StrEnum):
    """What ``reason`` begins with in an ``unsure`` row; a colon and details may follow."""

    LOW_CONFIDENCE = "low confidence"
    NO_INK = "no ink"
    SEVERAL_DIGITS = "several digits"
    NOT_A_DIGIT = "not a digit"
    NOT_A_NUMBER = "not a number"
    NOT_EXPECTED = "not expected"


@dataclass(frozen=True, slots=True)
class Expected:
    """The numbers that are expected: those that a regular expression matches, or some values."""

    pattern: str = ""
    values: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """The settings that a reading depends on.

    Attributes:
        unsure_below: a confidence; ``None`` means the model's own, set by calibration.
        expected: ``None`` means that every number is.
    """

    model: Path
    max_megapixels: float
    max_file_mb: float
    unsure_below: float | None = None
    pictures: Pictures = Pictures.ALL
    reads: Reads = Reads.DIGIT
    expected: Expected | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where a Dask scheduler is; the files are of TLS, or ``None`` on a loopback address."""

    address: str
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed file in the work folder that has no row yet.

    Attributes:
        id: unique; ids sort in the order of the claims, but don't have their times.
        name: the name under which it was dropped.
        path: where it is now.
        size: in bytes.
        received_at: when it was claimed (UTC), by the clock of that moment.
    """

    id: str
    name: str
    path: Path
    size: int
    received_at: datetime

    @property
    def picture_path(self) -> Path:
        """The path of its picture until it is published."""
        return self.path.with_name(f"{self.id}{PICTURE_SUFFIX}")


class Stamp(NamedTuple):
    """A file's size in bytes, mtime in nanoseconds and inode.

    One of them changes if the file is written to or replaced.
    """

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, info: os.stat_result) -> Self:
        """Return the stamp of a file from its stat result."""
        return cls(info.st_size, info.st_mtime_ns, info.st_ino)


@dataclass(frozen=True, slots=True)
class FileContent:
    """One file's bytes; ``rejection`` says why they must not be decoded, empty if they may."""

    name: str
    data: bytes
    rejection: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on one image.

    Attributes:
        status: how far it can be trusted.
        text: the most likely digit, or the number as it is written; ``None`` if there is none.
        confidence: the calibrated probability of the whole text, 0 to 1; ``None`` without a text,
            and for an expected number that was guessed.
        probabilities: 11, calibrated, of the digits 0 to 9 and of "not a digit"; they add up to 1.
            ``None`` if the model was not run, or the text is neither one digit nor ``None``.
        reason: why the status is not ``ok``; empty for ``ok``.
    """

    status: Status
    text: str | None = None
    confidence: float | None = None
    probabilities: tuple[float, ...] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Symbol:
    """A digit or mark that was read in a strip.

    Attributes:
        text: one character, "?" for one that is not in the alphabet.
        confidence: 0 to 1: the probability of the text against those that differ here.
        column: of its centre in the strip, px.
        alternative: what the most probable text that differs here has instead: nothing, one
            character or more; ``None`` if there is no such text.
    """

    text: str
    confidence: float
    column: float
    alternative: str | None = None


def is_number(text: str) -> bool:
    """Return whether a text is a number as people write it, such as ``0471``, ``7,5`` or ``-3``."""
    return len(text) <= LONGEST_NUMBER and _NUMBER.fullmatch(text) is not None


_ROUNDS_TO_ONE = 0.9995  # this and more would be shown as 100.0 %


def format_percent(probability: float) -> str:
    """Return a probability as a percentage with one decimal, never as 100 %."""
    return f"{probability:.1%}" if probability < _ROUNDS_TO_ONE else ">99.9%"


@dataclass(frozen=True, slots=True)
class Reading:
    """The result for one file: the verdict, the model's short hash, the picture as a PNG.

    ``picture`` is empty if none is wanted.
    """

    verdict: Verdict
    model: str
    picture: bytes = b""


@dataclass(frozen=True, slots=True)
class Result:
    """A job that was read, with everything that its row needs.

    Attributes:
        sha256: hex digest of the file's bytes; empty if they could not be read.
        model: the model's short hash; empty if no model was loaded.
        has_picture: whether ``job.picture_path`` was written.
        stamp: of the file just before it was read; ``None`` if it could not be read.
    """

    job: Job
    verdict: Verdict
    sha256: str
    model: str
    has_picture: bool
    stamp: Stamp | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """The paths of a row's files, relative to the outbox; ``picture`` may be empty."""

    picture: str
    original: str
