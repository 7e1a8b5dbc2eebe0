"""The three networks: built with Keras, compiled for LiteRT, saved in one model file.

Each has a function that builds it, with ``learning=True`` for the copy that learns. That copy has
the same variables in the same order, normalises by the batch in one fused operation, and computes
in bfloat16 where the processor can. A step of the line reader takes 327 ms of processor time with
Keras's own layers, 250 ms fused, and 141 ms in bfloat16 as well (one core with AMX).
"""

import json
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.errors import ModelError
from daemon.reading import line, litert, model
from daemon.reading.eye import CELL, VIEW, Count
from daemon.reading.glyph import GLYPH
from daemon.training.eye_batches import UNCOUNTED, UNKNOWN
from daemon.training.frameworks import import_keras, import_tensorflow
from daemon.training.strips import StripBatch

# The eye's channels at 48, 24, 12 and 6 px, and the residual convolutions at each; 13 million
# multiply-adds. Separable convolutions with as many took as long and learnt more slowly
# (0.5 ms each on one core with AVX2).
EYE_CHANNELS, EYE_REPEATS = (8, 16, 32, 64), (0, 1, 1, 2)
# The mask's loss against the count's: a mean over pixels, most of which are easy.
_MASK_WEIGHT = 5.0
# A pixel of a dot counts up to this many times as much as one of a stroke: it has few, and a number
# without its comma is another one. It is a dot's if less than _DENSE of the cells around have ink.
_DOT_WEIGHT, _DENSE, _AROUND = 2.0, 0.1, 7

# The classifier's channels at 28, 14 and 7 px; 36 million multiply-adds. With (24, 48, 96), 20
# million, training and reading take half the time.
CHANNELS = (32, 64, 128)
SMOOTHING = 0.05  # share of each label given to the other classes (Szegedy et al. 2016)

# The line reader's channels at 16, 8 and 4 px of height, and of the time steps, and the residual
# convolutions along these; 82 million multiply-adds for 128 columns.
LINE_CHANNELS, LINE_REPEATS = (32, 64, 96, 128), 2

LINE_KERAS = "line.keras"  # the member of a model file that has the line reader as Keras saves it

# Batch sizes of validation; the networks are compiled for these only.
_EYE_BATCH, _BATCH = 64, 256


def scale_pixels(pixels: Any) -> Any:
    """Return pixels, uint8, as a network's input: float32 from 0 to 1."""
    tf = import_tensorflow()
    return tf.cast(pixels, tf.float32) / 255.0


def build_eye(seed: int, *, learning: bool = False) -> Any:
    """Build the eye, a small U-Net (Ronneberger et al. 2015).

    It maps (N, 96, 96, 3) float32 to logits: (N, 48, 48, 4) of the mask, the four pixels of each
    cell from left to right and top to bottom, and (N, 4) of the count.

    Args:
        seed: of the first weights.
        learning: return the copy that learns.
    """
    keras = import_keras()
    layers = keras.layers
    keras.utils.set_random_seed(seed)
    convolution = _make_convolution(learning=learning)

    def residual(x: Any) -> Any:
        return layers.ReLU()(layers.Add()([x, convolution(x, x.shape[-1], 3)]))

    x = image = keras.Input((VIEW, VIEW, 3))
    finer = []
    for channels, repeats in zip(EYE_CHANNELS, EYE_REPEATS, strict=True):
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


