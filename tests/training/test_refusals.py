"""What the commands that need TensorFlow refuse before they import it, which takes 10 s."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from daemon.cli import main
from daemon.locks import Lock
from daemon.outbox import labels
from support.factories import SURE

if TYPE_CHECKING:
    from support.site import Site

MNIST = np.load(Path(__file__).parent.parent / "data" / "mnist-small.npz")
FEW = "few.npz"


@pytest.fixture
def folder(site: Site, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a box with few images, without TensorFlow."""
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # `import tensorflow` fails
    monkeypatch.chdir(site.folder)
    np.savez(site.folder / FEW, images=MNIST["x_test"][:5], labels=MNIST["y_test"][:5])
    np.savez(site.folder / "enough.npz", images=MNIST["x_train"], labels=MNIST["y_train"])
    (site.folder / "empty").mkdir()
    (site.folder / "c").mkdir()
    (site.folder / "c" / "config.yaml").touch()
    (site.folder / "c" / "models").symlink_to("/proc")
    (site.folder / "old.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (site.folder / "mine.keras").write_text("a note of mine")
    return site.folder


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ("learn", 1, "labels.csv: too few answers to learn from: 0"),
        ("model adopt missing.keras", 78, "missing.keras: cannot be read: No such file"),
        ("model adopt old.h5", 78, "old.h5: is in the old HDF5 format"),
        ("model adopt mine.keras", 78, "mine.keras: is not a .keras file"),
        ("train --data few.npz", 1, "few: 5 images are too few to train on"),
        ("train --simple --data few.npz", 1, "few: 5 images are too few to train on"),
        ("train --data empty", 1, "empty: is a folder: name an .npz set"),
        ("train --data enough.npz --work /proc/w", 1, "/proc/w: cannot be written: "),
        ("train --data enough.npz --out /proc/a.keras", 1, "/proc: cannot be written: "),
        (
            "train --simple --data enough.npz --config c/config.yaml",
            1,
            "{folder}/c/models cannot be written: ",
        ),
        (
            "model adopt mine.keras --config c/config.yaml",
            1,
            "{folder}/c/models cannot be written: ",
        ),
        ("evaluate few.npz --pictures /proc/seen", 1, "/proc/seen: cannot be written: "),
        ("evaluate --keras empty", 1, "empty/labels.csv: cannot be read"),
        (
            "learn --labels few.npz",
            78,
            "few.npz: does not begin with digitd's columns",
        ),
    ],
)
def test_what_needs_no_tensorflow_is_refused_first(
    folder: Path, arguments: str, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == status
    shown = capsys.readouterr()
    assert shown.err.startswith(f"digitd: {said.format(folder=folder)}")
    assert shown.err.count("\n") == 1
    assert not shown.out


def run(arguments: str) -> int:
    """Run a command in this process; return its exit status."""
    status = main(arguments.split(), standalone_mode=False)
    return 0 if status is None else int(status)


def test_second_learning_is_refused_before_tensorflow_is_imported(
    site: Site, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(30):
        site.add(f"digit{index}.png", SURE)
    for row in site.rows():
        cells = (row["id"], row["sha256"], "7", f"Ana{row['id']}", "now", "m", "7", "0.990000")
        labels.append(site.outbox, labels.Answer(*cells, "queue"))
    work = folder / "models" / ".learning"
    work.mkdir(parents=True)
    lock = Lock(work / "lock")
    lock.take()
    assert run("learn") == 75
    lock.release()
    assert "another `digitd learn` is at work here" in capsys.readouterr().err
    assert run("learn") == 1
    assert "tensorflow is not installed" in capsys.readouterr().err
