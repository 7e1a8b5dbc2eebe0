"""Read a batch of images: a pure function from bytes to readings."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from daemon.errors import UnreadableError
from daemon.reading import image, model
from daemon.reading.picture.painter import Painter
from daemon.records import Doubt, Parcel, Reading, ReadOptions, Status, Verdict

# Above this probability of "not a digit" the row has no digit. Below it the row also gives the most
# likely digit, which was right for 10 of the 15 validation digits classified as "not a digit". In
# the calibration data 17 % are not digits, among dropped files 3 %, so 0.98 corresponds to 0.9
# there.
SURELY_NONE = 0.98


class Reader:
    """A loaded model and the painter for its pictures."""

    def __init__(self, options: ReadOptions) -> None:
        self.model = model.load(options.model)
        self._max_megapixels = options.max_megapixels
        self._unsure_below = (
            self.model.unsure_below if options.unsure_below is None else options.unsure_below
        )
        self._painter = Painter() if options.pictures else None

    def read(self, parcels: Sequence[Parcel]) -> list[Reading]:
        """Return a reading for each parcel, using one forward pass."""
        prepared = [self._prepare(parcel) for parcel in parcels]
        asked = [p.glyph for p in prepared if isinstance(p, image.Prepared) and p.flaw is None]
        scores = iter(self.model.scores(asked))
        readings = []
        for parcel, found in zip(parcels, prepared, strict=True):
            if isinstance(found, UnreadableError):
                readings.append(self._unreadable(parcel, str(found)))
            else:
                row = next(scores) if found.flaw is None else None
                readings.append(self._reading(parcel.name, found, row))
        return readings

    def _prepare(self, parcel: Parcel) -> image.Prepared | UnreadableError:
        if parcel.refusal:
            return UnreadableError(parcel.refusal)
        try:
            return image.prepare(parcel.data, max_megapixels=self._max_megapixels)
        except UnreadableError as error:
            return error
        # The only broad catch: whatever exception a hostile file causes in the decoder becomes the
        # reason in its row, and the other files are still read.
        except Exception as error:  # noqa: BLE001
            return UnreadableError(f"cannot be read: {type(error).__name__}: {error}")

    def _reading(
        self, name: str, found: image.Prepared, scores: NDArray[np.float32] | None
    ) -> Reading:
        verdict = judge(found, scores, self._unsure_below)
        if self._painter is None:
            return Reading(verdict, self.model.hash)
        picture = self._painter.paint(
            name, verdict, thumbnail=found.thumbnail, glyph=found.glyph, mask=found.mask
        )
        return Reading(verdict, self.model.hash, picture)

    def _unreadable(self, parcel: Parcel, reason: str) -> Reading:
        verdict = Verdict(Status.ERROR, reason=reason)
        if self._painter is None:
            return Reading(verdict, self.model.hash)
        picture = self._painter.faults.paint(parcel.name, reason, parcel.data)
        return Reading(verdict, self.model.hash, picture)


@lru_cache(maxsize=1)
def _reader(options: ReadOptions) -> Reader:
    return Reader(options)


def read(options: ReadOptions, parcels: Sequence[Parcel]) -> list[Reading]:
    """Read each parcel; the first call in a process loads the model.

    Returns:
        One reading per parcel, in the same order. A file that cannot be read gets an ``error``
        reading and never raises.

    Raises:
        ModelError: the model cannot be loaded.
    """
    return _reader(options).read(parcels)


def judge(
    prepared: image.Prepared, scores: NDArray[np.float32] | None, unsure_below: float
) -> Verdict:
    """Return the verdict on an image.

    Args:
        prepared: the image.
        scores: (11,) calibrated probabilities, the last one for "not a digit"; ``None`` for an
            image with a flaw.
        unsure_below: a verdict with less confidence is ``unsure``.
    """
    if scores is None:
        return Verdict(Status.UNSURE, reason=prepared.flaw or "")
    probabilities = tuple(float(p) for p in scores)
    *digits, none = probabilities
    confidence = max(digits)
    digit = digits.index(confidence)
    if none > SURELY_NONE:
        return Verdict(Status.UNSURE, None, None, probabilities, Doubt.NOT_A_DIGIT)
    if none > confidence:
        return Verdict(Status.UNSURE, digit, confidence, probabilities, Doubt.NOT_A_DIGIT)
    if confidence < unsure_below:
        return Verdict(Status.UNSURE, digit, confidence, probabilities, Doubt.LOW_CONFIDENCE)
    return Verdict(Status.OK, digit, confidence, probabilities)
