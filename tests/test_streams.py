"""Standard output and stderr: closed, or with an encoding that lacks characters."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.daemon import DIGITD, ROOT, SAMPLES, STAND_IN
from support.stand_in import png_like
from support.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemon import Box


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(box: Box, closed: str) -> None:
    shell = ("sh", "-c", f'exec "$@" {closed}', "sh")
    box.drop("digit1.png", (SAMPLES / "digit1.png").read_bytes())
    config = ("--config", box.config)
    assert run(*shell, *DIGITD, "run", "--once", *config).returncode == 0
    assert [row["file"] for row in box.rows()] == ["digit1.png"]
    for command in ("audit", "results", "retry --all"):
        done = run(*shell, *DIGITD, *command.split(), *config)
        assert done.returncode == 0, (command, done)
    assert run(*shell, *DIGITD, "status", *config).returncode == 3
    text = box.table.read_text()
    assert text.count("\n") == 2
    assert text.startswith("id,file,")


def test_full_disk_below_standard_output_is_one_line(box: Box) -> None:
    for command in ("status", "audit", "results"):
        shell = ("sh", "-c", 'exec "$@" > /dev/full', "sh", *DIGITD, command)
        done = run(*shell, "--config", box.config)
        assert (done.returncode, done.stderr) == (1, b"digitd: No space left on device\n"), command


@pytest.mark.parametrize("encoding", ["latin-1", "cp1251"])
def test_characters_that_an_encoding_lacks_are_escaped(
    box: Box, tmp_path: Path, encoding: str
) -> None:
    file = tmp_path / "七é.png"
    file.write_bytes((SAMPLES / "digit7.png").read_bytes())
    box.drop("三é😀.png", png_like("good"))
    config = ("--config", box.config)
    said = run(*STAND_IN, "run", "--once", *config, PYTHONIOENCODING=encoding)
    assert said.returncode == 0, said
    assert b"\\u4e09" in said.stderr
    said = run(*DIGITD, "predict", file, PYTHONIOENCODING=encoding)
    assert said.returncode == 0, said
    assert b"/\\u4e03" in said.stdout
    assert b".png: 7 " in said.stdout
    said = run(*DIGITD, "predict", "--json", file, PYTHONIOENCODING=encoding)
    assert json.loads(said.stdout)["file"] == "七é.png"
    said = run(*DIGITD, "status", "--json", *config, PYTHONIOENCODING=encoding)
    assert json.loads(said.stdout)["last"]["file"] == "三é😀.png"
    for command in ("status", "audit"):
        assert not run(*DIGITD, command, *config, PYTHONIOENCODING=encoding).stderr
    said = run(*DIGITD, "predict", "--help", PYTHONIOENCODING=encoding)
    assert said.returncode == 0, said