def eye_loss(answers: Any, ink: Any, counts: Any) -> Any:
    """Return the eye's loss on a batch.

    Args:
        answers: its logits.
        ink: (N, 96, 96) uint8, 255 on the writing; pixels that are ``UNKNOWN`` don't count.
        counts: (N,) int64; views that are ``UNCOUNTED`` don't count.
    """
    tf = import_tensorflow()
    cells, logits = (tf.cast(answer, tf.float32) for answer in answers)
    wanted = tf.nn.space_to_depth(scale_pixels(ink[..., None]), CELL)
    known = tf.nn.space_to_depth(tf.cast(ink[..., None] != UNKNOWN, tf.float32), CELL)
    mask = tf.nn.sigmoid_cross_entropy_with_logits(labels=wanted, logits=cells)
    density = tf.nn.avg_pool2d(tf.reduce_mean(wanted, axis=3, keepdims=True), _AROUND, 1, "SAME")
    lonely = tf.nn.relu(1 - density / _DENSE) * wanted
    known *= 1 + (_DOT_WEIGHT - 1) * lonely
    counted = tf.cast(counts != UNCOUNTED, tf.float32)
    count = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.maximum(counts, 0), logits=logits
    )
    return _MASK_WEIGHT * tf.reduce_mean(mask * known) + tf.reduce_mean(count * counted)


def add_probabilities(eye: Any) -> Any:
    """Return the eye as the worker needs it: probabilities instead of logits."""
    keras = import_keras()
    cells, count = eye.outputs
    return keras.Model(
        eye.inputs, [keras.layers.Activation("sigmoid")(cells), keras.layers.Softmax()(count)]
    )


def build_classifier(seed: int, *, learning: bool = False) -> Any:
    """Build the classifier, a small residual network: (N, 28, 28, 1) float32 to (N, 11) logits.

    Args:
        seed: of the first weights.
        learning: return the copy that learns.
    """
    keras = import_keras()
    layers = keras.layers
    keras.utils.set_random_seed(seed)
    convolution = _make_convolution(learning=learning)

    def residual(x: Any) -> Any:
        inner = layers.ReLU()(convolution(x, x.shape[-1], 3))
        return layers.ReLU()(layers.Add()([x, convolution(inner, x.shape[-1], 3)]))

    first, *others = CHANNELS
    x = image = keras.Input((GLYPH, GLYPH, 1))
    x = layers.ReLU()(convolution(x, first, 3))
    for channels in others:
        x = residual(layers.ReLU()(convolution(x, channels, 3, stride=2)))
    # A learnt mean instead of a plain one, because where a stroke lies matters as well.
    x = layers.DepthwiseConv2D(x.shape[1], use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.97)(layers.Flatten()(x))
    x = layers.Dropout(0.2)(x)
    return keras.Model(image, layers.Dense(litert.CLASSES)(x))


def classifier_loss(answers: Any, labels: Any) -> Any:
    """Return the classifier's loss on a batch: logits (N, 11), labels (N,) int64."""
    keras, tf = import_keras(), import_tensorflow()
    loss_of = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=SMOOTHING)
    return loss_of(tf.one_hot(labels, litert.CLASSES), tf.cast(answers, tf.float32))


def run_with_keras(classifier: Any) -> litert.Forward:
    """Return a Keras classifier as a function from glyphs to logits."""
    tf = import_tensorflow()

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec((_BATCH, GLYPH, GLYPH), tf.uint8)], autograph=False
    )
    def answer_batch(glyphs: Any) -> Any:
        return classifier(scale_pixels(glyphs[..., None]), training=False)

    def answer(glyphs: NDArray[np.uint8]) -> NDArray[np.float32]:
        padded = np.pad(glyphs, ((0, -len(glyphs) % _BATCH), (0, 0), (0, 0)))
        batches = padded.reshape(-1, _BATCH, GLYPH, GLYPH)
        return np.concatenate([answer_batch(batch) for batch in batches])[: len(glyphs)]

    return answer


