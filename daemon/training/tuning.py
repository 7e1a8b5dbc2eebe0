"""Let the last layers of the classifier and of the line reader learn from corrections.

The layers below see what strange digits have in common: on development hands, the last layer alone
learns to read them, and forgets less than the whole network would.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from daemon.reading.glyph import Bytes
from daemon.training import frameworks, last_layer, networks, pens, strips
from daemon.training.glyph_batches import Augmenter, prefetch
from daemon.training.last_layer import Floats, LastLayer, Replayed

SHARE = 0.4  # of the corrections in what is learnt from, before the cap; the rest is replayed
VARIANTS = 8  # of each corrected glyph: itself, and augmented
# Each replayed glyph is seen as it is, and augmented. After learning from 40 corrections of four
# development hands, 0.02 % of MNIST's training digits are newly misread; 0.09 % without copies.
REPLAYED_VARIANTS = 3
LINE_STEPS = 150
_LINE_RATE, _LINE_BATCH = 3e-3, 48
# Weight of the line reader's new weights against the parent's (WiSE-FT, Wortsman et al. 2022). With
# the new ones alone, 96 instead of 61 % of a development hand's numbers are right, but 71 instead
# of 75 % of the replayed strips.
_LINE_AVERAGE = 0.6
_LINE_COLUMNS = 6144  # of the strips in a batch, together
_STEEPEST = 5.0  # norm of the gradients from which they are scaled down
# Standard deviations of a strip's slant and of the logarithm of its width, and of the displacement
# of its points, px.
_SLANT, _WIDTH, _BEND = 0.08, 0.06, 0.7


def read_last_layer(classifier: Any) -> LastLayer:
    """Return the last layer of a Keras classifier."""
    return LastLayer(*classifier.layers[-1].get_weights())


def write_last_layer(classifier: Any, layer: LastLayer) -> None:
    """Set the last layer of a Keras classifier."""
    classifier.layers[-1].set_weights([layer.kernel, layer.bias])


def extract_features(classifier: Any, corrected: Bytes, replayed: Bytes) -> tuple[Floats, Replayed]:
    """Return the inputs of a classifier's last layer.

    Args:
        classifier: the Keras network.
        corrected: (N, 28, 28) uint8.
        replayed: (M, 28, 28) uint8.

    Returns:
        (N, 8, D) of each corrected glyph and seven augmented copies; and those of the replayed
        ones, and of two augmented copies of each.
    """
    keras = frameworks.import_keras()
    below = keras.Model(classifier.input, classifier.layers[-1].input)
    run = networks.run_with_keras(below)
    augment = Augmenter(np.random.default_rng(0))
    variants = [corrected, *(augment(corrected) for _ in range(VARIANTS - 1))]
    known = [replayed, *(augment(replayed) for _ in range(REPLAYED_VARIANTS - 1))]
    features = run(np.concatenate((*variants, *known)))
    count = len(corrected)
    ours = features[: VARIANTS * count].reshape(VARIANTS, count, -1).swapaxes(0, 1)
    parent = read_last_layer(classifier)
    return ours, last_layer.replay(features[VARIANTS * count :], parent)


StripLessons = Sequence[tuple[Bytes, list[int]]]
"""Strips, (32, W) uint8 each, with the classes of their symbols."""


def tune_line(
    reader: Any,
    lessons: StripLessons,
    weights: NDArray[np.float64],
    replay: StripLessons,
    on_step: Callable[[int], None],
) -> None:
    """Let the last layer of the line reader learn, in place.

    Args:
        reader: the Keras network of the parent.
        lessons: the corrections.
        weights: (N,) the share of each; see ``corrections.weigh``.
        replay: what the parent knows.
        on_step: called with 1 after each of ``LINE_STEPS`` steps.
    """
    keras, tf = frameworks.import_keras(), frameworks.import_tensorflow()
    last = next(layer for layer in reversed(reader.layers) if layer.weights)
    below = keras.Model(reader.input, last.input)
    parent = keras.models.clone_model(reader)
    parent.set_weights(reader.get_weights())
    variables = last.trainable_variables
    optimizer = keras.optimizers.Adam(_LINE_RATE, global_clipnorm=_STEEPEST)
    optimizer.build(variables)

    @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(pixels: Any, texts: Any, is_replayed: Any) -> None:
        inputs = networks.scale_pixels(pixels)
        known = tf.nn.softmax(parent(inputs, training=False))
        features = below(inputs, training=False)
        with tf.GradientTape() as tape:
            answers = tf.reshape(last(features), tf.shape(known))
            taught = networks.line_losses(answers, texts) * (1 - is_replayed)
            kept = tf.nn.softmax_cross_entropy_with_logits(known, answers)
            kept = tf.reduce_sum(kept, axis=1) * is_replayed
            loss = tf.reduce_mean(taught + kept)
        optimizer.apply(tape.gradient(loss, variables), variables)

    for taken, batch in enumerate(prefetch(_draw_batches(lessons, weights, replay))):
        left = (LINE_STEPS - taken) / LINE_STEPS
        optimizer.learning_rate.assign(_LINE_RATE * min(1.0, (taken + 1) / 10, 2 * left))
        step(*map(tf.constant, batch))
        on_step(1)
    for new, old in zip(reader.weights, parent.weights, strict=True):
        new.assign(_LINE_AVERAGE * new + (1 - _LINE_AVERAGE) * old)


def _draw_batches(
    lessons: StripLessons, weights: NDArray[np.float64], replay: StripLessons
) -> Iterator[Any]:
    """Yield strips, their texts, and whether they are replayed, for each step."""
    rng = np.random.default_rng(0)
    left: list[Any] = []
    for _ in range(LINE_STEPS):
        if not left:
            size = 8 * _LINE_BATCH
            total = weights.sum()
            ours = rng.choice(len(lessons), round(size * total), p=weights / total)
            drawn = [(*lessons[index], False) for index in ours]
            drawn += [
                (*replay[index], True) for index in rng.integers(len(replay), size=size - len(ours))
            ]
            left = _batch([(distort(p, s, rng), s, r) for p, s, r in drawn], rng)
        yield left.pop()


def _batch(drawn: list[tuple[Bytes, list[int], bool]], rng: Generator) -> list[Any]:
    """Return strips in batches of about the same width, in random order."""
    batches, batch = [], list[tuple[Bytes, list[int], bool]]()
    for strip in sorted(drawn, key=lambda strip: strip[0].shape[1]):
        width = strip[0].shape[1]
        if len(batch) == _LINE_BATCH or width * (len(batch) + 1) > _LINE_COLUMNS:
            batches.append(batch)
            batch = []
        batch.append(strip)
    batches.append(batch)
    return [
        (
            *strips.stack([(pixels, symbols) for pixels, symbols, _ in batches[index]]),
            np.array([replayed for *_, replayed in batches[index]], np.float32),
        )
        for index in rng.permutation(len(batches))
    ]


def distort(strip: Bytes, symbols: Sequence[int], rng: Generator) -> Bytes:
    """Return a strip, (32, W) uint8, slanted, stretched and bent, wide enough for its symbols."""
    high, wide = strip.shape
    y, x = np.mgrid[0:high, 0:wide].astype(np.float32)
    stretch, slant = np.exp(rng.normal(0, _WIDTH)), rng.normal(0, _SLANT)
    strength = rng.uniform(0, 1.5)
    bends = [strength * pens.warp_field(high, _BEND, rng, wide) for _ in range(2)]
    across = (stretch * x + slant * (y - (high - 1) / 2) + bends[0]).astype(np.float32)
    moved = cv2.remap(strip, across, (y + bends[1]).astype(np.float32), cv2.INTER_LINEAR)
    # A stretched line must not lose its end.
    has_lost = not moved.any() or moved[:, -1].any() or not strips.has_room(symbols, wide)
    return strip if has_lost else moved
