"""`digitd evaluate OUTBOX` on people's answers, and `--against` another model."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from daemon.assets import SHIPPED_MODEL
from daemon.errors import DataError
from daemon.models.folder import ModelsFolder
from daemon.models.report import Comparison, Report
from daemon.outbox import labels
from daemon.outbox.labels import Answer
from daemon.reading import model
from daemon.records import Reads, Status, Verdict
from daemon.training import changes, evaluate_outbox
from support.daemon import digitd
from support.factories import SURE
from support.models import MADE
from support.site import png

if TYPE_CHECKING:
    from support.site import Site

MNIST = np.load(Path(__file__).parent.parent / "data" / "mnist-small.npz")


def add(site: Site, index: int) -> str:
    data = cv2.imencode(".png", MNIST["x_test"][index])[1].tobytes()
    return site.add(f"digit{index}.png", SURE, data)


def answer(site: Site, row: str, label: str, source: str, model_id: str = "m") -> None:
    (sha256,) = (each["sha256"] for each in site.rows() if each["id"] == row)
    at = "2026-11-29T10:00:00.000Z"
    labels.append(site.outbox, Answer(row, sha256, label, "me", at, model_id, "7", "0.9", source))


@pytest.fixture
def answered(site: Site) -> Site:
    """Answer 12 digits: 5 of the sample, 4 of the queue, a turned one, a removed one, none."""
    for index in range(12):
        row = add(site, index)
        source = "sample" if index < 5 else "turned" if index == 9 else "queue"
        if index < 11:
            answer(site, row, str(MNIST["y_test"][index]), source)
        if index == 10:
            answer(site, row, "undo", source)
    return site


def test_sample_is_apart_from_the_other_answers(answered: Site) -> None:
    found = evaluate_outbox.list_answers(answered.outbox, Reads.DIGIT)
    assert [case.name for case in found.sample] == [f"digit{index}.png" for index in range(5)]
    assert [case.name for case in found.others] == [f"digit{index}.png" for index in range(5, 9)]
    assert found.gone == 0


def test_outbox_is_measured_by_the_command(answered: Site, tmp_path: Path) -> None:
    (answered.outbox / answered.rows()[0]["original"]).unlink()
    table = tmp_path / "table.csv"
    said = digitd("evaluate", answered.outbox, "--pictures", tmp_path / "seen", "--table", table)
    assert said.returncode == 0, said.stderr
    with table.open(encoding="utf-8", newline="") as lines:
        traits = [row["traits"] for row in csv.DictReader(lines)]
    assert traits == ["sample"] * 4 + ["queue"] * 4
    sample, others = said.stdout.split("other answers:")
    assert sample.startswith("answers to the random sample:\n")
    assert "4 of 4" in sample
    assert "4 of 4" in others
    assert "left out, because their originals are gone: 1 image" in others
    for group in ("sample", "others"):
        assert (tmp_path / "seen" / group / "confusion.png").exists()
    shown = json.loads(digitd("evaluate", answered.outbox, "--json").stdout)
    assert (shown["sample"]["count"], shown["others"]["count"], shown["gone"]) == (4, 4, 1)


def test_sample_without_a_digit_has_no_shares(site: Site, tmp_path: Path) -> None:
    answer(site, site.add("blank.png", SURE, png("")), "none", "sample")
    answer(site, add(site, 3), str(MNIST["y_test"][3]), "queue")
    seen = tmp_path / "seen"
    said = digitd("evaluate", site.outbox, "--json", "--pictures", seen, "--at-least", "0")
    assert said.returncode == 1
    assert "has no digit with a label, which --at-least needs" in said.stderr
    sample = json.loads(said.stdout)["sample"]
    shares = [sample[name] for name in ("accuracy", "coverage", "precision", "calibration_error")]
    assert shares == [None] * 4
    assert sample["not_a_digit"] == {"none": {"flagged": 1, "count": 1}}
    assert not (seen / "sample" / "confusion.png").exists()
    assert (seen / "others" / "confusion.png").exists()


def test_nothing_outside_the_outbox_is_read(site: Site, tmp_path: Path) -> None:
    answer(site, add(site, 3), str(MNIST["y_test"][3]), "queue")
    original = site.outbox / site.rows()[0]["original"]
    outside = tmp_path / "secret.png"
    original.rename(outside)
    table = site.outbox / "predictions.csv"
    for name in ("originals/../../secret.png", str(outside)):
        edited = table.read_text(encoding="utf-8").replace(site.rows()[0]["original"], name)
        table.write_text(edited, encoding="utf-8")
        with pytest.raises(DataError, match="all 1 answers are gone"):
            evaluate_outbox.list_answers(site.outbox, Reads.DIGIT)


def test_same_image_in_two_rows_is_one_case(site: Site) -> None:
    answer(site, add(site, 3), str(MNIST["y_test"][3]), "queue")
    add(site, 3)
    assert len(evaluate_outbox.list_answers(site.outbox, Reads.DIGIT).others) == 1


def test_none_where_one_digit_was_read_says_nothing_of_numbers(site: Site) -> None:
    for name, reason in (("10", "several digits"), ("A", "not a number"), ("B", "low confidence")):
        row = site.add(f"{name}.png", Verdict(Status.UNSURE, reason=reason))
        answer(site, row, "none", "queue", site.row(f"{name}.png")["model"])
    for reads, names in ((Reads.DIGIT, ["10", "A", "B"]), (Reads.NUMBER, ["A", "B"])):
        found = evaluate_outbox.list_answers(site.outbox, reads)
        assert [case.name for case in found.others] == [f"{name}.png" for name in names]


def test_share_of_the_sample_is_not_that_of_the_others(site: Site) -> None:
    answer(site, add(site, 3), str(MNIST["y_test"][3]), "queue")
    refused = digitd("evaluate", site.outbox, "--at-least", "0.9")
    assert refused.returncode == 1
    assert "has no answers of the random sample" in refused.stderr


def test_outbox_without_answers_to_the_sample_says_what_is_missing(site: Site) -> None:
    answer(site, add(site, 3), str(MNIST["y_test"][3]), "queue")
    said = digitd("evaluate", site.outbox)
    first, second, *_ = said.stdout.splitlines()
    assert first.startswith("no answers to the random sample yet, and only they measure how good")
    assert second == "other answers:"
    assert "1 of 1" in said.stdout
    assert said.stderr == "reading: 1 image\n"


def test_answers_are_required(site: Site) -> None:
    add(site, 0)
    with pytest.raises(DataError, match="has no answers to measure on"):
        evaluate_outbox.list_answers(site.outbox, Reads.DIGIT)


def test_new_outbox_is_one_and_a_folder_of_images_is_not(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("file,label\na.png,7\n")
    assert not evaluate_outbox.is_outbox(tmp_path)
    table.write_text(labels.HEADER)
    assert evaluate_outbox.is_outbox(tmp_path)


def unsure_below(folder: Path, threshold: float) -> Path:
    """Return a copy of the shipped model with another threshold."""
    copy = folder / "other.keras"
    with zipfile.ZipFile(SHIPPED_MODEL) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == model.SETTINGS_MEMBER:
                content = json.dumps(json.loads(content) | {"unsure_below": threshold}).encode()
            new.writestr(name, content)
    return copy


def test_models_are_compared_on_the_same_images(site: Site, tmp_path: Path) -> None:
    # People say that eight digits are none: only a model that is always unsure has them right.
    for index in range(12):
        label = "none" if index < 8 else str(MNIST["y_test"][index])
        answer(site, add(site, index), label, "sample")
    other = unsure_below(tmp_path, 1.0)
    command: list[str | Path] = ["evaluate", site.outbox, "--against", other]
    said = digitd(*command, "--pictures", tmp_path / "seen")
    assert said.returncode == 0, said.stderr
    hashes = model.load(SHIPPED_MODEL).hash, model.load(other).hash
    assert (
        f"digits: of 4, {hashes[0]} has 4 right and {hashes[1]} has 4; 0 are right only with "
        f"{hashes[0]}, 0 only with {hashes[1]} (p = 1, sign test)"
    ) in said.stdout
    assert (
        f"not a digit: of 8, {hashes[0]} has 0 right and {hashes[1]} has 8; 0 are right only with "
        f"{hashes[0]}, 8 only with {hashes[1]} (p = 0.0078, sign test)"
    ) in said.stdout
    # Each model's figures stand below its name.
    first, second = (said.stdout.index(f"the model {each}, ") for each in hashes)
    assert first < said.stdout.index("accuracy") < second < said.stdout.rindex("accuracy")
    picture = cv2.imread(str(tmp_path / "seen" / "sample" / "changes.png"))
    assert picture is not None
    assert min(picture.shape[:2]) > 100
    shown = json.loads(digitd(*command, "--json").stdout)["sample"]
    assert shown["against"]["model"] == hashes[1]
    assert [(one["better"], one["worse"]) for one in shown["comparisons"]] == [(0, 0), (8, 0)]
    assert {(one["before"], one["after"]) for one in shown["comparisons"]} == {hashes}
    models = ModelsFolder(site.folder / "models")
    other_id = models.add(other, Report(MADE, by="learn"))
    by_id: list[str | Path] = [
        "--model",
        other_id[:6],
        "--against",
        "shipped",
        "--config",
        site.config,
    ]
    shown = json.loads(digitd("evaluate", site.outbox, "--json", *by_id).stdout)["sample"]
    assert (shown["model"], shown["against"]["model"]) == hashes[::-1]


@pytest.mark.parametrize(("better", "worse", "p"), [(0, 0, 1), (8, 0, 2 / 256), (1, 6, 16 / 128)])
def test_sign_test_is_exact(better: int, worse: int, p: float) -> None:
    one = Comparison("digits", 20, 10, 10 + better - worse, better, worse)
    assert changes.probability_of_chance(one) == pytest.approx(p)
