"""The whole program with the shipped model on real files: drop, row, picture, audit."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import Image

from daemon import __version__
from daemon.assets import CONFIG_TEMPLATE, SHIPPED_MODEL
from daemon.config import load
from daemon.outbox.rows import COLUMNS
from daemon.picture.canvas import encode_png
from support import heif
from support.daemon import (
    DIGITD,
    ROOT,
    SAMPLES,
    Box,
    Daemon,
    Terminal,
    digitd,
    run_once,
    verify_unit,
)
from support.waiting import until

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The digits in samples/digit1.png to digit12.png.
SAMPLE_DIGITS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 7, 4)


def sample(number: int) -> bytes:
    return (SAMPLES / f"digit{number}.png").read_bytes()


def grey(number: int) -> NDArray[np.uint8]:
    pixels = cv2.imread(str(SAMPLES / f"digit{number}.png"), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None
    return pixels.astype(np.uint8)


def as_format(extension: str, number: int = 1, *, dtype: type = np.uint8) -> bytes:
    """Return a sample in another format or depth."""
    scale = 257 if dtype is np.uint16 else 1
    done, data = cv2.imencode(extension, grey(number).astype(dtype) * scale)
    assert done
    return data.tobytes()


def palette_png(number: int) -> bytes:
    """Return a sample as a two-colour palette PNG, from digitd's own encoder."""
    palette = np.array([[250, 250, 240], [20, 20, 90]], np.uint8)
    return encode_png(np.where(grey(number) > 127, np.uint8(1), np.uint8(0)), palette)


def rgba_png(number: int) -> bytes:
    """Return a sample as black ink on a transparent background."""
    pixels = grey(number)
    layers = np.zeros((*pixels.shape, 4), np.uint8)
    layers[..., 3] = pixels
    return cv2.imencode(".png", layers)[1].tobytes()


def paged(kind: str) -> bytes:
    """Return a document with two samples, each on its page."""
    stream = io.BytesIO()
    first, second = (Image.fromarray(grey(number)) for number in (1, 2))
    first.save(stream, kind, save_all=True, append_images=[second])
    return stream.getvalue()


UNREADABLE = {
    "digit102.png": (sample(4)[:3000], "truncated PNG"),
    "digit103.png": (as_format(".jpg", 4)[:-200], "truncated JPEG"),
    "digit104.png": (b"my shopping list: milk, bread\n", "text"),
    "digit105.png": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n",
        "Git LFS pointer",
    ),
    "digit106.png": (bytes(np.random.default_rng(7).integers(0, 256, 2000, np.uint8)), ""),
    "digit107.png": (b"\x89PNG\r\n\x1a\n" + bytes(1_100_000), "too large"),
    "digit108.png": (paged("TIFF"), "a TIFF with 2 pages: save each page as a file"),
    "digit109.png": (paged("PDF"), "a PDF document with 2 pages: save each page as a PNG"),
}
READABLE = {
    "digit201.png": as_format(".jpg"),
    "digit202.png": as_format(".bmp"),
    "digit203.png": as_format(".webp"),
    "digit204.png": as_format(".png", dtype=np.uint16),
    "digit205.png": as_format(".png"),
    "digit206.png": palette_png(1),
    "digit207.png": rgba_png(1),
    "digit208.png": sample(1) + b"\0stray bytes",
    "digit209.png": heif.ONE,
    "digit210.png": heif.avif(Image.fromarray(grey(1))),
}
BLANK = cv2.imencode(".png", np.full((60, 60, 3), 230, np.uint8))[1].tobytes()


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Box, dict[str, bytes], str]:
    """Run once with one file of each kind."""
    box = Box(tmp_path_factory.mktemp("once"))
    box.configure(max_file_mb=1)
    dropped = {f"digit{n}.png": sample(n) for n in range(1, 13)}
    dropped |= {name: data for name, (data, _) in UNREADABLE.items()}
    dropped |= READABLE
    dropped["digit300.png"] = BLANK
    for name, data in dropped.items():
        box.drop(name, data)
    box.drop("digit400.png", b"")  # waits for its content
    with Daemon(box, [sys.executable, "-P", "-m", "daemon"], "--once") as running:
        assert running.process.wait(100) == 0, running.log
        return box, dropped, running.log


Once = tuple[Box, dict[str, bytes], str]


