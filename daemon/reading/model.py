"""From 28x28 to calibrated probabilities: the model file, run by LiteRT."""

import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from daemon.errors import ModelError
from daemon.reading.glyph import GLYPH
from daemon.reading.image import PREPROCESSING_VERSION
from daemon.records import DIGITS

CLASSES = DIGITS + 1
"""The ten digits and, last, "not a digit"."""

SETTINGS_MEMBER = "digitd.json"
NETWORK_MEMBER = "digitd.tflite"
HASH_LENGTH = 12  # hex digits of the file's SHA-256: enough to tell one's models apart

Forward = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Answers glyphs, (N, 28, 28) uint8, with logits, (N, 11) float32."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is stored with the weights, as ``digitd.json`` inside the ``.keras`` file.

    Attributes:
        preprocessing: the version of the reader that made the training glyphs.
        temperature: logits are divided by it before the softmax (Guo et al. 2017).
        unsure_below: confidence under which a reading is ``unsure``.
        training: the settings and the data that it was trained with.
        scores: measured on validation data.
    """

    preprocessing: int = PREPROCESSING_VERSION
    temperature: float = 1.0
    unsure_below: float = 0.9
    training: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)


_REMEDY = "Name a .keras file that `digitd train` made, or none for the shipped one"


class Model:
    """A network with its calibration.

    Attributes:
        hash: first 12 hex digits of the file's SHA-256.
        settings: what is stored with the weights.
        unsure_below: confidence under which a reading is ``unsure``.
    """

    def __init__(self, forward: Forward, settings: Settings, file_hash: str) -> None:
        self.hash = file_hash
        self.settings = settings
        self.unsure_below = settings.unsure_below
        self._forward = forward

    def scores(self, glyphs: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Read glyphs.

        Args:
            glyphs: each (28, 28) uint8, white ink on black; none is fine.

        Returns:
            (N, 11) float32 calibrated probabilities, the last column "not a digit".
        """
        if not len(glyphs):
            return np.zeros((0, CLASSES), np.float32)
        return softmax(self._forward(np.stack(glyphs)), self.settings.temperature)


def load(path: Path) -> Model:
    """Load a model for reading.

    Raises:
        ModelError: it is missing, not made by ``digitd train``, broken, or made for another
            version of the reader.
    """
    settings, members, file_hash = read(path)
    if NETWORK_MEMBER not in members:
        raise ModelError(
            f"{path}: has no {NETWORK_MEMBER} inside, so an older digitd made it. Compile it with "
            f"`digitd train --recompile {path}`."
        )
    try:
        forward = compiled(members[NETWORK_MEMBER])
    except ValueError as error:
        raise ModelError(f"{path}: LiteRT cannot load it: {error}. {_REMEDY}.") from error
    return Model(forward, settings, file_hash)


def compiled(network: bytes) -> Forward:
    """Load a network that was compiled for LiteRT.

    Raises:
        ValueError: LiteRT cannot load it, or it does not map a glyph to logits.
    """
    with quiet():
        interpreter = Interpreter(model_content=network, num_threads=1)
        interpreter.allocate_tensors()
    (glyph,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    shapes = tuple(glyph["shape"]), tuple(answer["shape"])
    if shapes != ((1, GLYPH, GLYPH, 1), (1, CLASSES)):
        raise ValueError(f"it maps {shapes[0]} to {shapes[1]}, not a glyph to a digit")

    def forward(glyphs: NDArray[np.uint8]) -> NDArray[np.float32]:
        answers = np.zeros((len(glyphs), CLASSES), np.float32)
        # One at a time: LiteRT takes 0.20 ms a glyph alone and 0.19 in a batch of 64 (one core).
        for index in range(len(glyphs)):
            interpreter.set_tensor(glyph["index"], glyphs[index : index + 1, ..., None])
            interpreter.invoke()
            answers[index] = interpreter.get_tensor(answer["index"])
        return answers

    return forward


def softmax(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Turn (N, 11) logits into probabilities at a temperature."""
    scaled = (logits - logits.max(axis=1, keepdims=True)) / temperature
    odds = np.exp(scaled)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float32)


def read(path: Path) -> tuple[Settings, dict[str, bytes], str]:
    """Return a model file's settings, its members and its hash, all checksums being right.

    Raises:
        ModelError: see ``load``.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}. {_REMEDY}.") from error
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    # What zipfile raises for each byte of a header that is flipped (all were tried).
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ModelError(
            f"{path}: is not a .keras file, or is broken: {error}. {_REMEDY}."
        ) from error
    return _settings(path, members), members, hashlib.sha256(data).hexdigest()[:HASH_LENGTH]


def _settings(path: Path, members: dict[str, bytes]) -> Settings:
    if SETTINGS_MEMBER not in members:
        raise ModelError(
            f"{path}: has no {SETTINGS_MEMBER} inside, so `digitd train` did not make it. "
            f"{_REMEDY}."
        )
    try:
        settings = Settings(**json.loads(members[SETTINGS_MEMBER]))
    except (ValueError, TypeError) as error:
        raise ModelError(f"{path}: its {SETTINGS_MEMBER} is broken: {error}. {_REMEDY}.") from error
    if settings.preprocessing != PREPROCESSING_VERSION:
        raise ModelError(
            f"{path}: was made for version {settings.preprocessing} of the reader and this is "
            f"version {PREPROCESSING_VERSION}: it would misread. Train it again with this digitd."
        )
    return settings


@contextmanager
def quiet() -> Iterator[None]:
    """Silence stderr: LiteRT and TensorFlow print messages at start that no setting turns off."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
