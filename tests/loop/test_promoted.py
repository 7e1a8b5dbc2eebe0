"""The running daemon and models/current: a new model, a broken one, a start with a broken one."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from daemon.models.current import shipped_id
from daemon.models.folder import ModelsFolder
from support.daemon import SAMPLES, STAND_IN, Box, Daemon, digitd
from support.models import add_model
from support.stand_in import png_like

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def box(box: Box) -> Box:
    box.configure(rescan_seconds=1)
    return box


def put(box: Box, data: bytes) -> str:
    """Put a model for the stand-in reader in use, without any check; return its id."""
    folder = box.folder / "models"
    folder.mkdir(exist_ok=True)
    model_id = hashlib.sha256(data).hexdigest()[:12]
    (folder / f"{model_id}.keras").write_bytes(data)
    (folder / "new").write_text(f"{model_id}\n")
    (folder / "new").rename(folder / "current")
    return model_id


def sample(number: int) -> bytes:
    return (SAMPLES / f"digit{number}.png").read_bytes()


def status(box: Box) -> dict[str, str]:
    found: dict[str, str] = json.loads(digitd("status", "--json", "--config", box.config).stdout)
    return found


def test_running_daemon_takes_a_promoted_model_and_goes_back(box: Box) -> None:
    model_id = add_model(ModelsFolder(box.folder / "models"), "new")
    with Daemon(box) as running:
        running.wait_for_log("is ready")
        assert len(running.workers()) == 2
        box.drop("digit1.png", sample(1))
        box.wait_for_rows(1)
        promoted = digitd("model", "promote", model_id[:6], "--config", box.config)
        assert promoted.returncode == 0, promoted.stderr
        assert promoted.stdout == (f"{model_id} is in use; a running digitd takes it within 1 s\n")
        running.wait_for_log(f"{model_id}.keras reads, no longer")
        running.wait_for_log("is ready", times=2)
        box.drop("digit2.png", sample(2))
        box.wait_for_rows(2)
        running.until(lambda: status(box)["model"] == model_id, "the model in the status")
        assert digitd("model", "rollback", "--config", box.config).returncode == 0
        running.wait_for_log("is ready", times=3)
        box.drop("digit3.png", sample(3))
        rows = box.wait_for_rows(3)
        assert running.stop() == 0
    assert [row["model"] for row in rows] == [shipped_id(), model_id, shipped_id()]
    box.check_books({f"digit{n}.png": sample(n) for n in (1, 2, 3)})


def test_broken_promoted_model_is_reported_and_the_old_one_reads_on(box: Box) -> None:
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        model_id = put(box, b"garbage")  # the worker that tries it says so
        path = box.folder / "models" / f"{model_id}.keras"
        running.wait_for_log(f"the promoted model cannot be used: {path} is garbage")
        running.until(lambda: "is garbage" in status(box)["model_fault"], "the fault in the status")
        assert "digits.keras" in status(box)["model_fault"]
        box.drop("digit1.png", png_like("fine"))
        box.wait_for_rows(1)
        put(box, b"a model")
        (path.parent / "current").write_text("what is this\n")
        running.wait_for_log("current: must be the id of a model")
        shutil.rmtree(path.parent)
        running.until(lambda: not status(box)["model_fault"], "no fault any more")
        box.drop("digit2.png", png_like("fine"))
        box.wait_for_rows(2)
        assert running.stop() == 0
        assert running.log.count("is ready") == 1
        # Once, although the inbox was listed several times meanwhile.
        assert running.log.count("is to read from now on: trying it") == 1
        assert running.log.count("is garbage") == 1


def test_reload_takes_the_promoted_model_at_once(box: Box) -> None:
    box.configure(rescan_seconds=3600)
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        model_id = put(box, b"a model")
        running.send(signal.SIGHUP)
        running.wait_for_log(f"{model_id}.keras reads, no longer")
        running.wait_for_log("is ready", times=2)
        broken = put(box, b"garbage")
        running.send(signal.SIGHUP)
        running.wait_for_log(f"not reloaded, the settings stay unchanged: {box.folder}")
        assert f"{broken}.keras is garbage" in running.log
        assert running.stop() == 0


def test_model_in_the_config_is_used_instead_of_the_promoted_one(box: Box) -> None:
    (box.folder / "mine.keras").write_bytes(b"mine")
    box.configure(model="mine.keras")
    put(box, b"garbage")
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        box.configure(rescan_seconds=2)
        running.send(signal.SIGHUP)
        running.wait_for_log("is ready", times=2)
        assert running.stop() == 0
        assert "promoted" not in running.log


@pytest.mark.parametrize("command", ["run", "check"])
def test_broken_current_at_start_exits_78(box: Box, command: str) -> None:
    folder = box.folder / "models"
    folder.mkdir()
    (folder / "current").write_text("0123456789ab\n")
    found = digitd(command, "--config", box.config)
    assert found.returncode == 78
    said = found.stderr + found.stdout
    assert f"{folder}/current: {folder}/0123456789ab.keras is missing: put it back" in said
    assert f"`digitd model rollback --config {box.config}` goes back" in said
    assert "Traceback" not in said


def test_check_and_predict_use_the_promoted_model(box: Box, tmp_path: Path) -> None:
    model_id = add_model(ModelsFolder(box.folder / "models"), "new")
    ModelsFolder(box.folder / "models").promote(model_id)
    checked = digitd("check", "--config", box.config)
    assert checked.returncode == 0, checked.stdout
    assert f"models/{model_id}.keras ({model_id}) reads a known 7 as 7" in checked.stdout
    at_config: list[str | Path] = ["--config", box.config]
    for arguments, cwd in ((at_config, tmp_path), ([], box.folder)):
        image = box.folder / "one.png"
        image.write_bytes(png_like("no image"))
        read = digitd("predict", "--json", image, *arguments, cwd=cwd)
        assert json.loads(read.stdout)["model"] == model_id
