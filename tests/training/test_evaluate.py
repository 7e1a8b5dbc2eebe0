"""Evaluation: what is counted, and what the command prints and plots."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd
import pytest

from daemon.assets import SHIPPED_MODEL
from daemon.errors import DataError
from daemon.reading import model
from daemon.records import Status, Verdict
from daemon.training import data, evaluate
from support.daemon import DIGITD, Terminal, digitd

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALL = Path(__file__).parent.parent / "data" / "mnist-small.npz"
MNIST = np.load(SMALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write eight digits (one mislabelled), a blank, two digits, an ambiguous and a hard image."""
    images = tmp_path / "images"
    images.mkdir()
    lines = ["file,label,traits,writer"]
    order = np.argsort(MNIST["y_test"], kind="stable")[::10][:8]
    for index in order:
        name = f"{index}.png"
        cv2.imwrite(str(images / name), MNIST["x_test"][index])
        digit = int(MNIST["y_test"][index])
        lines.append(f"{name},{(digit + 5) % 10 if index == order[0] else digit},thin;photo,1")
    pair = np.hstack([MNIST["x_test"][order[2]], MNIST["x_test"][order[6]]])
    for name, label, traits, shown in (
        ("blank.png", "none", "", np.full((28, 28), 255, np.uint8)),
        ("pair.png", "multi", "thin;touching", pair),
        ("odd.png", "ambiguous", "", MNIST["x_test"][order[3]]),
        ("hard.png", "7", "hard;thin", np.zeros((28, 28), np.uint8)),
    ):
        cv2.imwrite(str(images / name), shown)
        lines.append(f"{name},{label},{traits},2")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def test_folder_of_images_is_evaluated(folder: Path) -> None:
    reader = model.load(SHIPPED_MODEL)
    found = evaluate.evaluate(reader, evaluate.list_cases(folder, ["hard"]))
    assert (found.total.count, found.total.right) == (8, 7)
    assert found.confusion.sum() == 8
    assert sum(count for _, count in found.per_digit) == 8
    assert found.refused == {"multi": (1, 1), "none": (1, 1)}
    assert found.refused_per_trait == {"thin": (1, 1), "touching": (1, 1)}
    assert [prediction.case.label for prediction in found.mistakes] == ["5"]
    all_of_it = evaluate.evaluate(reader, evaluate.list_cases(folder))
    assert (all_of_it.total.count, all_of_it.total.right) == (9, 7)