def test_every_file_has_its_row_its_bytes_and_its_picture(once: Once) -> None:
    box, dropped, _ = once
    box.check_books(dropped)
    audit = digitd("audit", "--config", box.config)
    assert audit.returncode == 0, audit.stdout
    assert f"{len(dropped)} rows, {len(dropped)} files, 0 in work, 0 discrepancies" in audit.stdout
    assert sorted(path.name for path in box.inbox.iterdir()) == [".digitd", "digit400.png"]


def test_table_has_the_documented_columns(once: Once) -> None:
    box, dropped, _ = once
    lines = (box.outbox / "predictions.csv").read_bytes().split(b"\n")
    assert lines[0] == (
        b"id,file,status,digit,confidence,p0,p1,p2,p3,p4,p5,p6,p7,p8,p9,p_none,"
        b"reason,picture,original,sha256,model,received_at,processed_at"
    )
    assert len(lines) == len(dropped) + 2
    row = box.row("digit1.png")
    eleven = [*(f"p{n}" for n in range(10)), "p_none"]
    assert sum(float(row[key]) for key in eleven) == pytest.approx(1, abs=1e-5)
    assert float(row["confidence"]) == float(row["p1"])
    assert row["received_at"] <= row["processed_at"]


def test_samples_are_read_correctly(once: Once) -> None:
    box, _, _ = once
    read = [box.row(f"digit{n}.png")["digit"] for n in range(1, 13)]
    assert read == [str(digit) for digit in SAMPLE_DIGITS]


def test_each_broken_file_gets_its_reason(once: Once) -> None:
    box, _, log = once
    for name, (_, why) in UNREADABLE.items():
        row = box.row(name)
        assert row["status"] == "error"
        assert row["digit"] == row["confidence"] == ""
        assert why in row["reason"]
        assert row["original"] == f"failed/{name}"
        assert f"{name}: error: {row['reason']}" in log


def test_each_valid_file_is_read(once: Once) -> None:
    box, _, _ = once
    for name in READABLE:
        row = box.row(name)
        assert (row["status"], row["digit"]) in {("ok", "1"), ("unsure", "1")}, row
        assert row["original"] == f"originals/{name}"


def test_blank_page_is_unsure_and_has_no_digit(once: Once) -> None:
    row = once[0].row("digit300.png")
    assert (row["status"], row["digit"], row["reason"]) == ("unsure", "", "no ink")


def test_every_picture_can_be_decoded(once: Once) -> None:
    box, dropped, _ = once
    pictures = list((box.outbox / "annotated").iterdir())
    assert len(pictures) == len(dropped)
    for picture in pictures:
        pixels = cv2.imread(str(picture))
        assert pixels is not None, picture
        assert pixels.shape == (340, 768, 3)


def test_only_doubtful_rows_have_pictures_if_config_says_so(box: Box) -> None:
    box.configure(pictures="doubtful", workers=2)
    box.drop("digit1.png", sample(1))
    box.drop("digit2.png", BLANK)
    box.drop("digit3.png", b"no image")
    run_once(box, DIGITD)
    found = {row["file"]: (row["status"], row["picture"]) for row in box.rows()}
    assert found == {
        "digit1.png": ("ok", ""),
        "digit2.png": ("unsure", "annotated/digit2.png"),
        "digit3.png": ("error", "annotated/digit3.png"),
    }
    assert {path.name for path in (box.outbox / "annotated").iterdir()} == {
        "digit2.png",
        "digit3.png",
    }
    audit = digitd("audit", "--config", box.config)
    assert audit.returncode == 0, audit.stdout


def test_run_once_ends_with_a_summary(once: Once) -> None:
    box, dropped, log = once
    counts = [sum(row["status"] == s for row in box.rows()) for s in ("ok", "unsure", "error")]
    assert f"{len(dropped)} files: {counts[0]} ok, {counts[1]} unsure, {counts[2]} error" in log
    assert log.count(f"{len(dropped)} files:") == 1
    assert log.endswith("\nleft in the inbox: digit400.png (empty)\n")


def test_run_once_strict_exits_1_if_a_file_is_an_error(box: Box) -> None:
    strict = ("run", "--once", "--strict", "--config", box.config)
    box.drop("digit1.png", sample(1))
    assert digitd(*strict).returncode == 0
    box.drop("digit2.png", b"no image")
    run = digitd(*strict)
    assert (run.returncode, run.stdout) == (1, "1 file: 0 ok, 0 unsure, 1 error\n")
    assert digitd("run", "--strict", "--config", box.config).returncode == 2


