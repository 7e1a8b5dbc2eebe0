"""The network: a small residual one, 3x3 convolutions at 28, 14 and 7 px."""

# Keras ships no types.
# ruff: noqa: ANN401

import json
import tempfile
import warnings
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.errors import ModelError
from daemon.reading import model
from daemon.reading.glyph import GLYPH
from daemon.training.frameworks import keras as import_keras
from daemon.training.frameworks import tensorflow as import_tensorflow

# Channels at 28, 14 and 7 px; 36 million multiply-adds. With (24, 48, 96), 20 million, training and
# reading take half the time.
CHANNELS = (32, 64, 128)
SMOOTHING = 0.05  # share of each label given to the other classes (Szegedy et al. 2016)


def build(seed: int, *, learning: bool = False) -> Any:
    """Build the network: (N, 28, 28, 1) float32 from 0 to 1, to (N, 11) logits.

    Args:
        seed: of the first weights.
        learning: return the network that learns. It has the same variables in the same order,
            and normalises by the batch in one fused operation: 600 images a second learnt from
            where Keras's own layer learns from 450 (2 cores with AVX2).
    """
    keras = import_keras()
    layers = keras.layers
    keras.utils.set_random_seed(seed)
    normalization = fused(layers.BatchNormalization) if learning else layers.BatchNormalization

    def convolution(x: Any, channels: int, stride: int = 1) -> Any:
        x = layers.Conv2D(channels, 3, stride, padding="same", use_bias=False)(x)
        return normalization(momentum=0.97)(x)

    def residual(x: Any) -> Any:
        inner = layers.ReLU()(convolution(x, x.shape[-1]))
        both = layers.Add()([x, convolution(inner, x.shape[-1])])
        return layers.ReLU()(both)

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


def fused(plain: Any) -> Any:
    """Return a layer that normalises by the batch in one operation, where Keras takes a dozen."""
    tf = import_tensorflow()

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


def loss(answers: Any, labels: Any) -> Any:
    """Return the loss of a batch: logits (N, 11), labels (N,) int64."""
    keras, tf = import_keras(), import_tensorflow()
    loss_of = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=SMOOTHING)
    return loss_of(tf.one_hot(labels, model.CLASSES), answers)


def scaled(glyphs: Any) -> Any:
    """Return glyphs (N, 28, 28) uint8 as the network's input."""
    tf = import_tensorflow()
    return tf.cast(glyphs[..., None], tf.float32) / 255.0


# Glyphs per forward pass in TensorFlow: it is compiled for this number alone.
_BATCH = 256


def forward(network: Any) -> model.Forward:
    """Return the network as a function from glyphs to logits."""
    tf = import_tensorflow()

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec((_BATCH, GLYPH, GLYPH), tf.uint8)], autograph=False
    )
    def batch(glyphs: Any) -> Any:
        return network(scaled(glyphs), training=False)

    def answer(glyphs: NDArray[np.uint8]) -> NDArray[np.float32]:
        answers = np.zeros((len(glyphs), model.CLASSES), np.float32)
        for start in range(0, len(glyphs), _BATCH):
            part = glyphs[start : start + _BATCH]
            filled = np.zeros((_BATCH, GLYPH, GLYPH), np.uint8)
            filled[: len(part)] = part
            answers[start : start + len(part)] = batch(tf.constant(filled)).numpy()[: len(part)]
        return answers

    return answer


def load(path: Path) -> Any:
    """Load the Keras network of a model file.

    Raises:
        ModelError: it is broken, or does not map 28x28x1 to 11 classes.
    """
    keras = import_keras()
    try:
        # In safe mode and without compiling, no code in the file runs (CVE-2025-9905).
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
    # Keras passes on what its zip, JSON and HDF5 readers raise.
    except (ValueError, TypeError, KeyError, OSError, AttributeError) as error:
        raise ModelError(f"{path}: Keras cannot load it: {error}") from error
    shapes = network.input_shape, network.output_shape
    if shapes != ((None, GLYPH, GLYPH, 1), (None, model.CLASSES)):
        raise ModelError(f"{path}: maps {shapes[0]} to {shapes[1]}, not a glyph to a digit")
    return network


def as_model(path: Path) -> model.Model:
    """Return a model file's Keras classifier, with the calibration and the eye of the compiled one.

    Raises:
        ModelError: see ``model.load`` and ``load``.
    """
    compiled_model = model.load(path)
    return model.Model(
        compiled_model.look, forward(load(path)), compiled_model.settings, compiled_model.hash
    )


def compiled(network: Any, examples: NDArray[np.uint8]) -> bytes:
    """Compile a network for LiteRT, with weights and activations of 8 bits.

    Args:
        network: takes one float32 input from 0 to 1.
        examples: (N, ...) uint8 training inputs; the ranges of the activations are measured on
            them. A few hundred are enough.

    Returns:
        A LiteRT flatbuffer that takes one uint8 input and returns float32.
    """
    tf = import_tensorflow()
    # The batch of one is fixed, which the worker uses; the class's own signature leaves it open.
    spec = tf.TensorSpec((1, *network.input_shape[1:]), tf.float32)
    function = tf.function(lambda image: network(image, training=False), autograph=False)
    # The converter reports on stderr what it does, and warns of options that we don't use.
    with model.quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [function.get_concrete_function(spec)]
        )
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [example.reshape(spec.shape).astype(np.float32) / 255.0] for example in examples
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        return bytes(converter.convert())


def save(network: Any, flatbuffer: bytes, eye: bytes, settings: model.Settings, path: Path) -> None:
    """Save the classifier, its compiled form, the compiled eye and the settings as one file.

    The file is written whole or not at all.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        whole = Path(folder) / path.name
        network.save(whole)
        with zipfile.ZipFile(whole, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(model.NETWORK_MEMBER, flatbuffer)
            archive.writestr(model.EYE_MEMBER, eye)
            archive.writestr(model.SETTINGS_MEMBER, json.dumps(asdict(settings), indent=1))
        whole.replace(path)
