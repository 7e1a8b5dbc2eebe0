"""Wrap anybody's classifier so that it takes digitd's glyphs and returns digitd's logits."""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.errors import ModelError
from daemon.reading import litert
from daemon.reading.glyph import GLYPH, Bytes
from daemon.records import DIGITS
from daemon.training.frameworks import import_keras, import_tensorflow
from daemon.training.keras_file import describe_briefly, match_input

_TINY = 1e-7  # added to a divisor, and to probabilities before their logarithm


@dataclass(frozen=True, slots=True)
class Scaling:
    """How a classifier wants its glyphs.

    Attributes:
        name: for people.
        ink, paper: the values of full ink and of paper.
        normalized: axes of (N, 28, 28, 1) over which the pixels are then divided by the root of
            the sum of their squares, as ``keras.utils.normalize`` does; empty for none.
        is_usual: whether it is one of the tutorials'.
        is_moved: whether the digit is first moved to where MNIST has it.
    """

    name: str
    ink: float
    paper: float
    normalized: tuple[int, ...] = ()
    is_usual: bool = True
    is_moved: bool = True

    def apply(self, pixels: Any) -> Any:
        """Return a Keras tensor of pixels from 0, paper, to 1, ink, as the classifier wants it."""
        keras = import_keras()
        if self.is_moved:
            pixels = _move(pixels)
        scaled = keras.layers.Rescaling(self.ink - self.paper, offset=self.paper)(pixels)
        if not self.normalized:
            return scaled
        # UnitNormalization multiplies 0 by the inverse root of 0 where a column has no ink, which
        # LiteRT makes a NaN of.
        squares = keras.ops.sum(keras.ops.square(scaled), axis=self.normalized, keepdims=True)
        return scaled / (keras.ops.sqrt(squares) + _TINY)


# A glyph's centre of mass is in the middle of the image, 13.5, and that of MNIST's digits is at 14.
# Of 12,000 MNIST training digits, two networks of the tutorials, which had learnt others, read
# 96.3 % and 97.1 % as they are, 94.3 % and 95.2 % as digitd's glyphs, 96.0 % and 97.2 % with these
# moved linearly, and as many as alone with cubic interpolation (Keys 1981, a = -0.75 as in OpenCV).
_HALF_A_PIXEL = np.array([-0.09375, 0.59375, 0.59375, -0.09375], np.float32)


def _move(pixels: Any) -> Any:
    """Return (N, 28, 28, 1) with everything half a pixel farther down and to the right."""
    layers = import_keras().layers
    convolution = layers.Conv2D(1, len(_HALF_A_PIXEL), use_bias=False, trainable=False)
    moved = convolution(layers.ZeroPadding2D(((2, 1), (2, 1)))(pixels))
    convolution.set_weights([np.outer(_HALF_A_PIXEL, _HALF_A_PIXEL)[..., None, None]])
    return moved


_COLOURS = (("white on black", False), ("black on white", True))
# What people do to MNIST's pixels: name, paper, ink, and the axes that are normalized. The fourth
# has a mean of 0 and a deviation of 1.
_USUAL = (
    ("0 to 1", 0.0, 1.0, ()),
    ("0 to 255", 0.0, 255.0, ()),
    ("columns normalized, normalize(axis=1)", 0.0, 1.0, (1,)),
)
_RARE = (
    ("mean 0, deviation 1", -0.1307 / 0.3081, (1 - 0.1307) / 0.3081, ()),
    ("-1 to 1", -1.0, 1.0, ()),
    ("rows normalized, normalize(axis=2)", 0.0, 1.0, (2,)),
    ("whole image normalized", 0.0, 1.0, (1, 2)),
)


def list_scalings() -> Iterator[Scaling]:
    """Yield all scalings that are tried, the most usual first."""
    for is_usual, scalings in ((True, _USUAL), (False, _RARE)):
        for colours, is_inverted in _COLOURS:
            for name, low, high, axes in scalings:
                paper, ink = (high, low) if is_inverted else (low, high)
                scaling = Scaling(f"{name}, {colours}", ink, paper, axes, is_usual)
                yield scaling
                yield replace(scaling, is_moved=False)


@dataclass(frozen=True, slots=True)
class Head:
    """A classifier without its last layer, and the weights of that layer.

    Attributes:
        body: a Keras network that maps the classifier's input to features.
        kernel: (features, classes) float32.
        bias: (classes,) float32.
    """

    body: Any
    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]

    @property
    def classes(self) -> int:
        """The number of its classes, 10 or 11."""
        return len(self.bias)


_BATCH = 256
# Activations that leave the order of the classes as it is, and come after the logits.
_AFTER_LOGITS = frozenset({"softmax", "log_softmax", "sigmoid", "log_sigmoid", "linear"})