def test_evaluate_command_prints_figures_and_writes_plots(folder: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "seen"
    said = digitd(
        "evaluate", folder, "--skip-traits", "hard", "--pictures", drawn, "--at-least", "0.8"
    )
    assert said.returncode == 0, said.stderr
    assert "7 of 8" in said.stdout
    assert "no digit, flagged        100.00%  1 of 1" in said.stdout
    assert "several digits, flagged  100.00%  1 of 1" in said.stdout
    assert "  touching, flagged      100.00%  1 of 1" in said.stdout
    for name in ("confusion", "mistakes", "examples"):
        picture = cv2.imread(str(drawn / f"{name}.png"))
        assert picture is not None
        assert min(picture.shape[:2]) > 100


def test_evaluate_prints_json_and_writes_a_table(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "answers.csv"
    said = digitd("evaluate", folder, "--skip-traits", "hard", "--json", "--table", table)
    assert said.returncode == 0, said.stderr
    figures = json.loads(said.stdout)
    assert figures["left_out"] == 1  # "ambiguous"
    assert (figures["right"], figures["count"]) == (7, 8)
    assert figures["accuracy"] == pytest.approx(7 / 8)
    assert figures["not_a_digit"]["multi"] == {"flagged": 1, "count": 1}
    assert figures["not_a_digit_per_trait"]["touching"] == {"flagged": 1, "count": 1}
    assert sum(map(sum, figures["confusion"])) == 8
    rows = pd.read_csv(table, dtype={"digit": "string", "label": "string"})
    assert len(rows) == 11
    digits = rows[rows.label.str.isdigit()]
    assert int((digits.label == digits.digit).sum()) == 7
    probabilities = digits[[*(f"p{digit}" for digit in range(10)), "p_none"]]
    assert probabilities.sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    assert rows.set_index("file").loc["blank.png", "reason"] == "no ink"


def test_error_names_a_table_that_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    said = digitd("evaluate", folder, "--table", tmp_path / "none" / "answers.csv")
    assert said.returncode == 1
    assert "answers.csv: cannot be written: No such file" in said.stderr


def test_table_replaces_no_other_file_and_only_when_complete(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "answers.csv"
    table.touch()
    assert digitd("evaluate", folder, "--table", table).returncode == 0
    complete = table.read_bytes()
    assert digitd("evaluate", folder, "--table", table).returncode == 0
    assert table.read_bytes() == complete
    empty = tmp_path / "empty.npz"
    np.savez(empty, images=np.zeros((0, 28, 28), np.uint8), labels=np.zeros(0, np.uint8))
    assert digitd("evaluate", empty, "--table", table).returncode == 1
    assert table.read_bytes() == complete
    for file in (folder / "labels.csv", tmp_path / "config.yaml"):
        file.touch()
        before = file.read_bytes() or b"workers: 1\n"
        file.write_bytes(before)
        said = digitd("evaluate", folder, "--table", file)
        assert said.returncode == 1
        assert f"{file}: is there, and no table of `digitd evaluate`" in said.stderr
        assert file.read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def test_progress_is_shown_on_a_terminal(folder: Path) -> None:
    with Terminal() as terminal:
        subprocess.run([*DIGITD, "evaluate", folder], stderr=terminal.programs, check=True)
    assert "reading  [" in terminal.text
    assert "100%" in terminal.text


def test_accuracy_below_at_least_exits_1(folder: Path) -> None:
    assert digitd("evaluate", folder, "--at-least", "0.95").returncode == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        (b"", "its first line has nothing"),
        (b"name,digit\na,1\n", "columns .* its first line has `name`, `digit`"),
        (b"file;label\nx.png;3\n", "separated by commas; its first line has `file;label`"),
        (b"file,label\n", "needs rows"),
        (
            b"file,label\nx.png,3\nlabels.csv,4\ny,5\n",
            r"files that are not there: x.png \(line 2\), y \(line 4\): correct",
        ),
        (b"label,file\n3\n", r"files that are not there:  \(line 2\)"),
        (b"file,label\n" + b"a,1\n" * 12, r"a \(line 11\), 2 more: correct"),
        (
            b"file,label\nlabels.csv,3\nlabels.csv,4\n",
            r"files that an earlier line has named: labels.csv \(line 3\): keep one line",
        ),
        ("file,label\nM\u00fcller.png,3\n".encode("cp1252"), "is not CSV in UTF-8"),
        ("file,label\nx.png,3\n".encode("utf-16"), "is not CSV in UTF-8"),
        ("file,label\nx.png,3\n".encode("utf-8-sig"), r"there: x.png \(line 2\)"),
    ],
)
def test_error_names_a_folder_without_labels(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    if content is not None:
        (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(DataError, match=says):
        assert [case.load() for case in evaluate.list_cases(tmp_path)]


def test_mnist_is_evaluated_on_its_test_digits() -> None:
    found = evaluate.evaluate(model.load(SHIPPED_MODEL), evaluate.list_cases(SMALL))
    assert found.total.count == 100
    assert found.total.right >= 98


def test_file_that_is_not_a_data_set_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "set.npz"
    broken.write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"set\.npz"):
        evaluate.list_cases(broken)
    table = tmp_path / "labels.csv"
    with pytest.raises(DataError, match=f"labels.csv: is a table: name the folder .* {tmp_path}$"):
        evaluate.list_cases(table)
    np.savez(tmp_path / "other.npz", pictures=np.zeros(3))
    with pytest.raises(DataError, match="neither `images` and `labels`"):
        evaluate.list_cases(tmp_path / "other.npz")


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (np.zeros((2, 8, 8), np.float32), np.zeros(2), r"not \(2, 8, 8\) float32"),
        (np.zeros((2, 8, 8, 3), np.uint8), np.zeros(2), r"not \(2, 8, 8, 3\) uint8"),
        (np.zeros((2, 8, 8), np.uint8), np.zeros(3, np.int64), r"2 whole numbers.* not \(3,\)"),
        (np.zeros((2, 8, 8), np.uint8), np.zeros((2, 10), np.int64), r"not \(2, 10\) int64"),
        (np.zeros((2, 8, 8), np.uint8), np.array([0.5, 3.0]), "not .* float64"),
        (np.zeros((2, 8, 8), np.uint8), np.array([3, 10]), "labels must be 0 to 9"),
    ],
)
def test_error_names_the_file_of_a_malformed_set(
    tmp_path: Path, images: NDArray[np.uint8], labels: NDArray[np.int64], said: str
) -> None:
    file = tmp_path / "mine.npz"
    np.savez(file, images=images, labels=labels)
    with pytest.raises(DataError, match=said) as caught:
        data.load_test(file)
    assert str(caught.value).startswith(str(file))


def test_images_with_one_channel_are_a_set(tmp_path: Path) -> None:
    images = np.arange(128, dtype=np.uint8).reshape(2, 8, 8)
    np.savez(tmp_path / "keras.npz", images=images[..., None], labels=np.array([3, 9], np.uint8))
    assert np.array_equal(data.load_test(tmp_path / "keras.npz").images, images)


@pytest.mark.parametrize(
    ("reads", "bad"), [("digit", ["12", "x", ""]), ("number", ["03. Apr", "abc", ""])]
)
def test_rows_with_a_label_that_is_not_read_are_mentioned(
    tmp_path: Path, reads: str, bad: list[str]
) -> None:
    shown = np.full((28, 28), 255, np.uint8)
    labels = ["7", "none", "multi", "several", *bad]
    for n in range(len(labels)):
        cv2.imwrite(str(tmp_path / f"{n}.png"), shown)
    lines = ["file,label", *(f"{n}.png,{label}" for n, label in enumerate(labels))]
    (tmp_path / "labels.csv").write_text("\n".join([*lines[:-1], "6.png", ""]), encoding="utf-8")
    said = digitd("evaluate", tmp_path, "--reads", reads)
    assert said.returncode == 0, said.stderr
    assert said.stdout.endswith(
        f"\nleft out, because the label is not a {reads}: 3 images; the first, in line 6, "
        f"has {bad[0]}\n"
    )
    (tmp_path / "labels.csv").write_text("\n".join(lines[:5]), encoding="utf-8")
    assert "left out" not in digitd("evaluate", tmp_path, "--reads", reads).stdout


@pytest.mark.parametrize("label", ["10", "12", "007", "٣"])
def test_image_with_a_label_that_is_not_a_digit_is_not_counted(label: str) -> None:
    case = evaluate.Case("x.png", label, bytes)
    prediction = evaluate.Prediction(case, Verdict(Status.OK, "3", 0.9), None)
    assert prediction.label is None
    assert not prediction.is_counted
    assert not prediction.is_mistake