def test_daemon_reads_new_files_in_little_memory(box: Box) -> None:
    with Daemon(box) as running:
        running.wait_for_log("is ready")
        box.drop("notes.txt", sample(1))
        box.drop("digit1.png", sample(1))
        box.drop("digit2.png", sample(2))
        box.wait_for_rows(2)
        box.wait_until_settled()
        said = digitd("status", "--json", "--config", box.config)
        assert said.returncode == 0
        status = json.loads(said.stdout)
        assert status["running"] is True
        assert status["pid"] == running.process.pid
        assert status["ok"] + status["unsure"] == 2
        assert status["last"]["file"] == "digit2.png"
        assert status["last"]["digit"] == "2"
        assert status["ignored"] == 1
        maps = Path(f"/proc/{running.process.pid}/maps").read_text()
        assert "tensorflow" not in maps
        assert "cv2" not in maps
        for pid in running.workers():
            # Not the resident memory: it counts pages of libraries that the kernel read ahead.
            memory = Path(f"/proc/{pid}/smaps_rollup").read_text().partition("\nPss:")[2]
            assert int(memory.split()[0]) < 150_000  # kB
            assert "tensorflow" not in Path(f"/proc/{pid}/maps").read_text()
        assert running.stop() == 0
    box.check_books({"digit1.png": sample(1), "digit2.png": sample(2)})
    stopped = digitd("status", "--config", box.config)
    assert stopped.stdout.startswith("running:     no")
    assert stopped.returncode == 3


def test_predict_reads_readable_files_and_reports_the_others(tmp_path: Path) -> None:
    files = [tmp_path / "list.png", tmp_path / "missing.png", tmp_path / "seven.png"]
    files[0].write_text("my shopping list")
    files[2].write_bytes(sample(7))
    read = digitd("predict", "--json", "--picture", tmp_path / "seen", *files)
    assert read.returncode == 1
    assert read.stderr == ""
    rows = [json.loads(line) for line in read.stdout.splitlines()]
    assert [tuple(row) for row in rows] == [COLUMNS] * 3
    assert [row["digit"] for row in rows] == [None, None, "7"]
    assert [row["status"] for row in rows] == ["error", "error", "ok"]
    assert rows[1]["reason"] == "cannot be opened: No such file or directory"
    assert [row["original"] for row in rows] == list(map(str, files))
    assert Path(rows[2]["picture"]).read_bytes().startswith(b"\x89PNG")
    assert files[2].read_bytes() == sample(7)
    alone = digitd("predict", files[2])
    assert (alone.returncode, alone.stderr) == (0, "")


def test_predict_waits_for_no_fifo_and_no_endless_file(tmp_path: Path) -> None:
    fifo, large, link = tmp_path / "fifo.png", tmp_path / "large.png", tmp_path / "link.png"
    os.mkfifo(fifo)
    with large.open("wb") as file:
        file.truncate(1 << 40)
    link.symlink_to(SAMPLES / "digit7.png")
    (tmp_path / "empty").mkdir()
    read = digitd("predict", "--json", fifo, "/dev/zero", tmp_path / "empty", large, link)
    rows = [json.loads(line) for line in read.stdout.splitlines()]
    assert [row["reason"] for row in rows] == [
        "cannot be opened: it is not a regular file",
        "cannot be opened: it is not a regular file",
        "has no images: name a folder with files such as .png and .jpg",
        "too large: more than 64 MB: make it smaller",
        "",
    ]
    assert rows[4]["digit"] == "7"


def test_predict_reads_pipes_of_its_own(tmp_path: Path) -> None:
    seven, three = SAMPLES / "digit7.png", SAMPLES / "digit3.png"
    script = f"cat {seven} | {shlex.join(DIGITD)} predict /dev/stdin <(cat {three})"
    read = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert [line.split()[1] for line in read.stdout.splitlines()] == ["7", "3"]


def test_check_reports_what_is_valid_and_what_is_wrong(box: Box) -> None:
    good = digitd("check", "--config", box.config)
    assert good.returncode == 0, good.stdout
    assert "reads a known" in good.stdout
    box.configure(model="none.keras")
    bad = digitd("check", "--config", box.config)
    assert bad.returncode == 78
    assert re.search(r"^WRONG .*config\.yaml: line \d+: model: ", bad.stdout, re.MULTILINE)
    assert str(box.folder / "none.keras") in bad.stdout


