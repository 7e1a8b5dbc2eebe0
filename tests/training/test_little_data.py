"""Training data that are too few, and a machine without fonts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from daemon.errors import DataError
from daemon.training import data, eye_batches, ink_sources, strips, train

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALL = Path(__file__).parent.parent / "data" / "mnist-small.npz"
MNIST = np.load(SMALL)


@pytest.mark.parametrize(
    ("which", "says"),
    [
        (slice(5), "few: 5 images are too few to train on: at least 200"),
        (MNIST["y_train"] != 4, "few: no image of 4 to train on"),
    ],
)
def test_too_few_images_are_refused_in_one_line(
    tmp_path: Path, which: slice | NDArray[np.bool_], says: str
) -> None:
    few = tmp_path / "few.npz"
    np.savez(few, images=MNIST["x_train"][which], labels=MNIST["y_train"][which])
    training, held = data.hold_out(data.load([few]).training, train.HELD_OUT)
    with pytest.raises(DataError, match=says):
        train.check_enough(training, held)


def test_folder_is_no_training_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r": is a folder: name an \.npz set$"):
        data.load([tmp_path])


def test_training_data_are_drawn_without_fonts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "FONTS", tmp_path)
    monkeypatch.setattr(eye_batches, "UNIT", 64)
    sets = data.load([SMALL]).training
    units = ink_sources.plan(sets, seed=0, scale=0.01)
    assert not {unit.maker for unit in units} & {"fonts", "letters"}
    for number, content in enumerate(eye_batches.CONTENTS):
        assert len(eye_batches.compose_unit(sets, 0, number, content).pixels)


def test_strips_without_ink_of_a_digit_are_refused() -> None:
    labels = np.arange(9)
    pool = strips.InkPool(
        np.full((9, 40, 64), 255, np.uint8),
        np.full(9, 20),
        np.full(9, 4.0),
        labels,
        np.full(9, "strokes"),
    )
    with pytest.raises(DataError, match="no ink of a 9"):
        strips.Composer(pool)
