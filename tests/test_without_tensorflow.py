"""A machine that only reads: digitd with requirements-serve.lock, in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.daemon import ROOT, SAMPLES, Box

# Installing takes 20 s, on a slow network minutes.
pytestmark = pytest.mark.timeout(600)

MNIST = Path(__file__).parent / "data" / "mnist-small.npz"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    made = folder / "bin" / "python"
    pip: list[str | Path] = [made, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run(
        [*pip, "--require-hashes", "-r", ROOT / "requirements-serve.lock"], check=True, timeout=500
    )
    found = subprocess.run([made, "-c", "import tensorflow"], capture_output=True, check=False)
    assert found.returncode == 1
    return made


def digitd(python: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-P", "-m", "daemon", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_command_but_train_works_without_tensorflow(python: Path, tmp_path: Path) -> None:
    box = Box(tmp_path)
    for sample in SAMPLES.glob("digit*.png"):
        box.drop(sample.name, sample.read_bytes())
    checked = digitd(python, "check", "--config", box.config)
    assert checked.returncode == 0, checked.stdout
    run = digitd(python, "run", "--once", "--config", box.config)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("12 files: 12 ok")
    assert digitd(python, "audit", "--config", box.config).returncode == 0
    status = digitd(python, "status", "--json", "--config", box.config)
    assert json.loads(status.stdout)["ok"] == 12
    read = digitd(python, "predict", "--json", SAMPLES / "digit1.png")
    assert json.loads(read.stdout)["digit"] == 1
    measured = digitd(python, "evaluate", MNIST, "--json", "--pictures", tmp_path / "seen")
    assert json.loads(measured.stdout)["accuracy"] >= 0.98


@pytest.mark.parametrize("command", [("train", "--data"), ("evaluate", "--keras")])
def test_what_needs_tensorflow_says_how_to_install_it(
    python: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    work = ("--work", str(tmp_path), "--scale", "0.01") if command[0] == "train" else ()
    refused = digitd(python, *command, MNIST, *work)
    assert refused.returncode == 1
    assert "tensorflow is not installed" in refused.stderr
    assert "pip install --require-hashes -r requirements.lock" in refused.stderr
    assert "Traceback" not in refused.stderr
