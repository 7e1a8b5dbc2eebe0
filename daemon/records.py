"""What travels: frozen records, from the dropped file to its row."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from daemon.layout import PICTURE_SUFFIX

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from daemon.untrusted import Stamp

DIGITS = 10


class Status(StrEnum):
    """How far a row can be trusted."""

    OK = "ok"
    UNSURE = "unsure"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Job:
    """One claimed file: ours alone, waiting in the work folder for its row.

    ``name`` is the one that it was dropped under, ``path`` where it lies now, ``size`` in bytes.
    """

    id: str
    name: str
    path: Path
    size: int
    received_at: datetime

    @property
    def picture(self) -> Path:
        """Where its picture waits to be published."""
        return self.path.with_name(f"{self.id}{PICTURE_SUFFIX}")


@dataclass(frozen=True, slots=True)
class Parcel:
    """One file as a worker gets it: its bytes, or why there is no use in decoding them.

    ``sha256`` is the hex digest of the whole file, empty where not even that could be read.
    ``stamp`` is the file's just before it was read.
    """

    name: str
    data: bytes
    sha256: str = ""
    refusal: str = ""
    stamp: Stamp | None = None


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a reading depends on besides the bytes.

    ``unsure_below`` is the confidence under which a reading is ``unsure``; ``None``
    takes the model's own, fitted with its calibration.
    """

    model: Path
    max_megapixels: float
    unsure_below: float | None = None
    pictures: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one image.

    ``probabilities`` are those of the digits 0 to 9, calibrated; they add up to less
    than 1 where the model also considers that it is no digit at all. They are ``None``
    where the model was never asked (a blank, a file that cannot be read). ``digit`` is
    ``None`` where there is none to guess. ``confidence`` is the digit's probability.
    ``reason`` is empty for ``ok``.
    """

    status: Status
    digit: int | None = None
    confidence: float | None = None
    probabilities: tuple[float, ...] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """A verdict with its provenance: the model's short hash and the annotated picture (PNG)."""

    verdict: Verdict
    model: str
    picture: bytes = b""


@dataclass(frozen=True, slots=True)
class Entry:
    """A job that was read: all that its row is made of, and the stamp of what was read."""

    job: Job
    sha256: str
    reading: Reading
    stamp: Stamp | None = None
