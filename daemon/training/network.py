"""The network: a small residual one, 3x3 convolutions at 28, 14 and 7 px."""

# Keras ships no types.
# ruff: noqa: ANN401

from __future__ import annotations

from typing import Any

from daemon import model
from daemon.ink import GLYPH

# Channels at 28, 14 and 7 px. 36 million multiply-adds: 25 ms for a batch of 64 on two
# cores, and 760 images a second in training (measured on the 2-core target); a residual
# block at 28 px as well cost 40 % more for no gain that was seen.
CHANNELS = (32, 64, 128)


def build(seed: int) -> Any:
    """Build the network: (N, 28, 28, 1) float32 from 0 to 1, to (N, 11) logits."""
    keras = model.keras()
    layers = keras.layers
    keras.utils.set_random_seed(seed)

    def convolution(x: Any, channels: int, stride: int = 1) -> Any:
        x = layers.Conv2D(channels, 3, stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization(momentum=0.97)(x)

    def residual(x: Any) -> Any:
        inner = layers.ReLU()(convolution(x, x.shape[-1]))
        return layers.ReLU()(layers.Add()([x, convolution(inner, x.shape[-1])]))

    first, second, third = CHANNELS
    x = image = keras.Input((GLYPH, GLYPH, 1))
    x = layers.ReLU()(convolution(x, first))
    x = residual(layers.ReLU()(convolution(x, second, stride=2)))
    x = residual(layers.ReLU()(convolution(x, third, stride=2)))
    # Where a stroke lies matters as much as that it is there: a learnt mean, not a plain one.
    x = layers.DepthwiseConv2D(x.shape[1], use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.97)(layers.Flatten()(x))
    x = layers.Dropout(0.2)(x)
    return keras.Model(image, layers.Dense(model.CLASSES)(x))
