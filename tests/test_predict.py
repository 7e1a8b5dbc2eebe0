"""The command ``predict`` on folders and on standard input."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from support.daemon import DIGITD, ROOT, SAMPLES, digitd

if TYPE_CHECKING:
    from pathlib import Path


def rows_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_predict_reads_the_images_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    for name in ("digit10.PNG", "digit2.png", "notes.txt", ".digit3.png", "digit4.png/digit5.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((SAMPLES / "digit2.png").read_bytes())
    (tmp_path / "empty").mkdir()
    said = digitd("predict", "--json", folder, tmp_path / "empty", SAMPLES / "digit1.png")
    rows = rows_of(said.stdout)
    assert said.returncode == 1
    assert [row["original"] for row in rows] == [
        *(str(folder / name) for name in ("digit2.png", "digit10.PNG")),
        str(tmp_path / "empty"),
        str(SAMPLES / "digit1.png"),
    ]
    assert [row["digit"] for row in rows] == ["2", "2", None, "1"]
    assert rows[2]["reason"].startswith("has no images: name a folder with files such as .png")


@pytest.mark.parametrize(
    ("named", "arguments"),
    [
        ("FILE", ["predict", "digit1.png", ""]),
        ("DATA", ["evaluate", ""]),
        ("--out", ["results", "--out", ""]),
        ("--config", ["audit", "--config="]),
        ("--data", ["train", "--data", "", "--data", "mnist.npz"]),
        ("FILE", ["model", "adopt", ""]),
        ("ID", ["model", "promote", ""]),
        ("NAME", ["retry", ""]),
    ],
)
def test_empty_name_is_not_the_current_folder(named: str, arguments: list[str]) -> None:
    said = digitd(*arguments, cwd=SAMPLES)
    assert (said.returncode, said.stdout) == (2, "")
    assert f"Error: {named} is empty: is a variable of the shell not set?" in said.stderr


def test_predict_reads_standard_input(tmp_path: Path) -> None:
    options = ("--json", "--picture", tmp_path)
    command: list[str | Path] = [*DIGITD, "predict", *options, "-", SAMPLES / "digit1.png"]
    with (SAMPLES / "digit2.png").open("rb") as file:
        said = subprocess.run(
            command, stdin=file, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
        )
    first, second = rows_of(said.stdout)
    assert (first["digit"], first["file"], first["original"]) == ("2", "stdin", "-")
    assert first["picture"] == str(tmp_path / "stdin.png")
    assert second["digit"] == "1"

    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *DIGITD, "predict", "-"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert closed.returncode == 1
    assert closed.stdout == "-: -      -  error  cannot be opened: standard input is closed\n"
