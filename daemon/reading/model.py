"""The model file: the eye, the classifier and the line reader with their calibration."""

import hashlib
import io
import json
import shlex
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.assets import KNOWN_DIGIT
from daemon.errors import ModelError
from daemon.files import open_regular
from daemon.invocation import command
from daemon.reading.eye import Count, Detection, Segment
from daemon.reading.glyph import Floats
from daemon.reading.image import PREPROCESSING_VERSION
from daemon.reading.litert import (
    CLASSES,
    Forward,
    ReadLine,
    load_classifier,
    load_eye,
    load_line,
)
from daemon.records import DIGITS

SETTINGS_MEMBER = "digitd.json"
NETWORK_MEMBER = "digitd.tflite"
EYE_MEMBER = "eye.tflite"
LINE_MEMBER = "line.tflite"
_KERAS_MEMBER = "config.json"  # of every .keras file


# A longer distance to the runner-up, in nats, counts as this one: a text that is e^20 times less
# probable is no evidence of how sure the reader is.
_WIDEST_MARGIN = 20.0


@dataclass(frozen=True, slots=True)
class LineCalibration:
    """Turns what the line reader decoded into confidence: the weights of a logistic function.

    Attributes:
        log_probability: weight of the text's log probability; not negative.
        margin: weight of its distance to the runner-up's log probability; not negative.
        seen: weight of the ink that was left out, from 0 for certain ink to 1 for none; not
            negative.
        length: weight of the number of characters.
        bias: added to the weighted sum.
        unsure_below: confidence under which a number is ``unsure``.
    """

    log_probability: float
    margin: float
    seen: float
    length: float
    bias: float
    unsure_below: float

    def confidence(
        self, log_probability: float, margin: float, length: int, left_out: float = 0.0
    ) -> float:
        """Return the calibrated probability that a whole text is right.

        Args:
            log_probability: of the text, natural.
            margin: its distance to the runner-up's; infinite if there is no other text.
            length: of the text, in characters.
            left_out: the highest probability of ink that is not in the strip.
        """
        features = line_features(log_probability, margin, left_out, length)
        weights = (self.log_probability, self.margin, self.seen, self.length, self.bias)
        return float(logistic(features @ np.array(weights)))


def line_features(
    log_probability: Floats | float,
    margin: Floats | float,
    left_out: Floats | float,
    length: Floats | float,
) -> Floats:
    """Return what ``LineCalibration`` weights, (..., 5), of numbers or of arrays of them."""
    margin = np.minimum(margin, _WIDEST_MARGIN)
    return np.stack(
        np.broadcast_arrays(log_probability, margin, 1 - left_out, length, 1.0), axis=-1
    )


def logistic(scores: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)), which overflows for no x in this form."""
    return 0.5 + 0.5 * np.tanh(scores / 2)


@dataclass(frozen=True, slots=True)
class Settings:
    """What is stored with the weights, as ``digitd.json`` inside the ``.keras`` file.

    Attributes:
        preprocessing: the version of the reader that made the training glyphs.
        temperature: logits are divided by it before the softmax (Guo et al. 2017).
        one_odds: the eye's odds of one digit are multiplied by it, because it learns from more
            pages with several digits, and with marks, than people drop.
        unsure_below: confidence under which a reading is ``unsure``.
        line: the line reader's calibration; ``None`` if it was not fitted.
        training: the settings and the data that it was trained with.
        scores: measured on validation data.
        known_digit: what it reads in the known digit, which each worker reads at start. A model
            that somebody brought may misread it.
    """

    preprocessing: int = PREPROCESSING_VERSION
    temperature: float = 1.0
    one_odds: float = 1.0
    unsure_below: float = 0.9
    line: LineCalibration | None = None
    training: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    known_digit: str = KNOWN_DIGIT


_NOT_FITTED = LineCalibration(2.0, 0.4, 0.0, 0.0, 0.5, unsure_below=0.9)


@dataclass(frozen=True, slots=True)
class Model:
    """The eye, the classifier and the line reader with their calibration.

    Attributes:
        path: the file.
        segment: the eye.
        forward: the classifier.
        read_line: the line reader; ``None`` if the file has none.
        settings: what is stored with the weights.
        hash: first 12 hex digits of the file's SHA-256.
    """

    path: Path
    segment: Segment
    forward: Forward
    read_line: ReadLine | None
    settings: Settings
    hash: str

    @property
    def unsure_below(self) -> float:
        """Confidence under which a digit is ``unsure``."""
        return self.settings.unsure_below

    @property
    def line_calibration(self) -> LineCalibration:
        """The line reader's calibration."""
        return self.settings.line or _NOT_FITTED

    def require_line(self) -> ReadLine:
        """Return the line reader.

        Raises:
            ModelError: the file has none.
        """
        if self.read_line is None:
            raise ModelError(
                f"{self.path}: cannot read numbers, it has no {LINE_MEMBER} inside. {_remedy()} Or "
                "set `reads: digit`."
            )
        return self.read_line

    def scores(self, detections: Sequence[Detection]) -> NDArray[np.float32]:
        """Classify the detections; the sequence may be empty.

        Returns:
            (N, 11) float32 calibrated probabilities, the last column "not a digit".
        """
        if not detections:
            return np.zeros((0, CLASSES), np.float32)
        logits = self.forward(np.stack([each.glyph for each in detections]))
        counts = np.stack([each.counts for each in detections])
        return probabilities(logits, counts, self.settings.temperature, self.settings.one_odds)


