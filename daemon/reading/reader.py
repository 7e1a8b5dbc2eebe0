"""Read a batch: a pure function from bytes to readings."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from daemon.errors import UnreadableError
from daemon.reading import image, model
from daemon.reading.picture.painter import Painter
from daemon.records import Parcel, Reading, ReadOptions, Status, Verdict

# Above this probability of "not a digit" no digit is guessed. Below it the most likely one is
# given as well; it was right for 10 of the 15 validation digits that were taken for none. In the
# calibration data 17 % are no digit, among dropped files 3 %, where 0.98 therefore means 0.9.
SURELY_NONE = 0.98


class Reader:
    """A loaded model, and the painter of its pictures."""

    def __init__(self, options: ReadOptions) -> None:
        self.model = model.load(options.model)
        self._max_megapixels = options.max_megapixels
        self._unsure_below = (
            self.model.unsure_below if options.unsure_below is None else options.unsure_below
        )
        self._painter = Painter() if options.pictures else None

    def read(self, parcels: Sequence[Parcel]) -> list[Reading]:
        """Read all parcels in one forward pass."""
        prepared = [self._prepare(parcel) for parcel in parcels]
        seen = [p for p in prepared if isinstance(p, image.Prepared) and not p.flaw]
        scores = iter(self.model.scores([p.glyph for p in seen]))
        readings = []
        for parcel, found in zip(parcels, prepared, strict=True):
            if isinstance(found, UnreadableError):
                verdict, shown = Verdict(Status.ERROR, reason=str(found)), None
            else:
                row = None if found.flaw else next(scores)
                verdict, shown = judge(found, row, self._unsure_below), found
            readings.append(self._reading(parcel.name, verdict, shown))
        return readings

    def _prepare(self, parcel: Parcel) -> image.Prepared | UnreadableError:
        if parcel.refusal:
            return UnreadableError(parcel.refusal)
        try:
            return image.prepare(parcel.data, max_megapixels=self._max_megapixels)
        except UnreadableError as error:
            return error
        # The one broad catch: whatever a hostile file makes the decoder raise becomes its row, and
        # the other files are read.
        except Exception as error:  # noqa: BLE001
            return UnreadableError(f"cannot be read: {type(error).__name__}: {error}")

    def _reading(self, name: str, verdict: Verdict, shown: image.Prepared | None) -> Reading:
        picture = b""
        if self._painter is not None:
            picture = self._painter.paint(
                name,
                verdict,
                thumbnail=None if shown is None else shown.thumbnail,
                glyph=None if shown is None else shown.glyph,
                mask=None if shown is None else shown.mask,
            )
        return Reading(verdict, self.model.hash, picture)


@lru_cache(maxsize=1)
def _reader(options: ReadOptions) -> Reader:
    return Reader(options)


def read(options: ReadOptions, parcels: Sequence[Parcel]) -> list[Reading]:
    """Read each parcel; the model is loaded by the first call in a process.

    Returns:
        One reading a parcel, in their order. A file that cannot be read is an ``error``
        reading, never an exception.

    Raises:
        ModelError: the model cannot be loaded.
    """
    return _reader(options).read(parcels)


def judge(
    prepared: image.Prepared, scores: NDArray[np.float32] | None, unsure_below: float
) -> Verdict:
    """Return the verdict on an image.

    Args:
        prepared: the image; with a flaw (no ink, several digits) the model is not asked.
        scores: (11,) calibrated probabilities, the last of "not a digit".
        unsure_below: confidence under which the verdict is ``unsure``.
    """
    if scores is None:
        return Verdict(Status.UNSURE, reason=prepared.flaw)
    probabilities = tuple(float(p) for p in scores)
    *digits, none = probabilities
    confidence = max(digits)
    digit = digits.index(confidence)
    if none > SURELY_NONE:
        return Verdict(Status.UNSURE, None, None, probabilities, "not a digit")
    if none > confidence:
        return Verdict(Status.UNSURE, digit, confidence, probabilities, "not a digit")
    if confidence < unsure_below:
        return Verdict(Status.UNSURE, digit, confidence, probabilities, "low confidence")
    return Verdict(Status.OK, digit, confidence, probabilities)
