"""Folders that cannot be used: at the start, while digitd runs, and at a reload."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from support.daemon import AS_USER, STAND_IN, Box, Daemon, digitd, run_once
from support.stand_in import png_like
from support.waiting import until

needs_setpriv = pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")


@pytest.fixture
def box(box: Box) -> Box:
    box.configure(model="model.keras", rescan_seconds=1)
    (box.folder / "model.keras").write_bytes(b"a model")
    return box


def as_user(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return digitd(*arguments, "--config", config, prefix=AS_USER)


def status(box: Box) -> dict[str, object]:
    found = as_user(box.config, "status", "--json")
    assert "Traceback" not in found.stderr, found.stderr
    shown: dict[str, object] = json.loads(found.stdout)
    return shown


def break_folder(folder: Path, fault: str) -> None:
    if fault != "locked away":
        folder.rename(folder.with_name(f"{folder.name}-away"))
    match fault:
        case "locked away":
            folder.chmod(0)
        case "a file":
            folder.write_bytes(b"in the way")
        case "a dangling link":
            folder.symlink_to("nothing")
        case "a loop":
            folder.symlink_to(folder.name)


def mend_folder(folder: Path, fault: str) -> None:
    if fault == "locked away":
        folder.chmod(0o770)
        return
    if os.path.lexists(folder):
        folder.unlink()
    folder.with_name(f"{folder.name}-away").rename(folder)


@needs_setpriv
@pytest.mark.parametrize(
    ("key", "fault", "expected"),
    [
        ("inbox", "locked away", 1),
        ("outbox", "locked away", 1),
        ("outbox", "a dangling link", 1),
        ("outbox", "a file", 78),
        ("inbox", "a loop", 78),
        ("outbox", "/proc/digitd", 1),
        ("inbox", "missing/inbox", 78),
        ("outbox", "./" + "x" * 256, 78),
    ],
)
def test_start_with_an_unusable_folder_exits_as_check_says(
    box: Box, key: str, fault: str, expected: int
) -> None:
    if "/" in fault:
        box.configure(**{key: fault})
    else:
        break_folder(box.folder / key, fault)
    try:
        for command in ("run", "check"):
            found = as_user(box.config, command)
            assert found.returncode == expected, (command, found)
            assert fault in found.stdout + found.stderr or key in found.stdout + found.stderr
            assert "Traceback" not in found.stderr
            assert len(found.stderr.splitlines()) == (command == "run")
    finally:
        if fault == "locked away":
            mend_folder(box.folder / key, fault)


@needs_setpriv
@pytest.mark.parametrize(
    ("inner", "mode"),
    [
        ("outbox/annotated", 0o500),
        ("outbox/originals", 0),
        ("outbox/failed", 0o600),
        ("inbox/.digitd", 0o300),
        ("inbox/.digitd", None),
    ],
)
def test_start_with_an_unusable_inner_folder_exits_with_1_as_check_says(
    box: Box, inner: str, mode: int | None
) -> None:
    folder = box.folder / inner
    if mode is None:
        folder.symlink_to("nothing")
    else:
        folder.mkdir()
        folder.chmod(mode)
    try:
        for command in (("check",), ("run",), ("run", "--once")):
            found = as_user(box.config, *command)
            assert found.returncode == 1, (command, found)
            assert inner in found.stdout + found.stderr
            assert "Traceback" not in found.stderr
    finally:
        if mode is not None:
            folder.chmod(0o770)


@pytest.mark.parametrize("kind", ["FIFO", "link", "dangling link", "folder"])
def test_table_that_is_no_file_is_refused(box: Box, kind: str) -> None:
    table = box.outbox / "predictions.csv"
    match kind:
        case "FIFO":
            os.mkfifo(table)
        case "folder":
            table.mkdir()
        case "link" | "dangling link":
            table.symlink_to(target := box.folder / "elsewhere.csv")
            if kind == "link":
                target.touch()
    for command in (("check",), ("run",), ("run", "--once"), ("results",)):
        found = digitd(*command, "--config", box.config)
        assert found.returncode == 78, (command, found)
        assert f"{table} is not a regular file" in found.stdout + found.stderr


@pytest.mark.parametrize("name", ["config.yaml", "missing.yaml", ""])
@needs_setpriv
def test_unreadable_config_exits_78(box: Box, name: str) -> None:
    box.config.chmod(0)
    found = as_user(box.folder / name, "check")
    assert found.returncode == 78
    assert str(box.folder / name) in found.stderr


@needs_setpriv
@pytest.mark.parametrize(("fault", "first"), [("locked away", "outbox"), ("a file", "inbox")])
def test_two_faults_at_once_pause_until_both_are_gone(box: Box, fault: str, first: str) -> None:
    folders = [box.outbox, box.inbox] if first == "outbox" else [box.inbox, box.outbox]
    with Daemon(box, [*AS_USER, *STAND_IN]) as running:
        running.wait_for_log("is ready")
        box.drop("digit1.png", png_like("fine"))
        box.wait_for_rows(1)
        for folder in folders:
            break_folder(folder, fault)
            running.wait_for_log("paused, files stay in the inbox")
        try:
            before = turns(running)
            running.until(lambda: turns(running) > before + 2, "some turns of the loop")
        finally:
            for folder in folders:
                mend_folder(folder, fault)
        box.drop("digit2.png", png_like("fine"))
        box.wait_for_rows(2)
        running.wait_for_log("resumed")
        assert running.stop() == 0
        assert "Traceback" not in running.log


def turns(running: Daemon) -> int:
    """Return how often the daemon's loop has slept."""
    lines = Path(f"/proc/{running.process.pid}/status").read_text().splitlines()
    (count,) = (line.split()[1] for line in lines if line.startswith("voluntary_ctxt_switches"))
    return int(count)