def build_line(seed: int, *, learning: bool = False) -> Any:
    """Build the line reader, a residual network for CTC (Graves et al. 2006).

    It maps (N, 32, W, 1) float32 to (N, W/2, 17) logits, see ``reading.line``; W is a multiple
    of 4.

    Args:
        seed: of the first weights.
        learning: return the copy that learns.
    """
    keras = import_keras()
    layers = keras.layers
    keras.utils.set_random_seed(seed)
    convolution = _make_convolution(learning=learning)

    def residual(x: Any, size: int | tuple[int, int] = 3) -> Any:
        inner = layers.ReLU()(convolution(x, x.shape[-1], size))
        return layers.ReLU()(layers.Add()([x, convolution(inner, x.shape[-1], size)]))

    x = strip = keras.Input((line.HEIGHT, None, 1))
    *pictures, last = LINE_CHANNELS
    for channels, stride in zip(pictures, (2, 2, (2, 1)), strict=True):
        x = residual(layers.ReLU()(convolution(x, channels, 3, stride=stride)))
    # Where a stroke lies above or below matters: each row of pixels has weights of its own.
    x = layers.ZeroPadding2D((0, 1))(x)
    x = layers.Conv2D(last, (x.shape[1], 3), use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.97)(x))
    for _ in range(LINE_REPEATS):
        x = residual(x, (1, 3))
    # Each column of features, 4 px wide, answers for two time steps.
    x = layers.Conv2D(2 * line.CLASSES, 1)(layers.Dropout(0.2)(x))
    return keras.Model(strip, layers.Reshape((-1, line.CLASSES))(x))


def line_loss(answers: Any, texts: Any) -> Any:
    """Return the line reader's loss on a batch: logits (N, T, 17), texts (N, L) padded with -1."""
    return import_tensorflow().reduce_mean(line_losses(answers, texts))


def line_losses(answers: Any, texts: Any) -> Any:
    """Return the line reader's loss on each text of a batch, (N,); see ``line_loss``."""
    tf = import_tensorflow()
    logits = tf.cast(answers, tf.float32)
    steps = tf.fill([tf.shape(logits)[0]], tf.shape(logits)[1])
    # An empty text has one path, which is blank. TensorFlow's kernel refuses it, so that it gets
    # any text here.
    is_empty = tf.reduce_all(texts < 0, axis=1)
    empty = -tf.reduce_sum(tf.nn.log_softmax(logits)[..., line.BLANK], axis=1)
    texts = tf.where(is_empty[:, None], line.OTHER, texts)
    where = tf.where(texts >= 0)
    shape = tf.shape(texts, out_type=tf.int64)
    labels = tf.SparseTensor(where, tf.gather_nd(texts, where), shape)
    others = tf.nn.ctc_loss(
        labels, logits, None, steps, logits_time_major=False, blank_index=line.BLANK
    )
    return tf.where(is_empty, empty, others)


def measure_line(network: Any, batches: Sequence[StripBatch]) -> tuple[float, float]:
    """Return the loss, and the share of the texts that the most probable path reads right."""
    tf = import_tensorflow()

    @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[untyped-decorator]
    def answer(pixels: Any, texts: Any) -> Any:
        logits = network(scale_pixels(pixels), training=False)
        return tf.argmax(logits, axis=2), line_loss(logits, texts)

    losses, right, count = 0.0, 0, 0
    for pixels, texts in batches:
        paths, loss = answer(tf.constant(pixels), tf.constant(texts))
        losses += float(loss) * len(texts)
        count += len(texts)
        for path, text in zip(paths.numpy(), texts, strict=True):
            changes = path[np.flatnonzero(np.diff(path, prepend=-1))]
            right += changes[changes != line.BLANK].tolist() == text[text >= 0].tolist()
    return losses / count, right / count


def _make_convolution(*, learning: bool) -> Callable[..., Any]:
    """Return a function that applies a convolution and normalises by the batch."""
    layers = import_keras().layers
    normalization = _fuse(layers.BatchNormalization) if learning else layers.BatchNormalization

    def convolution(x: Any, channels: int, size: int | tuple[int, int], stride: int = 1) -> Any:
        x = layers.Conv2D(channels, size, stride, padding="same", use_bias=False)(x)
        return normalization(momentum=0.97)(x)

    return convolution


def _fuse(plain: Any) -> Any:
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