def split_head(network: Any) -> Head:
    """Split a classifier before its last dense layer; its softmax, if any, is dropped.

    If its last layer is another, the features are the logits.
    """
    keras = import_keras()
    layers = keras.layers
    tensor = network.outputs[0]
    while True:
        history = tensor._keras_history  # noqa: SLF001 - Keras offers no other way to the nodes
        operation = history.operation
        inputs = operation._inbound_nodes[history.node_index].input_tensors  # noqa: SLF001
        activation = getattr(getattr(operation, "activation", None), "__name__", "")
        if isinstance(operation, layers.Softmax | layers.Dropout) or (
            isinstance(operation, layers.Activation) and activation in _AFTER_LOGITS
        ):
            tensor = inputs[0]
        elif isinstance(operation, layers.Dense) and activation in _AFTER_LOGITS:
            kernel = keras.ops.convert_to_numpy(operation.kernel)
            bias = np.zeros(kernel.shape[1], np.float32)
            if operation.bias is not None:
                bias = keras.ops.convert_to_numpy(operation.bias)
            return Head(keras.Model(network.inputs, inputs[0]), kernel, bias)
        elif isinstance(operation, keras.Model):
            inner = split_head(operation)
            body = keras.Model(network.inputs, inner.body(inputs[0]))
            return Head(body, inner.kernel, inner.bias)
        else:
            classes = network.outputs[0].shape[1]
            if _gives_probabilities(network):
                tensor = keras.ops.log(tensor + _TINY)
            body = keras.Model(network.inputs, tensor)
            return Head(body, np.eye(classes, dtype=np.float32), np.zeros(classes, np.float32))


def _gives_probabilities(network: Any) -> bool:
    """Return whether the outputs of a network add up to 1, whatever the input."""
    sides = [side or GLYPH for side in network.inputs[0].shape[1:]]
    noise = np.random.default_rng(0).random((8, *sides), np.float32)
    outputs = np.asarray(network(noise, training=False))
    return bool((outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=1e-3))


def wrap(head: Head, scaling: Scaling, least: float = 0.0) -> Any:
    """Return a network that maps (N, 28, 28, 1) float32, 0 to 1, to (N, 11) logits.

    Args:
        head: the classifier.
        scaling: how it wants its pixels.
        least: the logit of "not a digit", if the classifier lacks that class.
    """
    keras = import_keras()
    layers = keras.layers
    kernel, bias = head.kernel, head.bias
    if head.classes == DIGITS:
        kernel = np.pad(kernel, ((0, 0), (0, 1)))
        bias = np.append(bias, np.float32(least))
    image = keras.Input((GLYPH, GLYPH, 1))
    shape = match_input(tuple(head.body.inputs[0].shape))
    x = head.body(layers.Reshape(shape)(scaling.apply(image)))
    last = layers.Dense(litert.CLASSES)
    network = keras.Model(image, last(x))
    last.set_weights([kernel, bias])
    return network


_EXCUSES = re.compile(r"(?:TF Select|Flex|Custom) ops: ([\w, ]+)")


def compile_float(network: Any, path: Path) -> bytes:
    """Compile a network for LiteRT, with 32-bit weights and activations.

    Args:
        network: as ``wrap`` returns it.
        path: its file, for the message.

    Returns:
        A LiteRT flatbuffer that takes one uint8 input and returns float32.

    Raises:
        ModelError: LiteRT lacks an operation of it.
    """
    tf = import_tensorflow()
    function = tf.function(
        lambda image: network(tf.cast(image, tf.float32) / 255.0, training=False), autograph=False
    )
    spec = tf.TensorSpec((1, GLYPH, GLYPH, 1), tf.uint8)
    try:
        with litert.silence_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            converter = tf.lite.TFLiteConverter.from_concrete_functions(
                [function.get_concrete_function(spec)]
            )
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
            compiled = bytes(converter.convert())
        litert.load_classifier(compiled)(np.zeros((1, GLYPH, GLYPH), np.uint8))
    # The converter has exceptions of many types, and so have the layers that it calls.
    except Exception as error:
        found = _EXCUSES.search(str(error))
        lacks = f"LiteRT lacks {found[1].strip(', ')}" if found else describe_briefly(error)
        raise ModelError(
            f"{path}: cannot be compiled for LiteRT, which runs digitd's models ({lacks}): replace "
            "the layers that need it"
        ) from error
    return compiled


def run(network: Any, glyphs: Bytes) -> NDArray[np.float32]:
    """Return a wrapped network's logits, (N, 11), for glyphs (N, 28, 28) uint8."""
    pixels = glyphs[..., None].astype(np.float32) / 255.0
    parts = [pixels[start : start + _BATCH] for start in range(0, len(pixels), _BATCH)]
    return np.concatenate([np.asarray(network(part, training=False)) for part in parts])
