"""Run the networks of a model file, which are compiled for LiteRT."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from daemon.reading import line
from daemon.reading.eye import CELL, GRID, VIEW, Count, Segment, Segmentation
from daemon.reading.glyph import GLYPH
from daemon.records import DIGITS

_CELL_ROW = np.dtype(f"V{CELL * np.dtype(np.float32).itemsize}")

CLASSES = DIGITS + 1
"""The ten digits and, last, "not a digit"."""

Forward = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Answers glyphs, (N, 28, 28) uint8, with logits, (N, 11) float32."""

ReadLine = Callable[[line.Strip], NDArray[np.float32]]
"""Answers a strip of W columns with logits, (W / 2, 17) float32."""


def load_classifier(network: bytes) -> Forward:
    """Load a classifier that was compiled for LiteRT.

    Raises:
        ValueError: LiteRT cannot load it, or it does not map a glyph to logits.
    """
    run = _load(network, (1, GLYPH, GLYPH, 1), [(1, CLASSES)])

    def forward(glyphs: NDArray[np.uint8]) -> NDArray[np.float32]:
        answers = np.zeros((len(glyphs), CLASSES), np.float32)
        # One at a time: LiteRT takes 0.20 ms a glyph alone and 0.19 in a batch of 64 (one core).
        for index in range(len(glyphs)):
            answers[index] = run(glyphs[index : index + 1, ..., None])[0]
        return answers

    return forward


def load_eye(network: bytes) -> Segment:
    """Load an eye that was compiled for LiteRT.

    Raises:
        ValueError: LiteRT cannot load it, or it does not map a view to a mask and a count.
    """
    takes, mask = (1, VIEW, VIEW, 3), (1, GRID, GRID, CELL * CELL)
    run = _load(network, takes, [mask, (1, len(Count))])

    def segment(pixels: NDArray[np.uint8]) -> Segmentation:
        cells, counts = run(pixels[None])
        # The CELL floats side by side in a cell are copied as one number: 3 us instead of 25.
        pairs = cells.view(_CELL_ROW).reshape(GRID, GRID, CELL)
        ink = pairs.transpose(0, 2, 1).reshape(VIEW, GRID).view(np.float32)
        return Segmentation(ink, counts[0])

    return segment


def load_line(network: bytes) -> ReadLine:
    """Load a line reader that was compiled for LiteRT, for strips of all widths.

    Raises:
        ValueError: LiteRT cannot load it, or it does not map a strip to logits.
    """
    takes = 1, line.HEIGHT, line.ROUND, 1
    run = _load(network, takes, [(1, line.ROUND // line.STEP, line.CLASSES)])
    return lambda strip: run(strip.pixels[None, ..., None])[0][0]


def _load(
    network: bytes, takes: tuple[int, ...], gives: list[tuple[int, ...]]
) -> Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]]:
    """Return a compiled network as a function; its outputs are ordered as in ``gives``.

    A network whose input was left open takes inputs of other sizes as well.

    Raises:
        ValueError: LiteRT cannot load it, or its shapes are others.
    """
    with silence_stderr():
        interpreter = Interpreter(model_content=network, num_threads=1)
        entry, *others = interpreter.get_input_details()
        shape, is_open = tuple(entry["shape"]), -1 in entry["shape_signature"]
        if is_open:
            interpreter.resize_tensor_input(entry["index"], takes)
            shape = takes
        interpreter.allocate_tensors()
    exits = {tuple(tensor["shape"]): tensor["index"] for tensor in interpreter.get_output_details()}
    if others or shape != takes or set(exits) != set(gives):
        raise ValueError(f"it maps {shape} to {sorted(exits)}, not {takes} to {gives}")
    indices = [exits[each] for each in gives]

    def run(pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        nonlocal shape
        if is_open and pixels.shape != shape:
            # 0.1 to 0.2 ms for the line reader, which itself takes 0.4 ms for 160 columns (0.7
            # million weights, one core). An interpreter for each width takes 2 ms and 1 MB.
            interpreter.resize_tensor_input(entry["index"], pixels.shape)
            interpreter.allocate_tensors()
            shape = pixels.shape
        interpreter.set_tensor(entry["index"], pixels)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in indices]

    return run


@contextmanager
def silence_stderr() -> Iterator[None]:
    """Silence stderr: LiteRT and TensorFlow print messages at start that no setting turns off."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