def compile_for_litert(network: Any, examples: Iterable[NDArray[np.uint8]]) -> bytes:
    """Compile a network for LiteRT, with weights and activations of 8 bits.

    Args:
        network: takes one float32 input from 0 to 1. A width of ``None`` stays open: the worker
            sets it.
        examples: training inputs, each (H, W) or (H, W, channels) uint8; the ranges of the
            activations are measured on them. A few hundred are enough. If the network's width is
            open, theirs may differ.

    Returns:
        A LiteRT flatbuffer that takes one uint8 input and returns float32.
    """
    tf = import_tensorflow()
    # The worker uses a fixed batch of one; the class's own signature leaves it open.
    spec = tf.TensorSpec((1, *network.input_shape[1:]), tf.float32)
    function = tf.function(lambda image: network(image, training=False), autograph=False)
    # The converter reports its progress on stderr, and warns of options that we don't use.
    with litert.silence_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [function.get_concrete_function(spec)]
        )
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [example.reshape(1, *example.shape[:2], -1).astype(np.float32) / 255.0]
            for example in examples
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        return bytes(converter.convert())


@dataclass(frozen=True, slots=True)
class Networks:
    """What a model file contains.

    Attributes:
        classifier, line: Keras networks, kept so that they can learn more.
        compiled_classifier, compiled_eye, compiled_line: LiteRT flatbuffers.
    """

    classifier: Any
    compiled_classifier: bytes
    compiled_eye: bytes
    line: Any
    compiled_line: bytes


def save(trained: Networks, settings: model.Settings, path: Path) -> None:
    """Save the networks and the settings as one file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        whole = Path(folder) / path.name
        trained.classifier.save(whole)
        line_file = Path(folder) / LINE_KERAS
        trained.line.save(line_file)
        members = {
            model.NETWORK_MEMBER: trained.compiled_classifier,
            model.EYE_MEMBER: trained.compiled_eye,
            model.LINE_MEMBER: trained.compiled_line,
            LINE_KERAS: line_file.read_bytes(),
        }
        _add_members(whole, members, settings)
        whole.replace(path)


def save_with_classifier(
    base: Path, classifier: Any, compiled: bytes, settings: model.Settings, path: Path
) -> None:
    """Save a classifier with the eye and the line reader of another model file."""
    _, others, _ = model.read_file(base)
    kept = {name: others[name] for name in (model.EYE_MEMBER, model.LINE_MEMBER, LINE_KERAS)}
    classifier.save(path)
    _add_members(path, {model.NETWORK_MEMBER: compiled, **kept}, settings)


def _add_members(path: Path, members: dict[str, bytes], settings: model.Settings) -> None:
    """Add to a file that Keras has saved what digitd reads with."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr(model.SETTINGS_MEMBER, json.dumps(asdict(settings), indent=1))


def load_with_keras(path: Path) -> model.Model:
    """Load a model file with its Keras classifier in place of the compiled one.

    Raises:
        ModelError: it is broken, or its network does not map 28x28x1 to 11 classes.
        MissingPackageError: Keras is not installed.
    """
    keras = import_keras()
    compiled = model.load(path)
    try:
        # In safe mode and without compiling, no code in the file runs (CVE-2025-9905).
        classifier = keras.saving.load_model(path, compile=False, safe_mode=True)
    # Keras passes on what its zip, JSON and HDF5 readers raise.
    except (ValueError, TypeError, KeyError, OSError, AttributeError) as error:
        raise ModelError(f"{path}: Keras cannot load it: {error}: train it again") from error
    shapes = classifier.input_shape, classifier.output_shape
    if shapes != ((None, GLYPH, GLYPH, 1), (None, litert.CLASSES)):
        raise ModelError(
            f"{path}: maps {shapes[0]} to {shapes[1]}, not a glyph to a digit: "
            "train it again with this digitd"
        )
    return replace(compiled, forward=run_with_keras(classifier))
