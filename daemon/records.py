"""What travels between the modules: frozen records, from the claimed file to its row."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from daemon import ids
from daemon.layout import PICTURE_SUFFIX

DIGITS = 10


class Status(StrEnum):
    """How far a row can be trusted."""

    OK = "ok"
    UNSURE = "unsure"
    ERROR = "error"


class Doubt(StrEnum):
    """Why a row is ``unsure``, as its ``reason`` says it."""

    LOW_CONFIDENCE = "low confidence"
    NO_INK = "no ink"
    SEVERAL_DIGITS = "several digits"
    NOT_A_DIGIT = "not a digit"


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """The settings that a reading depends on.

    ``unsure_below`` is a confidence; ``None`` takes the model's own, fitted by calibration.
    """

    model: Path
    max_megapixels: float
    max_file_mb: float
    unsure_below: float | None = None
    pictures: bool = True


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed file, waiting in the work folder for its row.

    Attributes:
        id: unique, and sorts by the time of the claim.
        name: the name it was dropped under.
        path: where it lies now.
        size: bytes.
        refusal: why it must not be decoded; empty if it may be.
    """

    id: str
    name: str
    path: Path
    size: int
    refusal: str = ""

    @property
    def received_at(self) -> datetime:
        """When it was claimed, UTC."""
        return ids.moment(self.id)

    @property
    def picture_path(self) -> Path:
        """Where its picture waits to be published."""
        return self.path.with_name(f"{self.id}{PICTURE_SUFFIX}")


@dataclass(frozen=True, slots=True)
class Parcel:
    """One file's bytes, or why they must not be decoded."""

    name: str
    data: bytes
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one image.

    Attributes:
        digit: the most likely one; ``None`` where there is none to guess.
        confidence: the digit's calibrated probability.
        probabilities: of the digits 0 to 9 and of "not a digit", calibrated; they add up to 1.
            ``None`` where the model was not asked.
        reason: why it is not ``ok``; empty for ``ok``.
    """

    status: Status
    digit: int | None = None
    confidence: float | None = None
    probabilities: tuple[float, ...] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read in one parcel: the verdict, the model's short hash, the picture as a PNG.

    ``picture`` is empty where pictures are switched off.
    """

    verdict: Verdict
    model: str
    picture: bytes = b""


@dataclass(frozen=True, slots=True)
class Result:
    """A job that was read; all that its row is made of.

    Attributes:
        sha256: hex digest of the file's bytes; empty where they could not be read.
        model: the model's short hash; empty where none was asked.
        has_picture: whether ``job.picture_path`` was written.
    """

    job: Job
    verdict: Verdict
    sha256: str
    model: str
    has_picture: bool


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a row says that its files go, relative to the outbox; ``picture`` may be empty."""

    job: Job
    picture: str
    original: str