@needs_setpriv
@pytest.mark.parametrize("fault", ["missing", "locked away"])
def test_status_says_paused_when_the_folder_of_its_page_is_away(box: Box, fault: str) -> None:
    with Daemon(box, [*AS_USER, *STAND_IN]) as running:
        running.wait_for_log("is ready")
        break_folder(box.inbox, fault)
        try:
            running.wait_for_log("paused")
            shown = status(box)
        finally:
            mend_folder(box.inbox, fault)
        assert [shown[key] for key in ("running", "state", "pid")] == [
            *(True, "paused", running.process.pid)
        ]
        assert str(box.inbox) in str(shown["why"])
        until(lambda: status(box)["state"] == "running", "a status that says running")


@needs_setpriv
def test_status_without_a_readable_outbox_says_why_and_counts_no_rows(box: Box) -> None:
    with Daemon(box, [*AS_USER, *STAND_IN]) as running:
        running.wait_for_log("is ready")
        break_folder(box.outbox, "a file")
        running.wait_for_log("paused")
        until(lambda: status(box)["state"] == "paused", "a status that says paused")
        shown = status(box)
        assert str(box.outbox) in str(shown["why"])
        assert shown["ok"] is None
        mend_folder(box.outbox, "a file")


def test_reload_creates_no_outbox_that_is_away(box: Box) -> None:
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        box.drop("digit1.png", png_like("fine"))
        box.wait_for_rows(1)
        box.wait_until_settled()
        break_folder(box.outbox, "missing")
        said = f"{box.outbox}: is missing: mount its disk, or move the folder back; or create it"
        running.wait_for_log(f"paused, files stay in the inbox: {said}")
        assert str(status(box)["why"]).startswith(said)
        box.configure(batch_size=8)
        running.send(signal.SIGHUP)
        running.wait_for_log("is ready", times=2)
        assert not box.outbox.exists()
        mend_folder(box.outbox, "missing")
        box.drop("digit2.png", png_like("fine"))
        box.wait_for_rows(2)
        assert running.stop() == 0
        assert "No such file" not in running.log


