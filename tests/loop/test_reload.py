"""The command ``reload``: the running digitd takes its changed config, or says why not."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from support.daemon import DIGITD, ROOT, STAND_IN, Box, Daemon, digitd
from support.stand_in import png_like
from support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path


def reload(box: Box) -> subprocess.CompletedProcess[str]:
    return digitd("reload", "--config", box.config)


def status(box: Box) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(digitd("status", "--json", "--config", box.config).stdout)
    return found


def test_reload_waits_until_the_new_settings_are_in_effect(box: Box) -> None:
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        box.drop("digit1.png", png_like("sleep 1"))
        running.until(lambda: bool(list(box.work.glob("d*-digit1.png"))), "a claim")
        box.configure(inbox="second", pattern="'*.x'")
        said = reload(box)
        assert (said.returncode, said.stderr) == (0, "")
        assert said.stdout == (
            f"reloaded {box.config}: digitd (process {running.process.pid}) is running\n"
        )
        assert [row["file"] for row in box.rows()] == ["digit1.png"]
        (box.folder / "second" / "a.x").write_bytes(png_like("fine"))
        box.wait_for_rows(2)
        assert reload(box).returncode == 0
        assert status(box)["logged_error"] is None


def test_reload_takes_the_same_folders_by_other_paths(box: Box) -> None:
    (box.folder / "link").symlink_to(".")
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        box.configure(inbox="link/inbox", outbox=f"../{box.folder.name}/outbox")
        said = reload(box)
        assert (said.returncode, said.stderr) == (0, "")
        box.drop("digit1.png", png_like("fine"))
        box.wait_for_rows(1)
        assert running.stop() == 0


def test_refused_reload_says_why_and_changes_nothing(box: Box) -> None:
    (box.folder / "model.keras").write_bytes(b"garbage")
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        box.configure(model="model.keras", inbox="second")
        said = reload(box)
        assert (said.returncode, said.stdout) == (78, "")
        assert said.stderr.startswith("digitd: not reloaded, the settings stay unchanged: ")
        assert "model.keras is garbage" in said.stderr
        assert said.stderr.count("\n") == 1
        box.configure(inbox="inbox", model="model.keras")
        assert "model.keras is garbage" in status(box)["logged_error"]["text"]

        box.configure(batch_size=0)
        said = reload(box)
        assert (said.returncode, said.stdout) == (78, "")
        assert "batch_size: 0 is not allowed" in said.stderr
        assert running.log.count("reloading") == 1


def test_reload_without_its_digitd_says_so(box: Box, tmp_path: Path) -> None:
    said = reload(box)
    assert said.returncode == 3
    assert (
        "no digitd has this inbox or this outbox: start it with `digitd run --config" in said.stderr
    )
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        shutil.copy(box.config, tmp_path / "other.yaml")
        said = digitd("reload", "--config", tmp_path / "other.yaml")
        assert said.returncode == 75
        assert f"process {running.process.pid}, config {box.config}" in said.stderr
        assert "reloading" not in running.log


def test_reload_says_if_digitd_ends_meanwhile(box: Box) -> None:
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        running.send(signal.SIGSTOP)
        with subprocess.Popen(
            [*DIGITD, "reload", "--config", box.config],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        ) as asking:
            # A stopped process keeps its signals: SIGHUP is signal 1.
            pending = f"/proc/{running.process.pid}/status"

            def is_asked() -> bool:
                with open(pending, encoding="ascii") as file:  # noqa: PTH123 - of the kernel
                    lines = dict(line.split(":\t", 1) for line in file if ":\t" in line)
                return bool(int(lines["ShdPnd"], 16) & 1)

            until(is_asked, "the signal")
            running.kill()
            _, said = asking.communicate(timeout=30)
        assert asking.returncode == 1
        assert f"digitd (process {running.process.pid}) has ended during the reload" in said


def test_status_shows_the_last_error_that_is_no_pause(box: Box) -> None:
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        assert status(box)["logged_error"] is None
        (box.outbox / "originals").rmdir()
        (box.outbox / "originals").touch()
        box.drop("digit1.png", png_like("fine"))
        running.wait_for_log("cannot be published yet")
        running.until(lambda: status(box)["logged_error"] is not None, "the error in the status")
        found = status(box)
        assert "digit1.png cannot be published yet: " in found["logged_error"]["text"]
        assert found["logged_error"]["at"].endswith("Z")
        assert found["state"] == "running"
        said = digitd("status", "--config", box.config).stdout
        assert f"logged error: {found['logged_error']['at']} originals/digit1.png" in said

        box.outbox.rename(box.folder / "away")
        running.wait_for_log("paused, files stay in the inbox")
        running.until(lambda: status(box)["state"] == "paused", "the pause")
        assert status(box)["logged_error"] == found["logged_error"]
        (box.folder / "away").rename(box.outbox)


def test_successful_reload_resolves_the_error_of_a_failed_one(box: Box) -> None:
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        box.configure(batch_size=0)
        running.send(signal.SIGHUP)
        running.wait_for_log("not reloaded, the settings stay unchanged")
        box.configure(batch_size=8)
        found = status(box)["logged_error"]
        assert "batch_size: 0 is not allowed" in found["text"]
        assert reload(box).returncode == 0
        assert status(box)["logged_error"] is None
        assert running.stop() == 0


def test_reload_refuses_an_empty_config(box: Box) -> None:
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        box.config.write_text(" \n\n")
        running.send(signal.SIGHUP)
        running.wait_for_log(
            f"not reloaded, the settings stay unchanged: {box.config} is empty: restore its"
        )
        said = reload(box)
        assert (said.returncode, said.stdout) == (78, "")
        assert said.stderr.startswith(f"digitd: {box.config} is empty: restore its settings")
        assert running.log.count("reloading") == 1
        box.config.write_text("# defaults\n")
        assert reload(box).returncode == 0
        assert running.stop() == 0


@pytest.mark.parametrize("key", ["inbox", "outbox"])
def test_status_and_audit_are_of_the_folders_in_use(box: Box, key: str) -> None:
    folder = getattr(box, key)
    with Daemon(box, STAND_IN) as running:
        box.drop("digit7.png", png_like("good"))
        box.wait_for_rows(1)
        running.until(lambda: status(box)["state"] == "running", "a running digitd")
        before = status(box)
        box.configure(**{key: "a/b/c"})
        assert digitd("reload", "--config", box.config).returncode == 78
        said = f"{key}: {box.folder / 'a/b/c'} is not yet in use: digitd uses {folder} until "
        done = digitd("status", "--json", "--config", box.config)
        found = json.loads(done.stdout)
        assert said in found.pop("config_fault")
        assert "a/b/c cannot be created, because " in found["logged_error"]["text"]
        assert said in done.stderr
        for changed in ("logged_error", "watch"):
            found.pop(changed)
            before.pop(changed)
        assert (done.returncode, found) == (0, before)
        checked = digitd("audit", "--config", box.config)
        assert (checked.returncode, checked.stdout.splitlines()[-1]) == (
            0,
            "1 row, 1 file, 0 in work, 0 discrepancies",
        )
        assert said in checked.stderr
        assert running.stop() == 0
