"""The eye's network: a small U-Net (Ronneberger et al. 2015) from 96x96 px to a mask."""

# Keras ships no types.
# ruff: noqa: ANN401

from typing import Any

import numpy as np

from daemon.reading.eye import CELL, VIEW, Count
from daemon.training.frameworks import keras as import_keras
from daemon.training.frameworks import tensorflow as import_tensorflow
from daemon.training.network import fused
from daemon.training.views import Views

# Channels at 48, 24, 12 and 6 px, and the residual convolutions at each; 13 million
# multiply-adds. Separable convolutions with as many took as long and learnt more slowly
# (0.5 ms each with AVX2 alone, on one core).
CHANNELS, REPEATS = (8, 16, 32, 64), (0, 1, 1, 2)
# The mask's loss against the count's: a mean over pixels, most of which are easy.
_MASK_WEIGHT = 5.0
_HALF = 127  # a pixel brighter than this is ink


def build(seed: int, *, learning: bool = False) -> Any:
    """Build the network: (N, 96, 96, 3) float32 from 0 to 1, to logits.

    It answers (N, 48, 48, 4), the four pixels of each cell from left to right and top to bottom,
    and (N, 3), the count.

    Args:
        seed: of the first weights.
        learning: see ``network.build``.
    """
    keras = import_keras()
    layers = keras.layers
    keras.utils.set_random_seed(seed)
    normalization = fused(layers.BatchNormalization) if learning else layers.BatchNormalization

    def convolution(x: Any, channels: int, size: int, stride: int = 1) -> Any:
        x = layers.Conv2D(channels, size, stride, padding="same", use_bias=False)(x)
        return normalization(momentum=0.97)(x)

    def residual(x: Any) -> Any:
        return layers.ReLU()(layers.Add()([x, convolution(x, x.shape[-1], 3)]))

    x = image = keras.Input((VIEW, VIEW, 3))
    finer = []
    for channels, repeats in zip(CHANNELS, REPEATS, strict=True):
        x = layers.ReLU()(convolution(x, channels, 3, stride=2))
        for _ in range(repeats):
            x = residual(x)
        finer.append(x)
    count = layers.GlobalAveragePooling2D()(finer.pop())
    count = layers.Dense(len(Count))(layers.Dropout(0.1)(count))
    for skipped in reversed(finer):
        x = layers.UpSampling2D(2)(convolution(x, skipped.shape[-1], 1))
        x = residual(layers.ReLU()(layers.Add()([x, skipped])))
    cells = layers.Conv2D(CELL * CELL, 3, padding="same")(x)
    return keras.Model(image, [cells, count])


def loss(answers: Any, ink: Any, counts: Any) -> Any:
    """Return the loss of a batch.

    Args:
        answers: what the network says.
        ink: (N, 96, 96) uint8, 255 on what is written.
        counts: (N,) int64.
    """
    tf = import_tensorflow()
    cells, logits = answers
    wanted = tf.nn.space_to_depth(tf.cast(ink[..., None], tf.float32) / 255.0, CELL)
    mask = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=wanted, logits=cells))
    count = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=counts, logits=logits)
    return _MASK_WEIGHT * mask + tf.reduce_mean(count)


def compilable(network: Any) -> Any:
    """Return the network as the worker needs it: probabilities instead of logits."""
    keras = import_keras()
    cells, count = network.outputs
    return keras.Model(
        network.inputs, [keras.layers.Activation("sigmoid")(cells), keras.layers.Softmax()(count)]
    )


def scaled(pixels: Any) -> Any:
    """Return views (N, 96, 96, 3) uint8 as the network's input."""
    tf = import_tensorflow()
    return tf.cast(pixels, tf.float32) / 255.0


# Views per forward pass in validation: the network is compiled for this number alone.
_BATCH = 64


def measure(network: Any, shown: Views) -> tuple[float, float, float]:
    """Return loss, share of right counts, and the mean overlap of mask and ink.

    The overlap is intersection over union, the mean of views with one digit.
    """
    tf = import_tensorflow()

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def answer(pixels: Any, ink: Any, counts: Any) -> Any:
        cells, logits = network(scaled(pixels), training=False)
        return tf.nn.depth_to_space(cells, CELL), logits, loss((cells, logits), ink, counts)

    losses, right, overlaps = [], [], []
    for start in range(0, len(shown.counts) - _BATCH + 1, _BATCH):
        part = shown.part(slice(start, start + _BATCH))
        mask, logits, lost = answer(*map(tf.constant, (part.pixels, part.ink, part.counts)))
        said, ink = mask.numpy()[..., 0] > 0, part.ink > _HALF
        shared = (said & ink).sum(axis=(1, 2)) / np.maximum((said | ink).sum(axis=(1, 2)), 1)
        losses.append(float(lost))
        right.append(logits.numpy().argmax(axis=1) == part.counts)
        overlaps.append(shared[part.counts == Count.ONE])
    return (
        float(np.mean(losses)),
        float(np.mean(np.concatenate(right))),
        float(np.mean(np.concatenate(overlaps))),
    )