def test_check_creates_no_folder_and_names_one_that_cannot_be_created(box: Box) -> None:
    box.inbox.rmdir()
    box.configure(outbox="typo/outbox")
    found = digitd("check", "--config", box.config)
    assert found.returncode == 78
    assert f": outbox: {box.folder}/typo/outbox cannot be created" in found.stdout
    assert not box.inbox.exists()
    assert not (box.folder / "typo").exists()
    box.configure(outbox="outbox")
    found = digitd("check", "--config", box.config)
    assert found.returncode == 0
    assert "will be created" in found.stdout
    assert not box.inbox.exists()


@pytest.mark.parametrize("arguments", [(), ("--once",)])
def test_inbox_that_cannot_be_created_exits_78_without_a_traceback(
    box: Box, arguments: tuple[str, ...]
) -> None:
    box.configure(inbox="typo/inbox")
    run = digitd("run", "--config", box.config, *arguments)
    assert run.returncode == 78
    assert "typo is not a folder: create that one" in run.stderr
    assert "Traceback" not in run.stderr


def test_run_once_creates_a_missing_inbox(box: Box) -> None:
    box.inbox.rmdir()
    run = digitd("run", "--once", "--config", box.config)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "0 files: 0 ok, 0 unsure, 0 error\n"
    assert box.inbox.is_dir()