def test_outbox_that_is_removed_is_named_until_it_is_there_again(box: Box) -> None:
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        box.drop("digit1.png", png_like("fine"))
        box.wait_for_rows(1)
        box.wait_until_settled()
        break_folder(box.outbox, "missing")
        running.wait_for_log(f"paused, files stay in the inbox: {box.outbox}: is missing: mount")
        box.outbox.mkdir()
        running.wait_for_log(f"resumed, this is resolved: {box.outbox}: is missing: mount")
        box.drop("digit2.png", png_like("fine"))
        box.wait_for_rows(1)
        assert running.stop() == 0
        assert "No such file" not in running.log


def test_start_creates_no_outbox_that_is_away(box: Box) -> None:
    box.drop("digit1.png", png_like("fine"))
    run_once(box)
    break_folder(box.outbox, "missing")
    for command in (("check",), ("run",), ("run", "--once"), ("audit",)):
        found = digitd(*command, "--config", box.config)
        assert found.returncode == 1, (command, found)
        assert f"{box.outbox} is missing, and digitd has written" in found.stdout + found.stderr
        assert not box.outbox.exists()
    box.configure(outbox=f"../{box.folder.name}/outbox")
    assert digitd("check", "--config", box.config).returncode == 1
    box.configure(outbox="outbox")
    mend_folder(box.outbox, "missing")
    box.drop("digit2.png", png_like("fine"))
    run_once(box)
    assert len(box.rows()) == 2
    box.configure(outbox="another")
    box.drop("digit3.png", png_like("fine"))
    log = run_once(box)
    assert f"outbox: created the folder {box.folder}/another" in log
    assert "inbox: created" not in log
    assert (box.folder / "another" / "predictions.csv").exists()


def test_message_of_a_second_digitd_names_the_first(box: Box) -> None:
    (box.folder / "link").symlink_to(".")
    (box.folder / "other.yaml").write_text(
        f"inbox: mine\noutbox: {box.folder}/link/../{box.folder.name}/outbox\n"
    )
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        for command in ("run", "check"):
            found = digitd(command, "--config", box.folder / "other.yaml")
            assert found.returncode == 75, found
            assert (
                f"another digitd holds {box.outbox.resolve()} (process {running.process.pid}, "
                f"config {box.config.resolve()}): stop it" in found.stdout + found.stderr
            )


def test_start_that_another_digitd_refuses_creates_no_folder(box: Box) -> None:
    other = box.folder / "other.yaml"
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        for folders in ("inbox: inbox\noutbox: new\n", "inbox: new\noutbox: outbox\n"):
            other.write_text(folders)
            assert digitd("run", "--config", other).returncode == 75
            assert not (box.folder / "new").exists()


def test_process_that_cannot_start_workers_tries_again(box: Box) -> None:
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        pid = running.process.pid
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        subprocess.run(["prlimit", f"--pid={pid}", f"--nofile={descriptors}:"], check=True)
        for worker in running.workers():
            os.kill(worker, signal.SIGSEGV)
        running.wait_for_log("a worker cannot be started, trying again")
        subprocess.run(["prlimit", f"--pid={pid}", "--nofile=1024:"], check=True)
        box.drop("digit1.png", png_like("fine"))
        box.wait_for_rows(1)
        assert running.stop() == 0


@needs_setpriv
def test_files_that_cannot_be_published_show_in_status_and_metrics(box: Box) -> None:
    box.configure(metrics_file="digitd.prom")
    folder = box.outbox / "originals"
    with Daemon(box, [*AS_USER, *STAND_IN]) as running:
        running.wait_for_log("is ready")
        until(folder.is_dir, "the folder")
        folder.chmod(0o550)
        for number in (1, 2):
            box.drop(f"digit{number}.png", png_like("fine"))
        box.wait_for_rows(2)
        until(lambda: status(box)["unpublished"] == 2, "a status that counts them")
        assert f"{folder}" in str(status(box)["unpublished_why"])
        assert "unpublished: 2" in as_user(box.config, "status").stdout
        assert status(box)["state"] == "running"
        assert running.stop() == 0
        assert "digitd_unpublished_files 2.0" in (box.folder / "digitd.prom").read_text()
        folder.chmod(0o770)
    assert running.log.count("cannot be published yet") == 2
