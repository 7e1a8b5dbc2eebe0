"""Read images: from a file's bytes to a verdict and a picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from daemon.errors import UnreadableError
from daemon.expected import check_verdict
from daemon.reading import eye, image, line, model, scan
from daemon.reading.eye import Count
from daemon.reading.numbers import judge_number
from daemon.records import (
    Doubt,
    Expected,
    FileContent,
    Pictures,
    Reading,
    ReadOptions,
    Reads,
    Status,
    Verdict,
)

if TYPE_CHECKING:
    from daemon.picture.painter import Painter

# Above this probability of "not a digit" the row has no digit. Below it the row also gives the most
# likely digit, which is right for 42 of the 83 validation digits that are classified as "not a
# digit" there; 9 digits are above it. In the validation data 17 % are not digits, among dropped
# files 3 %, so 0.98 corresponds to 0.9 there.
SURELY_NONE = 0.98


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A decoded image and what the eye found in it.

    Attributes:
        thumbnail: (h, w, 3) uint8 RGB, longest side at most 252 px, upright, alpha blended.
        detection: the digit, its place, and how many there are.
    """

    thumbnail: NDArray[np.uint8]
    detection: eye.Detection

    @property
    def doubt(self) -> Doubt | None:
        """Why the classifier is not run; ``None`` if it is."""
        if self.detection.counts.argmax() == Count.SEVERAL:
            return Doubt.SEVERAL_DIGITS
        return None if self.detection.glyph.any() else Doubt.NO_INK


@dataclass(frozen=True, slots=True)
class DecodedNumber:
    """A decoded image of a number and what was read in it.

    Attributes:
        thumbnail: see ``DecodedImage``.
        detection: the line of writing and its place.
        reading: what the line reader read; ``None`` if there is no ink.
        dash_fills_field: whether it begins with a dash that touches the page's edge or a box.
    """

    thumbnail: NDArray[np.uint8]
    detection: scan.LineDetection
    reading: line.LineReading | None
    dash_fills_field: bool


def find(
    network: model.Model, data: bytes, reads: Reads, *, max_megapixels: float
) -> DecodedImage | DecodedNumber:
    """Decode an image file and find what it has; see ``find_digit`` and ``find_number``."""
    search = find_number if reads is Reads.NUMBER else find_digit
    return search(network, data, max_megapixels=max_megapixels)


def find_number(network: model.Model, data: bytes, *, max_megapixels: float) -> DecodedNumber:
    """Decode an image file, find the line of writing in it and run the line reader.

    Args:
        network: has the eye and the line reader.
        data: the whole file.
        max_megapixels: larger images are refused by their header, before decoding.

    Raises:
        UnreadableError: it cannot be read as an image; the text says why.
        ModelError: the model has no line reader.
    """
    read_line = network.require_line()
    pixels = image.decode(data, max_megapixels=max_megapixels)
    thumbnail = image.make_thumbnail(pixels)
    detection = scan.detect_line(network.segment, pixels)
    if not detection.strip.pixels.any():
        return DecodedNumber(thumbnail, detection, None, dash_fills_field=False)
    reading = line.decode(read_line(detection.strip))
    fills = reading.text.startswith("-") and scan.touches_left(pixels, detection.mask)
    return DecodedNumber(thumbnail, detection, reading, dash_fills_field=fills)


def find_digit(network: model.Model, data: bytes, *, max_megapixels: float) -> DecodedImage:
    """Decode an image file and find the digit in it.

    Args:
        network: has the eye.
        data: the whole file.
        max_megapixels: larger images are refused by their header, before decoding.

    Raises:
        UnreadableError: it cannot be read as an image; the text says why.
    """
    pixels = image.decode(data, max_megapixels=max_megapixels)
    return DecodedImage(image.make_thumbnail(pixels), eye.detect(network.segment, pixels))


def judge_all(
    network: model.Model,
    images: Sequence[DecodedImage | DecodedNumber | UnreadableError],
    unsure_below: float | None = None,
) -> list[Verdict]:
    """Return a verdict on each image, or on why it could not be read.

    Args:
        network: has the classifier and the calibration.
        images: what ``find`` returned or raised for each image.
        unsure_below: a verdict with less confidence is ``unsure``; by default, the model says.
    """
    threshold = network.unsure_below if unsure_below is None else unsure_below
    clear = [each for each in images if isinstance(each, DecodedImage) and each.doubt is None]
    scores = iter(network.scores([each.detection for each in clear]))

    def verdict_on(each: DecodedImage | DecodedNumber | UnreadableError) -> Verdict:
        if isinstance(each, UnreadableError):
            return Verdict(Status.ERROR, reason=str(each))
        if isinstance(each, DecodedNumber):
            return _judge_number(network, each, unsure_below)
        if each.doubt is not None:
            return Verdict(Status.UNSURE, reason=each.doubt)
        one_odds = network.settings.one_odds
        return judge(next(scores), each.detection.counts, threshold, one_odds)

    return [verdict_on(each) for each in images]


def _judge_number(
    network: model.Model, number: DecodedNumber, unsure_below: float | None
) -> Verdict:
    if number.reading is None:
        return Verdict(Status.UNSURE, reason=Doubt.NO_INK)
    calibration = network.line_calibration
    return judge_number(
        number.reading,
        calibration,
        calibration.unsure_below if unsure_below is None else unsure_below,
        left_out=number.detection.left_out,
        dash_fills_field=number.dash_fills_field,
        has_space=line.has_space(number.detection.strip.pixels, number.reading.symbols),
    )


