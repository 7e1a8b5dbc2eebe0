"""Names of all kinds through the whole program: table, log, published names, commands, answers."""

from __future__ import annotations

import csv
import json
import os
import unicodedata
from typing import TYPE_CHECKING

from daemon.outbox import labels
from daemon.records import Reads
from daemon.review.answers import SubmittedAnswer
from daemon.text import printable
from support.daemon import SAMPLES, digitd, run_once
from support.stand_in import png_like

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemon import Box

NAMES = [
    "digit1;=HYPERLINK(1).png",
    "digit2;-1.png",
    "=1+1.png",
    "@SUM(1;1).png",
    'a;"=1".png',
    "a|+1.png",
    "twice;.png",
    "gnp.\u202e1.png",
    "a\u200bb\ufeff.png",
    "line\nbreak\x1b[31m.png",
    "می\u200cشود\u3000\u00a01.png",
    "bytes\udcff.png",
]


def find_formulas(text: str) -> list[str]:
    """Return the cells that start a formula for a program that splits at one of the separators."""
    return [
        cell
        for separator in ",;\t|"
        for line in text.splitlines()
        for cell in next(csv.reader([line], delimiter=separator))
        if cell.strip().startswith(tuple("=+-@"))
    ]


def find_unprintable(text: str) -> list[str]:
    """Return the characters that reverse, hide or control; a joiner after a letter is none."""
    text = text.replace("می\u200cش", "")
    return [c for c in text if c != "\n" and unicodedata.category(c) in {"Cc", "Cf", "Cs"}]


def test_no_name_is_a_formula_or_misleads_anywhere(box: Box) -> None:
    for name in NAMES:
        box.drop(name, png_like("good"))
    log = run_once(box)
    box.drop("twice;.png", png_like("another"))
    box.drop("broken;=1\u202e.png", png_like("bad"))
    log += run_once(box)
    table = box.table.read_text()
    results = digitd("results", "--config", box.config)
    status = digitd("status", "--config", box.config)
    audit = digitd("audit", "--config", box.config)
    retry = digitd("retry", "--all", "--config", box.config)
    assert audit.returncode == retry.returncode == 0
    assert f"{len(NAMES) + 2} rows, {len(NAMES) + 2} files" in audit.stdout
    for text in (table, results.stdout):
        assert not find_formulas(text)
    for text in (table, log, results.stdout, status.stdout, audit.stdout, retry.stdout):
        assert not find_unprintable(text)
    published = [name for _, _, names in os.walk(box.outbox) for name in names]
    assert not find_unprintable("".join(published))
    files = {row["file"].removeprefix("'") for row in box.rows()}
    assert files == {*map(printable, NAMES), printable("broken;=1\u202e.png")}
    assert "می\u200cشود\u3000\u00a01.png" in published


def test_predict_shows_and_writes_printable_names(tmp_path: Path) -> None:
    dropped = tmp_path / "gnp.\u202e1\udcff;=1.png"
    dropped.write_bytes((SAMPLES / "digit3.png").read_bytes())
    pictures = tmp_path / "seen"
    options: tuple[str | Path, ...]
    for options in ((), ("--json", "--picture", pictures)):
        said = digitd("predict", *options, dropped, tmp_path / "missing\x1b.png")
        assert said.returncode == 1
        assert not find_unprintable(said.stdout + said.stderr)
    read, missing = map(json.loads, said.stdout.splitlines())
    assert read["file"] == "gnp.\\u202e1\\xff;'=1.png"
    assert missing["file"] == "missing\\x1b.png"
    assert sorted(path.name for path in pictures.iterdir()) == [
        "gnp.\\u202e1\\xff;'=1.png",
        "missing\\x1b.png",
    ]


def test_predict_writes_a_picture_for_names_of_any_length(tmp_path: Path) -> None:
    data = (SAMPLES / "digit3.png").read_bytes()
    names = [200 * "\x01", "é" * 125, 251 * "x", 251 * "x", "twice;", "twice;"]
    dropped = [tmp_path / str(number) / f"{name}.png" for number, name in enumerate(names)]
    for file in dropped:
        file.parent.mkdir()
        file.write_bytes(data)
    said = digitd("predict", "--json", "--picture", tmp_path / "seen", *dropped)
    assert said.returncode == 0, said
    pictures = [json.loads(line)["picture"] for line in said.stdout.splitlines()]
    assert sorted(pictures) == sorted(map(str, (tmp_path / "seen").iterdir()))
    assert len(set(pictures)) == len(names)
    assert not find_formulas("\n".join(pictures))
    (tmp_path / "file").touch()
    said = digitd("predict", "--picture", tmp_path / "file" / "seen", dropped[0])
    assert said.returncode == 1
    assert "cannot be written: Not a directory: name another folder" in said.stderr


def test_name_of_a_person_is_printable_on_the_page() -> None:
    given = {"id": "d" + "0" * 12, "label": "7", "by": " Ann\u202e\x1b"}
    assert SubmittedAnswer.parse(given, "me", Reads.DIGIT).by == "Ann\\u202e\\x1b"


def test_name_of_a_person_is_no_formula_in_labels(box: Box) -> None:
    answer = labels.Answer(
        "d" + "0" * 12, "", "7", "Ann;=1\u202e", "now", "m", "-3", "0.5", "import"
    )
    labels.append(box.outbox, answer)
    text = (box.outbox / "labels.csv").read_text()
    assert "Ann;'=1\\u202e" in text
    assert ",-3," in text
    assert [one.by for one in labels.read(box.outbox)] == ["Ann;'=1\\u202e"]