def test_run_with_a_corrupt_model_exits_78(box: Box) -> None:
    data = bytearray(SHIPPED_MODEL.read_bytes())
    data[len(data) // 2] ^= 1
    (box.folder / "flipped.keras").write_bytes(data)
    box.configure(model="flipped.keras")
    run = digitd("run", "--config", box.config)
    assert run.returncode == 78
    assert "flipped.keras: is not a .keras file, or is broken" in run.stderr
    assert "Traceback" not in run.stderr


def test_run_with_a_missing_model_exits_78(box: Box) -> None:
    box.configure(model="none.keras")
    box.drop("digit1.png", sample(1))
    run = digitd("run", "--config", box.config)
    assert run.returncode == 78
    assert "none.keras" in run.stderr
    assert (box.inbox / "digit1.png").exists()


@pytest.mark.parametrize(
    ("kind", "why"), [("FIFO", "it is not a regular file"), ("folder", "it is a folder")]
)
def test_model_that_is_no_file_exits_78_at_once(box: Box, kind: str, why: str) -> None:
    model = box.folder / "none.keras"
    if kind == "FIFO":
        os.mkfifo(model)
    else:
        model.mkdir()
    box.configure(model="none.keras")
    for command in ("run", "check", "reread"):
        said = digitd(command, "--config", box.config)
        assert said.returncode == 78, (command, said)
        assert f"none.keras: cannot be read: {why}" in said.stdout + said.stderr


def test_init_writes_a_config_that_loads_and_never_overwrites_one(tmp_path: Path) -> None:
    folder = tmp_path / "my digits & co"
    made = digitd("init", folder)
    assert made.returncode == 0, made.stderr
    assert f"next: digitd run --config '{folder}/config.yaml'" in made.stdout
    config = load(folder / "config.yaml")
    assert config.model is None
    assert config.inbox == folder / "inbox"
    assert config.inbox.is_dir()
    assert config.outbox.is_dir()
    again = digitd("init", folder)
    assert again.returncode == 78
    assert "already exists and was not changed" in again.stderr


@pytest.mark.parametrize("taken", [".", "inbox", "outbox"])
def test_init_names_what_is_in_the_way(tmp_path: Path, taken: str) -> None:
    in_the_way = tmp_path / "digits" / taken
    in_the_way.parent.mkdir(exist_ok=True)
    in_the_way.write_text("")
    made = digitd("init", tmp_path / "digits")
    assert made.returncode == 78
    assert f"{in_the_way}: cannot be created: File exists: choose another folder" in made.stderr
    assert not (tmp_path / "digits" / "config.yaml").exists()


def test_config_in_the_repository_is_what_init_writes() -> None:
    assert (ROOT / "config.yaml").read_text() == CONFIG_TEMPLATE.read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_unit_and_its_sandbox_is_strict(tmp_path: Path) -> None:
    folder = tmp_path / "a folder, 100% odd"
    folder.mkdir()
    box = Box(folder)
    unit = tmp_path / "digitd.service"
    unit.write_text(digitd("service", "--config", box.config).stdout)
    verify_unit(unit)
    escaped = str(folder).replace("%", "%%")
    assert f'run --config "{escaped}/config.yaml"\n' in unit.read_text()
    assert f'ReadWritePaths="{escaped}"\n' in unit.read_text()
    security = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=6", unit],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert security.returncode == 0, security.stdout[-300:]


@pytest.mark.parametrize(
    "command",
    [
        *("", "run", "predict", "check", "status", "audit", "review", "results", "retry"),
        *("init", "service", "train", "evaluate", "reload"),
    ],
)
def test_every_command_has_help_with_an_example(command: str) -> None:
    text = digitd(*command.split(), "--help")
    assert text.returncode == 0
    assert f"digitd {command}".strip() in text.stdout
    assert ("Example" in text.stdout) or not command


def test_quiet_verbose_and_the_short_version_option(box: Box) -> None:
    box.drop("digit1.png", sample(1))
    run = digitd("run", "--once", "--quiet", "--config", box.config)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == "1 file: 1 ok, 0 unsure, 0 error\n"
    box.drop("digit2.png", sample(2))
    verbose = digitd("run", "--once", "--verbose", "--config", box.config)
    assert "DEBUG   1 files to a worker, the first is digit2.png" in verbose.stderr
    assert digitd("-V").stdout == digitd("--version").stdout == f"digitd, version {__version__}\n"


@pytest.mark.parametrize(
    ("option", "arguments"),
    [
        ("--model", ["predict", "--model", "a.keras", "digit1.png", "--model=b.keras"]),
        ("--config", ["status", "--config", "a.yaml", "--config", "b.yaml"]),
        ("--config", ["model", "list", "--config", "a.yaml", "--config", "b.yaml"]),
    ],
)
def test_option_that_is_given_twice_is_refused(option: str, arguments: list[str]) -> None:
    said = digitd(*arguments)
    assert said.returncode == 2
    assert f"Error: {option} is given twice: give it once\n" in said.stderr
    assert digitd("train", "--data", "a.npz", "--data", "b.npz").stderr.count("twice") == 0


def test_usage_error_exits_2() -> None:
    assert digitd("predict").returncode == 2
    assert digitd("frobnicate").returncode == 2
    assert digitd("run", "--config", os.devnull + "/x").returncode == 78


def test_run_once_on_a_terminal_says_what_it_leaves_alone(box: Box) -> None:
    (box.inbox / "scans").mkdir()
    for name in ("digit1.png", "notes.txt", "more.txt"):
        box.drop(name, sample(1))
    with Terminal() as terminal:
        command = [*DIGITD, "run", "--once", "--config", str(box.config)]
        subprocess.run(command, stderr=terminal.programs, cwd=ROOT, timeout=60, check=True)
        said = (
            "left alone in the inbox: 2 files (no `pattern` matches the name), 1 folder (move the "
            "files into the inbox itself)"
        )
        until(lambda: said in terminal.text, said)


def test_closing_the_terminal_ends_digitd_as_ctrl_c_does(box: Box) -> None:
    ours, programs = pty.openpty()
    os.set_blocking(ours, False)
    shown = bytearray()

    def has_shown(text: bytes) -> bool:
        with suppress(BlockingIOError):
            shown.extend(os.read(ours, 65536))
        return text in shown

    process = subprocess.Popen([*DIGITD, "run", "--config", box.config], stderr=programs, cwd=ROOT)
    try:
        os.close(programs)
        box.drop("digit1.png", (SAMPLES / "digit1.png").read_bytes())
        until(lambda: has_shown(b"running | 1 read"), "the row")
    finally:
        os.close(ours)
        assert process.wait(20) == 0
    assert [row["file"] for row in box.rows()] == ["digit1.png"]


def test_terminal_shows_log_lines_above_one_live_line(box: Box) -> None:
    with Terminal() as terminal:
        process = subprocess.Popen(
            [*DIGITD, "run", "--config", box.config], stderr=terminal.programs, cwd=ROOT
        )
        try:
            until(lambda: "starting | 0 read" in terminal.text, "a line while it starts")
            for sample in ("digit1.png", "digit2.png"):
                box.drop(sample, (SAMPLES / sample).read_bytes())
            until(lambda: "running | 2 read: 2 ok" in terminal.text, "the counts")
            until(lambda: " 0 files waiting" in terminal.text, "the backlog")
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
    # A terminal replaces the line with what follows a carriage return and an erase.
    lines = [line.rsplit("\r\033[K", 1)[-1] for line in terminal.text.split("\r\n")]
    assert sum("digit1.png: 1" in line for line in lines) == 1
    assert "stopped after 2 files" in lines[-2]
    assert lines[-1] == ""
    assert not any("waiting" in line for line in lines)
