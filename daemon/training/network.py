"""The network: a small residual one, 3x3 convolutions at 28, 14 and 7 px."""

# Keras ships no types.
# ruff: noqa: ANN401

from __future__ import annotations

import json
import tempfile
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from daemon.reading import model
from daemon.reading.glyph import GLYPH

# Channels at 28, 14 and 7 px. 36 million multiply-adds: 25 ms for a batch of 64 on two
# cores, and 760 images a second in training (measured on the 2-core target); a residual
# block at 28 px as well cost 40 % more for no gain that was seen.
CHANNELS = (32, 64, 128)


def build(seed: int, *, learning: bool = False) -> Any:
    """Build the network: (N, 28, 28, 1) float32 from 0 to 1, to (N, 11) logits.

    Args:
        seed: of the first weights.
        learning: with the same variables in the same order, but with activations in bfloat16
            and normalisation by the batch in one fused operation: 1,060 images a second learnt
            from where the plain one learns from 570 (measured on the 2-core target).
    """
    keras = model.keras()
    layers = keras.layers
    keras.utils.set_random_seed(seed)
    dtype = "mixed_bfloat16" if learning else "float32"
    normalized = _fused(layers.BatchNormalization) if learning else layers.BatchNormalization

    def convolution(x: Any, channels: int, stride: int = 1) -> Any:
        x = layers.Conv2D(channels, 3, stride, padding="same", use_bias=False, dtype=dtype)(x)
        return normalized(momentum=0.97, dtype=dtype)(x)

    def residual(x: Any) -> Any:
        inner = layers.ReLU(dtype=dtype)(convolution(x, x.shape[-1]))
        both = layers.Add(dtype=dtype)([x, convolution(inner, x.shape[-1])])
        return layers.ReLU(dtype=dtype)(both)

    first, second, third = CHANNELS
    x = image = keras.Input((GLYPH, GLYPH, 1))
    x = layers.ReLU(dtype=dtype)(convolution(x, first))
    x = residual(layers.ReLU(dtype=dtype)(convolution(x, second, stride=2)))
    x = residual(layers.ReLU(dtype=dtype)(convolution(x, third, stride=2)))
    # Where a stroke lies matters as much as that it is there: a learnt mean, not a plain one.
    x = layers.DepthwiseConv2D(x.shape[1], use_bias=False, dtype=dtype)(x)
    x = layers.BatchNormalization(momentum=0.97)(layers.Flatten()(x))
    x = layers.Dropout(0.2)(x)
    return keras.Model(image, layers.Dense(model.CLASSES)(x))


def _fused(plain: Any) -> Any:
    """Normalise by the batch in TensorFlow's one operation, where Keras takes a dozen."""
    tf = model.tensorflow()

    class Fused(plain):  # type: ignore[misc]
        def call(self, inputs: Any, **_: Any) -> Any:
            answers, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
                x=inputs,
                scale=self.gamma,
                offset=self.beta,
                mean=tf.zeros([0]),
                variance=tf.zeros([0]),
                epsilon=self.epsilon,
                is_training=True,
            )
            keep = self.momentum
            self.moving_mean.assign(keep * self.moving_mean + (1 - keep) * mean)
            self.moving_variance.assign(keep * self.moving_variance + (1 - keep) * variance)
            return answers

    return Fused


def save(network: Any, settings: model.Settings, path: Path) -> None:
    """Save weights and settings as one ``.keras`` file, whole or not at all."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        whole = Path(folder) / path.name
        network.save(whole)
        with zipfile.ZipFile(whole, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(model.SETTINGS_MEMBER, json.dumps(asdict(settings), indent=1))
        whole.replace(path)
