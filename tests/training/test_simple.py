"""`digitd train --simple`."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import pytest

from daemon.cli import main
from daemon.models import packs
from daemon.models.folder import ModelsFolder
from support.daemon import Box, digitd
from support.small_pack import use_small_pack

if TYPE_CHECKING:
    from collections.abc import Iterator

# Keras 3.15 copies its variables in a way that numpy 2.4 warns about.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.timeout(600),
]

SMALL = Path(__file__).parent.parent / "data" / "mnist-small.npz"


@pytest.fixture
def small_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    use_small_pack(monkeypatch, tmp_path)
    yield
    packs.load_regression.cache_clear()


@pytest.mark.usefixtures("small_pack")
def test_simple_training_draws_its_curves_and_is_adopted(tmp_path: Path) -> None:
    box, work = Box(tmp_path), tmp_path / "runs"
    output = io.StringIO()
    arguments = ["train", "--simple", "--data", SMALL, "--work", work, "--epochs", "8"]
    with redirect_stdout(output):
        main([*map(str, arguments), "--config", str(box.config)], standalone_mode=False)
    assert "epoch 8: loss" in output.getvalue()
    assert f"wrote {work / 'handwritten.keras'}: alone it reads" in output.getvalue()
    assert "of 100 digits right" in output.getvalue()
    (entry,) = ModelsFolder(tmp_path / "models").entries()
    assert entry.report is not None
    assert entry.report.by == "train --simple"
    assert entry.report.pictures == (f"{entry.id}-curves.png", f"{entry.id}-examples.png")
    for name in entry.report.pictures:
        picture = cv2.imread(str(tmp_path / "models" / name))
        assert picture is not None
        assert min(picture.shape[:2]) > 100
    assert output.getvalue().endswith(f"set `model: {entry.path}` in config.yaml\n")


def test_options_of_the_large_networks_are_refused_with_simple(tmp_path: Path) -> None:
    refused = digitd("train", "--simple", "--data", SMALL, "--eye-epochs", "3", cwd=tmp_path)
    assert refused.returncode == 2
    assert "--eye-epochs is not for --simple" in refused.stderr
