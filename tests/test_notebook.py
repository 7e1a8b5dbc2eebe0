"""The notebook docs/outbox.ipynb, executed on a real outbox."""

from __future__ import annotations

import csv
import json
import zipfile
from typing import TYPE_CHECKING, Any

import cv2
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from daemon.assets import SHIPPED_MODEL
from daemon.outbox import labels
from daemon.outbox.rows import csv_line
from support.daemon import DIGITD, ROOT, Box, run_once

if TYPE_CHECKING:
    from pathlib import Path

NOTEBOOK = json.loads((ROOT / "docs" / "outbox.ipynb").read_text(encoding="utf-8"))
MNIST = np.load(ROOT / "tests" / "data" / "mnist-small.npz")
FILES = 60


def answer_all(box: Box) -> None:
    """Have a person answer each file with its digit, the first one wrongly at first."""
    with box.table.open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    lines = [labels.HEADER]
    for number, row in enumerate([rows[0], *rows]):
        label = str(MNIST["y_test"][int(row["file"].removesuffix(".png"))]) if number else "none"
        read = (row["processed_at"], row["model"], row["digit"], row["confidence"])
        lines.append(csv_line((row["id"], row["sha256"], label, "ada", *read, "queue")))
    (box.outbox / "labels.csv").write_text("".join(lines), encoding="utf-8")


def write_other_model(file: Path) -> None:
    """Write a model that is never sure of anything."""
    with zipfile.ZipFile(SHIPPED_MODEL) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "digitd.json":
                data = json.dumps(json.loads(data) | {"temperature": 50.0}).encode()
            new.writestr(name, data)


def test_notebook_runs_on_an_outbox(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, glyph in enumerate(MNIST["x_test"][:FILES]):
        (box.inbox / f"{number}.png").write_bytes(cv2.imencode(".png", glyph)[1].tobytes())
    run_once(box, DIGITD)
    answer_all(box)
    write_other_model(box.folder / "other.keras")
    mpl.use("agg")
    monkeypatch.chdir(box.folder)
    names: dict[str, Any] = {}
    try:
        for cell in NOTEBOOK["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), names)  # noqa: S102 - as Jupyter does
        assert len(names["axes"].lines) == len(names["curve"]) + 2
    finally:
        plt.close("all")
    assert set(names["rows"]["digit"]) <= set("0123456789")
    assert len(names["answers"]) == len(names["known"]) == FILES
    assert names["curve"]["files"].sum() == FILES
    assert names["curve"]["right"].min() > 0.5
    assert names["known"]["before"].mean() > 0.9


def test_notebook_has_no_outputs() -> None:
    code = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert NOTEBOOK["nbformat"] == 4
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