def load(path: Path) -> Model:
    """Load a model for reading.

    Raises:
        ModelError: it is missing, not made by ``digitd train``, broken, or made for another
            version of the reader.
    """
    settings, members, file_hash = read_file(path)
    for name in (EYE_MEMBER, NETWORK_MEMBER):
        if name not in members:
            raise ModelError(f"{path}: has no {name} inside. {_remedy()}")
    try:
        segment, forward = load_eye(members[EYE_MEMBER]), load_classifier(members[NETWORK_MEMBER])
        line = members.get(LINE_MEMBER)
        read_line = None if line is None else load_line(line)
    except ValueError as error:
        raise ModelError(f"{path}: LiteRT cannot load it: {error}. {_remedy()}") from error
    return Model(path, segment, forward, read_line, settings, file_hash)


def probabilities(
    logits: NDArray[np.float32], counts: NDArray[np.float32], temperature: float, one_odds: float
) -> NDArray[np.float32]:
    """Return the probabilities of the ten digits and of "not a digit".

    Args:
        logits: (N, 11), the classifier's.
        counts: (N, 4) the eye's probabilities of each ``Count``. The digits' probabilities are
            multiplied by ``probability_of_one``.
        temperature: of the logits.
        one_odds: see ``Settings``.

    Returns:
        (N, 11) float32; each row adds up to 1.
    """
    scores = softmax(logits, temperature)
    scores[:, :DIGITS] *= probability_of_one(counts, one_odds)[:, None]
    # Rounding can bring the sum of the digits above 1.
    scores[:, DIGITS] = np.maximum(1 - scores[:, :DIGITS].sum(axis=1), 0)
    return scores


_LEAST = 1 / 256  # a probability that the eye's 8 bits do not tell from 0


def probability_of_one(counts: NDArray[np.float32], one_odds: float) -> NDArray[np.float32]:
    """Return the probability that there are not several digits and no marks.

    Args:
        counts: (..., 4) the eye's probabilities of each ``Count``.
        one_odds: see ``Settings``.
    """
    more = counts[..., Count.SEVERAL] + counts[..., Count.MARKED]
    one = np.maximum(1 - more, _LEAST) * one_odds
    return np.asarray(one / (one + more))


def softmax(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Turn (N, 11) logits into probabilities at a temperature."""
    scaled = (logits - logits.max(axis=1, keepdims=True)) / temperature
    odds = np.exp(scaled)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float32)


_HASH_LENGTH = 12  # hex digits of the file's SHA-256: enough to tell one's models apart


# What zipfile raises for each byte of a header that is flipped (all were tried).
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError, ValueError)


def unzip(data: bytes) -> dict[str, bytes]:
    """Return the members of a ``.keras`` file by their names; raises one of ``BROKEN_ZIP``."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def read_file(path: Path) -> tuple[Settings, dict[str, bytes], str]:
    """Return a model file's settings, its members and its hash, all checksums being right.

    Raises:
        ModelError: see ``load``.
    """
    try:
        with open_regular(path) as file:
            data = file.read()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}. {_remedy()}") from error
    try:
        members = unzip(data)
    except BROKEN_ZIP as error:
        raise ModelError(
            f"{path}: is not a .keras file, or is broken: {error}. {_remedy()}"
        ) from error
    return _settings(path, members), members, hashlib.sha256(data).hexdigest()[:_HASH_LENGTH]


def _remedy() -> str:
    listed = command("model list")
    return f"Name a .keras file that `digitd train` made, or another of {listed}."


def _settings(path: Path, members: dict[str, bytes]) -> Settings:
    if SETTINGS_MEMBER not in members and _KERAS_MEMBER in members:
        quoted = shlex.quote(str(path))
        raise ModelError(
            f"{path}: is a model of Keras, not of digitd: {command(f'model adopt {quoted}')} makes "
            "one of it that `model:` accepts."
        )
    if SETTINGS_MEMBER not in members:
        raise ModelError(
            f"{path}: has no {SETTINGS_MEMBER} inside, so `digitd train` did not make it. "
            f"{_remedy()}"
        )
    try:
        stored = json.loads(members[SETTINGS_MEMBER])
        if (line := stored.get("line")) is not None:
            stored["line"] = LineCalibration(**line)
        settings = Settings(**stored)
    except (AttributeError, ValueError, TypeError) as error:
        raise ModelError(
            f"{path}: its {SETTINGS_MEMBER} is broken: {error}. {_remedy()}"
        ) from error
    if settings.preprocessing != PREPROCESSING_VERSION:
        raise ModelError(
            f"{path}: was made for version {settings.preprocessing} of the reader and this is "
            f"version {PREPROCESSING_VERSION}: it would misread. Train it again with this digitd; "
            f"if it was promoted, {command('model rollback')} goes back to the model before."
        )
    return settings
