"""Let the upper layers of the classifier and the last one of the line reader learn.

The layers below see what strange digits have in common. Of the classifier, the last stage learns:
on development hands its last layer alone learns as much, but forgets more.
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

# Shares of the corrections in what is learnt from, before the cap; the rest is replayed.
GLYPH_SHARE, LAST_LAYER_SHARE, LINE_SHARE = 1 / 6, 0.4, 0.4
VARIANTS = 8  # of each corrected glyph for cross-validation: itself, and augmented
STEPS = LINE_STEPS = 150
_RATE, _BATCH = 1e-3, 192
# Share of the glyphs that are not augmented, and how much more the replayed ones are: what is rare
# in the pack is not rare among other people.
_PLAIN, _REPLAY_STRENGTH = 0.25, 1.5
# Weight of the classifier's new weights against the parent's (WiSE-FT, Wortsman et al. 2022). After
# 40 answers of three development hands, 90, 96 and 89 % of their other drawings are ok; of 6,000
# MNIST training digits 10 are newly wrong and 2 newly right, of 4,000 augmented glyphs of the pack
# 26 and 23. With the new weights alone, 96, 96 and 90 % are ok, but 12 and 2, 37 and 29 change.
_AVERAGE = 0.8
_LINE_RATE, _LINE_BATCH = 3e-3, 48
# The same of the line reader: after 50 answers of three development hands, 6 % of the numbers that
# were misread are still wrong with the new weights alone, 34 % with 0.6 of them. Of 500 validation
# numbers 4 and 1 are newly right, 6 and 3 newly wrong.
_LINE_AVERAGE = 0.85
_LINE_COLUMNS = 6144  # of the strips in a batch, together
_STEEPEST = 5.0  # norm of the gradients from which they are scaled down
# Standard deviations of a strip's slant and of the logarithm of its width, and of the displacement
# of its points, px.
_SLANT, _WIDTH, _BEND = 0.08, 0.06, 0.7


def read_last_layer(classifier: Any) -> LastLayer:
    """Return the last layer of a Keras classifier."""
    return LastLayer(*classifier.layers[-1].get_weights())


def extract_features(classifier: Any, corrected: Bytes, replayed: Bytes) -> tuple[Floats, Replayed]:
    """Return the inputs of a classifier's last layer.

    Args:
        classifier: the Keras network.
        corrected: (N, 28, 28) uint8.
        replayed: (M, 28, 28) uint8.

    Returns:
        (N, 8, D) of each corrected glyph and seven augmented copies; and those of the replayed
        ones.
    """
    keras = frameworks.import_keras()
    below = keras.Model(classifier.input, classifier.layers[-1].input)
    run = networks.run_with_keras(below)
    augment = Augmenter(np.random.default_rng(0))
    variants = [corrected, *(augment(corrected) for _ in range(VARIANTS - 1))]
    features = run(np.concatenate((*variants, replayed)))
    count = len(corrected)
    ours = features[: VARIANTS * count].reshape(VARIANTS, count, -1).swapaxes(0, 1)
    parent = read_last_layer(classifier)
    return ours, last_layer.replay(features[VARIANTS * count :], parent)


def tune_classifier(
    classifier: Any,
    corrected: Bytes,
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    replayed: Bytes,
    on_step: Callable[[int], None],
) -> None:
    """Let the last stage of the classifier learn, in place.

    Replayed glyphs are to be answered as the parent answers them (Li and Hoiem 2016).

    Args:
        classifier: the Keras network of the parent.
        corrected: (N, 28, 28) uint8.
        labels: (N,) 0 to 10.
        weights: (N,) the share of each; see ``corrections.weigh``.
        replayed: (M, 28, 28) uint8.
        on_step: called with 1 after each of ``STEPS`` steps.
    """
    keras, tf = frameworks.import_keras(), frameworks.import_tensorflow()
    parent = _copy(classifier)
    variables = _upper_variables(classifier)
    optimizer = keras.optimizers.Adam(_RATE, global_clipnorm=_STEEPEST)
    optimizer.build(variables)
    ours = round(_BATCH * float(weights.sum()))

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def step(glyphs: Any, targets: Any) -> None:
        inputs = networks.scale_pixels(glyphs[..., None])
        known = tf.nn.softmax(parent(inputs[ours:], training=False))
        with tf.GradientTape() as tape:
            answers = classifier(inputs, training=False)
            wanted = tf.concat((targets, known), axis=0)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(wanted, answers))
        optimizer.apply(tape.gradient(loss, variables), variables)

    targets = last_layer.smooth(classifier.output_shape[1])
    chances = weights / weights.sum()
    for taken, (glyphs, chosen) in enumerate(
        prefetch(_draw_glyphs(corrected, chances, ours, replayed))
    ):
        optimizer.learning_rate.assign(_schedule(_RATE, taken, STEPS))
        step(tf.constant(glyphs), tf.constant(targets[labels[chosen]]))
        on_step(1)
    _average(classifier, parent, _AVERAGE)


def _copy(network: Any) -> Any:
    keras = frameworks.import_keras()
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    return copy


def _upper_variables(classifier: Any) -> list[Any]:
    """Return what learns: all weights from the last convolution that halves the image on.

    Normalisation stays, because a few people's digits say nothing about everybody's.
    """
    keras = frameworks.import_keras()
    layers = classifier.layers
    halving = [
        index for index, layer in enumerate(layers) if max(getattr(layer, "strides", (1,))) > 1
    ]
    first = max(halving, default=len(layers) - 1)
    return [
        variable
        for layer in layers[first:]
        if not isinstance(layer, keras.layers.BatchNormalization)
        for variable in layer.trainable_variables
    ]


def _schedule(rate: float, taken: int, steps: int) -> float:
    """Return the learning rate: it rises for ten steps and falls in the second half."""
    return rate * min(1.0, (taken + 1) / 10, 2 * (steps - taken) / steps)


def _average(network: Any, parent: Any, share: float) -> None:
    """Average a network's weights with its parent's, in place."""
    for new, old in zip(network.weights, parent.weights, strict=True):
        new.assign(old + share * (new - old))  # exactly the same if it has not learnt


def _draw_glyphs(
    corrected: Bytes, chances: NDArray[np.float64], ours: int, replayed: Bytes
) -> Iterator[tuple[Bytes, NDArray[np.int64]]]:
    """Yield glyphs, the corrected ones first, and which of these they are, for each step."""
    rng = np.random.default_rng(0)
    augment, augment_more = Augmenter(rng), Augmenter(rng, _REPLAY_STRENGTH)
    for _ in range(STEPS):
        chosen = rng.choice(len(corrected), ours, p=chances)
        others = rng.integers(len(replayed), size=_BATCH - ours)
        glyphs = np.concatenate((corrected[chosen], replayed[others]))
        is_varied = rng.random(_BATCH) >= _PLAIN
        for part, vary in ((slice(ours), augment), (slice(ours, None), augment_more)):
            glyphs[part][is_varied[part]] = vary(glyphs[part][is_varied[part]])
        yield glyphs, chosen


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
    parent = _copy(reader)
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
        optimizer.learning_rate.assign(_schedule(_LINE_RATE, taken, LINE_STEPS))
        step(*map(tf.constant, batch))
        on_step(1)
    _average(reader, parent, _LINE_AVERAGE)


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
