"""Load the two packs that ship with the program, for learning and for comparing models.

``python -m benchmarks.packs`` makes both. Neither has an image of MNIST; docs/model-card.md names
their sources and licences.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from daemon.assets import REGRESSION_PACK, REPLAY_PACK
from daemon.reading.glyph import Bytes
from daemon.records import Reads

DIGITS, NUMBERS, NOT_A_DIGIT = "digits", "numbers", "not a digit"
GROUPS = DIGITS, NUMBERS, NOT_A_DIGIT
"""The groups of the regression pack, in the order in which they are reported."""


@dataclass(frozen=True, slots=True)
class ReplayPack:
    """What ``digitd learn`` replays, so that a model keeps what it knows.

    All of it is from the share of the sets that training uses, as the shipped eye sees it.

    Attributes:
        glyphs: (N, 28, 28) uint8, white on black.
        counts: (N, 4) float32, the eye's probabilities of each ``eye.Count``.
        labels: (N,) int64, 0 to 9, and 10 for what is not a digit.
        columns: (32, sum of all widths) uint8, the strips of numbers side by side.
        widths: (M,) int64, of the strips, px; multiples of 32.
        texts: (M, L) int32, the classes of the strips' symbols (``line.ALPHABET``, then
            ``line.OTHER``), padded with -1.
        left_out: (M,) float32, see ``scan.LineDetection``.
        sources: the sources and their licences, as text.
    """

    glyphs: Bytes
    counts: NDArray[np.float32]
    labels: NDArray[np.int64]
    columns: Bytes
    widths: NDArray[np.int64]
    texts: NDArray[np.int32]
    left_out: NDArray[np.float32]
    sources: str

    def strips(self) -> Iterator[tuple[Bytes, list[int]]]:
        """Yield each strip, (32, W) uint8, with its symbols' classes."""
        ends = np.cumsum(self.widths)
        for end, width, text in zip(ends, self.widths, self.texts, strict=True):
            yield self.columns[:, end - width : end], text[text >= 0].tolist()


@dataclass(frozen=True, slots=True)
class Case:
    """An image that is read in one mode.

    Attributes:
        group: one of ``GROUPS``.
        reads: the mode.
        image: the bytes of an image file.
        text: the digit or the number; empty for what is not one.
    """

    group: str
    reads: Reads
    image: bytes
    text: str


@dataclass(frozen=True, slots=True)
class RegressionPack:
    """What every candidate is measured on.

    It is made from the share of the sets that no network learns from, and from letters that are
    nowhere in training.

    Attributes:
        cases: an image that is read in both modes is two.
        hash: first 12 hex digits of the pack's SHA-256.
        sources: the sources and their licences, as text.
    """

    cases: tuple[Case, ...]
    hash: str
    sources: str


# Cached: a comparison reads the pack once for each model.
@lru_cache(maxsize=1)
def load_regression() -> RegressionPack:
    """Return the regression pack; reading it takes 0.1 s."""
    with np.load(REGRESSION_PACK, allow_pickle=False) as stored:
        data = stored["files"].tobytes()
        ends = np.cumsum(stored["sizes"])
        images = [data[end - size : end] for end, size in zip(ends, stored["sizes"], strict=True)]
        cases = tuple(
            Case(str(group), Reads(str(reads)), images[image], str(text))
            for image, group, reads, text in zip(
                stored["image"], stored["group"], stored["reads"], stored["text"], strict=True
            )
        )
        sources = str(stored["sources"])
    return RegressionPack(
        cases, hashlib.sha256(REGRESSION_PACK.read_bytes()).hexdigest()[:12], sources
    )


def load_replay() -> ReplayPack:
    """Return the replay pack; reading it takes 0.1 s."""
    with np.load(REPLAY_PACK, allow_pickle=False) as stored:
        return ReplayPack(
            stored["glyphs"],
            stored["counts"].astype(np.float32),
            stored["labels"].astype(np.int64),
            stored["columns"],
            stored["widths"].astype(np.int64),
            stored["texts"].astype(np.int32),
            stored["left_out"].astype(np.float32),
            str(stored["sources"]),
        )
