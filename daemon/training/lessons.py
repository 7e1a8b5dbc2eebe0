"""Read the answered originals as a worker does: what each teaches, and the verdict on it."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from daemon import files
from daemon.errors import UnreadableError
from daemon.outbox.labels import NOT_A_DIGIT
from daemon.reading import eye, image, line, reader, scan
from daemon.reading.eye import Count
from daemon.reading.glyph import Bytes, Floats
from daemon.reading.model import Model
from daemon.records import DIGITS, Reads, Status, Verdict
from daemon.training.corrections import Correction
from daemon.training.strips import has_room


@dataclass(frozen=True, slots=True)
class Lesson:
    """An answered original as the networks see it.

    Attributes:
        correction: the answer.
        glyph: (28, 28) uint8; zeros if the eye found no ink.
        counts: (4,) float32, the eye's probabilities of each ``Count``.
        strip: (32, W) uint8; zeros if the eye found no ink.
        verdict: the parent's.
    """

    correction: Correction
    glyph: Bytes
    counts: Floats
    strip: Bytes
    verdict: Verdict

    @property
    def count(self) -> Count:
        """What the eye takes it for."""
        return Count(int(np.argmax(self.counts)))

    def digit(self) -> int | None:
        """Return what it teaches the classifier, 0 to 10; ``None`` if nothing."""
        label = self.correction.label
        if not self.glyph.any():
            return None
        if label == NOT_A_DIGIT:
            return DIGITS
        return int(label) if len(label) == 1 else None

    def symbols(self) -> list[int] | None:
        """Return what it teaches the line reader: classes of symbols; ``None`` if nothing."""
        label = self.correction.label
        if not self.strip.any():
            return None
        symbols = [] if label == NOT_A_DIGIT else [line.ALPHABET.index(each) for each in label]
        return symbols if has_room(symbols, self.strip.shape[1]) else None


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused before it is decoded, as in the config."""

    max_megapixels: float
    max_file_mb: float


def observe(
    model: Model,
    corrections: Sequence[Correction],
    reads: Reads,
    limits: Limits,
    on_file: Callable[[int], None],
) -> Iterator[Lesson]:
    """Yield each answered original as the networks see it; leave out those that cannot be read.

    Args:
        model: the parent.
        corrections: the answers.
        reads: what the outbox's rows are read as.
        limits: larger files are left out.
        on_file: called with 1 after each file.
    """
    for correction in corrections:
        try:
            data = _load(correction, limits)
            pixels = image.decode(data, max_megapixels=limits.max_megapixels)
            detection = eye.detect(model.segment, pixels)
            strip = scan.detect_line(model.segment, pixels).strip.pixels
            found = reader.find(model, data, reads, max_megapixels=limits.max_megapixels)
            (verdict,) = reader.judge_all(model, [found])
        except (UnreadableError, OSError):
            continue
        finally:
            on_file(1)
        yield Lesson(correction, detection.glyph, detection.counts, strip, verdict)


def read_again(
    model: Model,
    corrections: Iterable[Correction],
    reads: Reads,
    limits: Limits,
    on_file: Callable[[int], None],
) -> Iterator[Verdict]:
    """Yield a model's verdict on each answered original."""
    for correction in corrections:
        try:
            data = _load(correction, limits)
            found = reader.find(model, data, reads, max_megapixels=limits.max_megapixels)
            (verdict,) = reader.judge_all(model, [found])
        except (UnreadableError, OSError) as error:
            verdict = Verdict(Status.ERROR, reason=str(error))
        on_file(1)
        yield verdict


def is_right(verdict: Verdict, label: str) -> bool:
    """Return whether a verdict has the text of an answer, or is not ``ok`` where there is none."""
    return verdict.status is not Status.OK if label == NOT_A_DIGIT else verdict.text == label


def _load(correction: Correction, limits: Limits) -> bytes:
    """Return the bytes of an original.

    Raises:
        UnreadableError: it is too large, or not the file that was answered.
        OSError: it cannot be read.
    """
    with os.fdopen(files.open_untrusted(correction.original), "rb") as file:
        data = file.read(int(limits.max_file_mb * 1e6) + 1)
    if hashlib.sha256(data).hexdigest() != correction.sha256:
        raise UnreadableError("is not the file that was answered")
    return data
