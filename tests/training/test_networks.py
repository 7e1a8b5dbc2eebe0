"""Compiling one set of weights for strips of all widths; the eye's loss."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from daemon.reading import line, litert
from daemon.reading.eye import CELL, GRID, VIEW, Count
from daemon.training import eye_batches, networks
from daemon.training.frameworks import import_keras, import_tensorflow

# Keras 3.15 copies its variables in a way that numpy 2.4 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def build_line_reader(width: int | None, classes: int = line.CLASSES) -> object:
    """Return a tiny untrained network of a line reader's shape, always with the same weights."""
    keras = import_keras()
    layers = keras.layers
    keras.utils.set_random_seed(5)
    x = image = keras.Input((line.HEIGHT, width, 1))
    for channels, stride in ((8, 2), (16, 2), (16, (2, 1))):
        x = layers.Conv2D(channels, 3, stride, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(16, (4, 1), activation="relu")(x)
    return keras.Model(image, layers.Reshape((-1, classes))(layers.Conv2D(2 * classes, 1)(x)))


def draw_strips(width: int, count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return list(rng.integers(0, 256, (count, line.HEIGHT, width), np.uint8))


def test_one_compiled_line_reader_answers_strips_of_all_widths() -> None:
    examples = draw_strips(160, 20, seed=1)
    read = litert.load_line(networks.compile_for_litert(build_line_reader(None), examples))
    [wide] = draw_strips(1024, 1, seed=2)
    whole = read(line.Strip(wide))
    assert whole.shape == (1024 // line.STEP, line.CLASSES)
    assert np.abs(whole).max() > 0.01
    for width in (160, 32, 96, 160):
        part = read(line.Strip(np.ascontiguousarray(wide[:, :width])))
        assert part.shape == (width // line.STEP, line.CLASSES)
        # The steps next to the edge see that nothing is behind it.
        np.testing.assert_array_equal(part[:-6], whole[: len(part) - 6])

    fixed = Interpreter(model_content=networks.compile_for_litert(build_line_reader(160), examples))
    fixed.allocate_tensors()
    fixed.set_tensor(fixed.get_input_details()[0]["index"], examples[0][None, ..., None])
    fixed.invoke()
    np.testing.assert_array_equal(
        fixed.get_tensor(fixed.get_output_details()[0]["index"])[0], read(line.Strip(examples[0]))
    )


def test_strips_to_calibrate_on_may_differ_in_width() -> None:
    examples = [*draw_strips(64, 3, seed=2), *draw_strips(224, 3, seed=3)]
    read = litert.load_line(networks.compile_for_litert(build_line_reader(None), examples))
    assert read(line.Strip(examples[0])).shape == (64 // line.STEP, line.CLASSES)


def test_other_networks_are_no_line_readers() -> None:
    examples = draw_strips(32, 2, seed=4)
    for network in (build_line_reader(32, classes=5), build_line_reader(None, classes=5)):
        with pytest.raises(ValueError, match="it maps"):
            litert.load_line(networks.compile_for_litert(network, examples))


def test_empty_text_is_learnt_from_next_to_others() -> None:
    tf = import_tensorflow()
    rng = np.random.default_rng(0)
    answers = tf.Variable(rng.normal(0, 1, (3, 8, line.CLASSES)).astype(np.float32))
    texts = np.array([[3, 5], [-1, -1], [7, -1]], np.int32)
    with tf.GradientTape() as tape:
        losses = networks.line_losses(answers, texts)
    chances = tf.nn.softmax(answers).numpy()
    assert float(losses[1]) == pytest.approx(-np.log(chances[1, :, line.BLANK]).sum(), rel=1e-5)
    for index in (0, 2):
        text = texts[index][None][:, : (texts[index] >= 0).sum()]
        alone = networks.line_losses(answers[index : index + 1], text)
        assert float(losses[index]) == pytest.approx(float(alone[0]), rel=1e-5)
    assert np.isfinite(tape.gradient(losses, answers).numpy()).all()


def test_what_is_unknown_does_not_change_the_eyes_loss() -> None:
    rng = np.random.default_rng(0)
    cells = rng.normal(0, 1, (2, GRID, GRID, CELL * CELL)).astype(np.float32)
    logits = rng.normal(0, 1, (2, len(Count))).astype(np.float32)
    ink = np.zeros((2, VIEW, VIEW), np.uint8)
    ink[0, :, :20] = eye_batches.UNKNOWN
    counts = np.array([Count.ONE, eye_batches.UNCOUNTED])
    first = float(networks.eye_loss((cells, logits), ink, counts))
    for unknown in (True, False):
        other, answer = cells.copy(), logits.copy()
        other[0 if unknown else 1, :, : 20 // CELL] += 5
        answer[1 if unknown else 0, Count.MARKED] += 5
        loss = float(networks.eye_loss((other, answer), ink, counts))
        assert (loss == pytest.approx(first)) == unknown
