"""`digitd check`: the metrics file, and a config whose own digitd is running."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from support.daemon import AS_USER, STAND_IN, Box, Daemon, digitd
from support.stand_in import png_like

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path


def check(box: Box, config: Path | None = None) -> subprocess.CompletedProcess[str]:
    return digitd("check", "--config", config or box.config)


@pytest.mark.parametrize(
    ("file", "prepare", "fault"),
    [
        ("missing/digitd.prom", lambda _: None, "No such file or directory"),
        ("digitd.prom", lambda file: file.mkdir(), "is a folder"),
        ("file/digitd.prom", lambda file: file.parent.write_text(""), "Not a directory"),
    ],
)
def test_metrics_file_that_cannot_be_written_is_noticed(
    box: Box, file: str, prepare: Callable[[Path], object], fault: str
) -> None:
    prepare(box.folder / file)
    box.configure(metrics_file=file)
    found = check(box)
    assert found.returncode == 1, found
    what = f": metrics_file: {box.folder / file} cannot be written"
    (line,) = (line for line in found.stdout.splitlines() if what in line)
    assert line.startswith(f"WRONG {box.config}: line ")
    assert fault in line
    assert line.endswith("create its folder, let this user write there, or name another file")


@pytest.mark.parametrize(
    "file",
    [
        "inbox/digitd.prom",
        "inbox/.digitd/digitd.prom",
        "link/digitd.prom",
        "outbox/originals/digitd.prom",
        "outbox/annotated/2026-11-24/digitd.prom",
    ],
)
def test_metrics_file_among_the_images_is_refused(box: Box, file: str) -> None:
    (box.folder / "link").symlink_to("inbox")
    box.configure(metrics_file=file)
    for command in ("check", "run"):
        found = digitd(command, "--config", box.config)
        assert found.returncode == 78, found
        assert f"metrics_file: {box.folder / file} is inside {box.folder}/" in found.stderr


@pytest.mark.parametrize(
    "file", ["digitd.txt", "digitd.PROM", "digitd.prom.gz", ".prom", "a.prom~"]
)
def test_name_that_the_textfile_collector_ignores_is_refused(box: Box, file: str) -> None:
    box.configure(metrics_file=file)
    found = check(box)
    assert found.returncode == 78
    assert "metrics_file" in found.stderr


def test_metrics_file_may_lie_in_an_outbox_that_run_will_create(box: Box) -> None:
    box.outbox.rmdir()
    box.configure(metrics_file="outbox/digitd.prom")
    found = check(box)
    assert found.returncode == 0, found
    assert f"metrics_file: {box.outbox}/digitd.prom will be created with the outbox" in found.stdout
    assert not box.outbox.exists()


def test_metrics_file_that_only_a_group_can_reach_is_named(box: Box) -> None:
    box.outbox.chmod(0o770)
    box.configure(metrics_file="outbox/digitd.prom")
    found = check(box)
    assert found.returncode == 0
    assert "add node_exporter's user to it" in found.stdout


def test_models_folder_that_cannot_be_written_is_noticed(box: Box) -> None:
    folder = box.folder / "models"
    found = check(box)
    assert found.returncode == 0, found
    assert f"ok    models: {folder} will be created when needed\n" in found.stdout
    assert not folder.exists()
    folder.mkdir(0o555)
    found = digitd("check", "--config", box.config, prefix=AS_USER)
    assert found.returncode == 1, found
    assert f"WRONG models: {folder} cannot be written: Permission denied: let this" in found.stdout
    folder.rmdir()
    folder.touch()
    assert f"WRONG models: {folder} cannot be written: Not a directory" in check(box).stdout
    box.configure(model="none.keras")
    assert "models:" not in check(box).stdout  # nothing is promoted with it


def test_config_whose_own_digitd_runs_is_fine(box: Box, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(".")
    same = tmp_path / "same.yaml"
    same.write_text(f"inbox: ./link/inbox\noutbox: ../{tmp_path.name}/outbox\n")
    other_outbox, other_inbox = tmp_path / "outbox.yaml", tmp_path / "inbox.yaml"
    other_outbox.write_text("outbox: elsewhere\nmodel: none.keras\n")
    other_inbox.write_text("inbox: elsewhere\nmodel: none.keras\n")
    second = Box(tmp_path / "second")
    crossed = tmp_path / "crossed.yaml"
    crossed.write_text("outbox: second/outbox\nmodel: none.keras\n")
    with Daemon(box, STAND_IN) as running, Daemon(second, STAND_IN) as another:
        running.wait_for_log("is ready")
        another.wait_for_log("is ready")
        for config in (box.config, same):
            found = check(box, config)
            assert found.returncode == 0, found
            assert f"ok    running: process {running.process.pid} has" in found.stdout
            assert "reads a known" in found.stdout
        for config in (other_outbox, other_inbox, crossed):
            found = check(box, config)
            assert found.returncode == 75, found
            assert "another digitd holds" in found.stdout
        # The config was changed and not reloaded.
        box.configure(outbox="elsewhere", model="none.keras")
        assert check(box).returncode == 75
        box.configure(outbox="outbox")
        assert check(box).returncode == 78
        box.configure(model="null")
        box.drop("digit1.png", png_like("fine"))
        box.wait_for_rows(1)  # it was not disturbed
        assert running.stop() == another.stop() == 0
    assert "running" not in check(second).stdout


def test_first_of_several_faults_decides_as_in_run(box: Box) -> None:
    other = box.folder / "other"
    other.mkdir()
    (other / "config.yaml").write_text(
        f"inbox: inbox\noutbox: {box.outbox}\nreads: number\nexpect_file: missing.txt\n"
    )
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        for first in ("expect_file: ", "model: "):
            for command in ("check", "run"):
                found = digitd(command, "--config", other / "config.yaml")
                assert found.returncode == 78, (command, found)
                assert first in found.stdout or command == "run"
            (other / "config.yaml").write_text(f"inbox: inbox\noutbox: {box.outbox}\n")
            (other / "models").mkdir(exist_ok=True)
            (other / "models" / "current").write_text("no id\n")
        (other / "models" / "current").unlink()
        for command in ("check", "run"):
            assert digitd(command, "--config", other / "config.yaml").returncode == 75
        assert running.stop() == 0


def test_missing_inbox_of_the_running_digitd_is_named(box: Box) -> None:
    other = box.folder / "other.yaml"
    other.write_text("model: none.keras\n")
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        box.inbox.rename(box.folder / "away")
        running.wait_for_log("paused, files stay in the inbox")
        for fault in ("is missing", "is not the folder that it reads"):
            found = check(box)
            assert found.returncode == 1, found
            assert (
                f"WRONG inbox: {box.inbox} {fault}, and digitd (process {running.process.pid}) "
                "runs with this config: mount its disk" in found.stdout
            )
            assert "another digitd" not in found.stdout
            assert check(box, other).returncode == 75
            running.process.send_signal(signal.SIGSTOP)  # or it would take the new folder
            box.inbox.mkdir(exist_ok=True)  # an empty mount point
        box.inbox.rmdir()
        running.process.send_signal(signal.SIGCONT)
        (box.folder / "away").rename(box.inbox)
        running.wait_for_log("resumed")
        assert check(box).returncode == 0
        assert running.stop() == 0