class Reader:
    """A loaded model and the painter for its pictures."""

    def __init__(self, options: ReadOptions) -> None:
        self.model = model.load(options.model)
        if options.reads is Reads.NUMBER:
            self.model.require_line()
        self._options = options
        self._painter = None if options.pictures is Pictures.NONE else _load_painter()

    def read(
        self, contents: Sequence[FileContent], expected: Expected | None = None
    ) -> list[Reading]:
        """Return a reading for each file; ``expected`` as in ``ReadOptions``."""
        images = [self._find(content) for content in contents]
        verdicts = judge_all(self.model, images, self._options.unsure_below)
        if expected is not None:
            verdicts = [check_verdict(verdict, expected) for verdict in verdicts]
        return [
            Reading(verdict, self.model.hash, self._paint(content, decoded, verdict))
            for content, decoded, verdict in zip(contents, images, verdicts, strict=True)
        ]

    def _find(self, content: FileContent) -> DecodedImage | DecodedNumber | UnreadableError:
        if content.rejection:
            return UnreadableError(content.rejection)
        reads, max_megapixels = self._options.reads, self._options.max_megapixels
        try:
            return find(self.model, content.data, reads, max_megapixels=max_megapixels)
        except UnreadableError as error:
            return error
        except MemoryError:  # no fault of the file: it is read again when there is more
            raise
        # The only broad catch: whatever exception a hostile file causes in the decoder becomes the
        # reason in its row, and the other files are still read.
        except Exception as error:  # noqa: BLE001
            return UnreadableError(f"cannot be read: {type(error).__name__}: {error}")

    def _paint(
        self,
        content: FileContent,
        decoded: DecodedImage | DecodedNumber | UnreadableError,
        verdict: Verdict,
    ) -> bytes:
        """Return the annotated picture; empty if none is wanted."""
        is_doubtful = verdict.status is not Status.OK
        if self._painter is None or not (is_doubtful or self._options.pictures is Pictures.ALL):
            return b""
        if isinstance(decoded, UnreadableError):
            return self._painter.paint_unreadable(content.name, verdict.reason, content.data)
        if isinstance(decoded, DecodedNumber):
            return _paint_number(self._painter, content.name, verdict, decoded)
        return self._painter.paint(
            content.name,
            verdict,
            thumbnail=decoded.thumbnail,
            glyph=decoded.detection.glyph,
            mask=decoded.detection.mask,
        )


def _load_painter() -> "Painter":
    # matplotlib takes 0.2 s to import (2-core x86), and the first import writes a cache of fonts.
    from daemon.picture.painter import Painter  # noqa: PLC0415

    return Painter()


def _paint_number(painter: "Painter", name: str, verdict: Verdict, number: DecodedNumber) -> bytes:
    from daemon.picture.number import Candidate  # noqa: PLC0415 - see _load_painter

    reading = number.reading
    runner_up = Candidate(reading.runner_up if reading else "", None)
    if reading is not None and verdict.confidence is not None:
        # As much less likely as the line reader says.
        chance = verdict.confidence * math.exp(-reading.margin)
        runner_up = Candidate(reading.runner_up, chance)
    return painter.paint_number(
        name,
        verdict,
        thumbnail=number.thumbnail,
        strip=number.detection.strip.pixels,
        symbols=() if reading is None else reading.symbols,
        runner_up=runner_up,
        mask=number.detection.mask,
    )


_load_reader = lru_cache(maxsize=1)(Reader)


def read(options: ReadOptions, contents: Sequence[FileContent]) -> list[Reading]:
    """Read each file; the first call in a process loads the model.

    Returns:
        One reading per file, in the same order. A file that cannot be read gets an ``error``
        reading and never raises.

    Raises:
        ModelError: the model cannot be loaded.
    """
    # One model serves the known digit, whose reading ignores what is expected, and all files.
    return _load_reader(replace(options, expected=None)).read(contents, options.expected)


def judge(
    scores: NDArray[np.float32],
    counts: NDArray[np.float32],
    unsure_below: float,
    one_odds: float = 1.0,
) -> Verdict:
    """Return the verdict on an image of a digit.

    Args:
        scores: (11,) calibrated probabilities, the last one for "not a digit".
        counts: (4,) the eye's probabilities of each ``Count``.
        unsure_below: a verdict with less confidence is ``unsure``.
        one_odds: see ``model.Settings``.
    """
    probabilities = tuple(float(p) for p in scores)
    *digits, none = probabilities
    confidence = max(digits)
    digit = str(digits.index(confidence))
    marked = counts.argmax() == Count.MARKED
    # The marks are in ``none``; which digit they are on is for the classifier to say.
    seen = sum(digits) / model.probability_of_one(counts, one_odds) if marked else 1 - none
    if seen < 1 - SURELY_NONE:
        return Verdict(Status.UNSURE, None, None, probabilities, Doubt.NOT_A_DIGIT)
    if marked or none > confidence:
        return Verdict(Status.UNSURE, digit, confidence, probabilities, Doubt.NOT_A_DIGIT)
    if confidence < unsure_below:
        return Verdict(Status.UNSURE, digit, confidence, probabilities, Doubt.LOW_CONFIDENCE)
    return Verdict(Status.OK, digit, confidence, probabilities)
