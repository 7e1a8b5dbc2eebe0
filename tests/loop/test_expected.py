"""Numbers that are expected: at start, at a reload, in `check`, and in each worker."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from daemon.config import load
from daemon.errors import ConfigError
from daemon.loop.startup import load_options
from support.daemon import AS_USER, STAND_IN, Box, Daemon, digitd, run_once
from support.stand_in import png_like

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALLOWED = "; it must be the path of a text file with one number a line, or nothing"


@pytest.fixture
def box(box: Box) -> Box:
    box.configure(reads="number", model="model.keras", workers=1)
    (box.folder / "model.keras").write_bytes(b"a model")
    return box


def drop(box: Box, *texts: str) -> None:
    for text in texts:
        box.drop(f"{text}.png", png_like(f"number {text}"))


def found(box: Box) -> dict[str, tuple[str, str, str]]:
    """Return status, digit and reason of each row, by what was read."""
    return {
        row["file"].removesuffix(".png"): (row["status"], row["digit"], row["reason"])
        for row in box.rows()
    }


def test_number_that_the_pattern_does_not_match_is_unsure(box: Box) -> None:
    box.configure(expect="'[0-9]{2,3}'")
    drop(box, "12", "123", "1", "1234")
    run_once(box)
    assert found(box) == {
        "12": ("ok", "12", ""),
        "123": ("ok", "123", ""),
        "1": ("unsure", "1", "not expected"),
        "1234": ("unsure", "1234", "not expected"),
    }


def test_reload_takes_the_new_values_or_none(box: Box) -> None:
    ids = box.folder / "ids.txt"
    ids.write_bytes(b"\xef\xbb\xbf0471\r\n17\r\n\r\n17\r\n")
    box.configure(expect_file="ids.txt")
    with Daemon(box, STAND_IN) as running:
        drop(box, "0471", "0411", "55")
        box.wait_for_rows(3)
        assert found(box) == {
            "0471": ("ok", "0471", ""),
            "0411": ("unsure", "0471", "not expected: read 0411"),
            "55": ("unsure", "55", "not expected"),
        }
        # A file that changes has no effect before a reload, and none after one that is refused.
        ids.write_text("7,5\nseven\n", encoding="ascii")
        drop(box, "17")
        box.wait_for_rows(4)
        running.send(signal.SIGHUP)
        running.wait_for_log(
            f"not reloaded, the settings stay unchanged: {key_of(box)}: {ids} has "
            f"seven in line 2, which is no number{ALLOWED}"
        )
        # A worker that is replaced gets the values that are in force, too.
        os.kill(running.workers()[0], signal.SIGKILL)
        running.wait_for_log("starting another")
        drop(box, "7,5")
        box.wait_for_rows(5)
        ids.write_text("7,5\n", encoding="ascii")
        running.send(signal.SIGHUP)
        running.wait_for_log("is ready", times=2)
        ids.unlink()
        drop(box, "7,5", "7.5", "0472")
        box.wait_for_rows(8)
        assert running.stop() == 0
    rows = box.rows()
    assert [(row["status"], row["digit"]) for row in rows[3:5]] == [("ok", "17"), ("unsure", "7,5")]
    assert sorted((row["status"], row["digit"], row["reason"]) for row in rows[5:]) == [
        ("ok", "7,5", ""),
        ("unsure", "0472", "not expected"),
        ("unsure", "7,5", "not expected: read 7.5"),
    ]


def touch_unreadable(file: Path) -> None:
    file.touch(0o000)


def key_of(box: Box) -> str:
    return f"{box.config}: line {list(box.settings).index('expect_file') + 1}: expect_file"


def truncate(file: Path) -> None:
    file.touch()
    os.truncate(file, 1 << 40)


@pytest.mark.parametrize(
    ("prepare", "fault"),
    [
        (lambda _: None, "cannot be read: No such file or directory"),
        (lambda file: file.symlink_to(file), "cannot be read: Too many levels of symbolic links"),
        (lambda file: file.mkdir(), "cannot be read: it is a folder"),
        (lambda file: file.write_bytes(b"\n"), "has no number"),
        (lambda file: file.write_bytes(b"0471\n0x1\n"), "has 0x1 in line 2, which is no number"),
        (truncate, "has more than 4 MB"),
    ],
)
def test_fault_of_the_file_names_config_key_and_value(
    box: Box, prepare: Callable[[Path], object], fault: str
) -> None:
    prepare(box.folder / "ids.txt")
    box.configure(expect_file="ids.txt")
    with pytest.raises(ConfigError) as raised:
        load_options(load(box.config))
    file = box.folder / "ids.txt"
    assert str(raised.value) == f"{key_of(box)}: {file} {fault}{ALLOWED}"


@pytest.mark.parametrize(
    ("prepare", "fault"),
    [
        (os.mkfifo, "cannot be read: it is not a regular file"),
        (touch_unreadable, "cannot be read: Permission denied"),
    ],
)
def test_start_and_check_refuse_an_unusable_file(
    box: Box, prepare: Callable[[Path], object], fault: str
) -> None:
    prepare(box.folder / "ids.txt")
    box.configure(expect_file="ids.txt")
    said = f"{key_of(box)}: {box.folder / 'ids.txt'} {fault}{ALLOWED}"
    for command in (("run", "--once"), ("check",)):
        done = digitd(*command, "--config", box.config, prefix=AS_USER)
        assert done.returncode == 78
        assert f"{said}\n" in done.stdout + done.stderr
    assert digitd("audit", "--config", box.config).returncode == 0, "other commands don't need it"


def test_check_counts_the_values(box: Box) -> None:
    (box.folder / "ids.txt").write_text("0471\n17\n17\n", encoding="ascii")
    box.configure(expect_file="ids.txt")
    done = digitd("check", "--config", box.config)
    assert f"ok    expect_file: {box.folder / 'ids.txt'} has 2 numbers\n" in done.stdout


@pytest.mark.parametrize(
    ("pattern", "ends"),
    [
        ("1-15", "1 to 15"),
        ("[1-15]", "1 to 15"),
        ("^(0..9)$", "0 to 9"),
        ("7|10\u2013400", "10 to 400"),
        ("7,-5-5", "-5 to 5"),
    ],
)
def test_check_warns_of_a_range_that_the_pattern_does_not_mean(
    box: Box, pattern: str, ends: str
) -> None:
    box.configure(expect=f"'{pattern}'")
    done = digitd("check", "--config", box.config)
    (line,) = (line for line in done.stdout.splitlines() if "expect" in line)
    assert line.startswith(f"CHECK {box.config}: line ")
    assert f"expect: {pattern} is a regular expression and does not mean" in line
    assert f"from {ends}: write these into a text file, one a line, and name it with" in line


@pytest.mark.parametrize("pattern", ["[1-9]|1[0-5]", "2024-11", "[0-9]-[0-9]", "[0-9]"])
def test_check_lists_the_pattern(box: Box, pattern: str) -> None:
    box.configure(expect=f"'{pattern}'")
    done = digitd("check", "--config", box.config)
    assert f"\nok    expect: {pattern} must match the whole number\n" in done.stdout


def test_range_is_only_a_warning(box: Box) -> None:
    del box.settings["model"]
    box.configure(expect="1-15")
    done = digitd("check", "--config", box.config)
    assert "CHECK" in done.stdout
    assert done.returncode == 0, done
