"""Measure the eye on composed pages of each kind."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daemon.reading.eye import CELL
from daemon.training.eye_batches import CONTENTS, UNCOUNTED, UNKNOWN, EyeBatch
from daemon.training.frameworks import import_tensorflow
from daemon.training.networks import eye_loss, scale_pixels

_BATCH = 64  # the network is compiled for this batch size only
_HALF = 127  # a pixel brighter than this is ink


class Figures(NamedTuple):
    """How well the eye sees pages of one kind.

    Attributes:
        loss: the mean.
        accuracy: share of the counts that are right; ``None`` if no view has one.
        overlap: of mask and ink: intersection over union, the mean of views with ink; ``None`` if
            no view has any.
    """

    loss: float
    accuracy: float | None
    overlap: float | None


def measure(
    network: Any, held: Mapping[str, EyeBatch]
) -> tuple[float, float, float, dict[str, Figures]]:
    """Measure a Keras network on each kind of pages.

    Returns:
        The means of loss, accuracy and overlap by the share of each kind, and all figures.
    """
    tf = import_tensorflow()

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def answer(pixels: Any, ink: Any, counts: Any) -> Any:
        cells, logits = network(scale_pixels(pixels), training=False)
        return tf.nn.depth_to_space(cells, CELL), logits, eye_loss((cells, logits), ink, counts)

    figures = {kind: _measure_views(answer, views) for kind, views in held.items()}

    def mean(values: Mapping[str, float | None]) -> float:
        known = {kind: value for kind, value in values.items() if value is not None}
        return float(np.average(list(known.values()), weights=[CONTENTS[kind] for kind in known]))

    return (
        mean({kind: each.loss for kind, each in figures.items()}),
        mean({kind: each.accuracy for kind, each in figures.items()}),
        mean({kind: each.overlap for kind, each in figures.items()}),
        figures,
    )


def _measure_views(answer: Any, views: EyeBatch) -> Figures:
    losses, right, overlaps = [], [], []
    for start in range(0, len(views.counts) - _BATCH + 1, _BATCH):
        part = views.part(slice(start, start + _BATCH))
        mask, logits, loss = answer(*part)
        found = (mask.numpy()[..., 0] > 0) & (part.ink != UNKNOWN)
        ink = part.ink > _HALF
        shared = (found & ink).sum(axis=(1, 2)) / np.maximum((found | ink).sum(axis=(1, 2)), 1)
        losses.append(float(loss))
        right.append((logits.numpy().argmax(axis=1) == part.counts)[part.counts != UNCOUNTED])
        overlaps.append(shared[ink.any(axis=(1, 2))])
    return Figures(
        float(np.mean(losses)),
        _mean_if_any(np.concatenate(right)),
        _mean_if_any(np.concatenate(overlaps)),
    )


def _mean_if_any(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None
