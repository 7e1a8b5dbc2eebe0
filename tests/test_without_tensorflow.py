"""A machine that only reads: digitd with the packages of requirements.lock."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from support.daemon import ROOT, SAMPLES, Box

MNIST = Path(__file__).parent / "data" / "mnist-small.npz"
LOCKED = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))


@pytest.fixture(scope="module")
def missing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for PYTHONPATH that hides what requirements.lock does not install."""
    folder = tmp_path_factory.mktemp("missing")
    for module, distributions in packages_distributions().items():
        names = {re.sub(r"[-_.]+", "-", each).lower() for each in distributions}
        # Names with an underscore are not packages; site imports setuptools' _distutils_hack.
        if module.isidentifier() and not module.startswith("_") and not names & LOCKED:
            (folder / f"{module}.py").write_text(
                f'raise ModuleNotFoundError("No module named {module!r}", name="{module}")\n'
            )
    return folder


def run(missing: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", *arguments],
        env={**os.environ, "PYTHONPATH": f"{missing}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def digitd(missing: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run(missing, "-m", "daemon", *arguments)


@pytest.mark.parametrize("package", ["tensorflow", "keras", "pandas"])
def test_packages_outside_the_lock_cannot_be_imported(missing: Path, package: str) -> None:
    found = run(missing, "-c", f"import {package}")
    assert found.returncode == 1
    assert f"ModuleNotFoundError: No module named '{package}'" in found.stderr


def test_every_command_but_train_works_without_tensorflow(missing: Path, box: Box) -> None:
    for sample in SAMPLES.glob("digit*.png"):
        box.drop(sample.name, sample.read_bytes())
    checked = digitd(missing, "check", "--config", box.config)
    assert checked.returncode == 0, checked.stdout
    run = digitd(missing, "run", "--once", "--config", box.config)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("12 files: 12 ok")
    assert digitd(missing, "audit", "--config", box.config).returncode == 0
    status = digitd(missing, "status", "--json", "--config", box.config)
    assert json.loads(status.stdout)["ok"] == 12
    read = digitd(missing, "predict", "--json", SAMPLES / "digit1.png")
    assert json.loads(read.stdout)["digit"] == "1"
    measured = digitd(missing, "evaluate", MNIST, "--json", "--pictures", box.folder / "seen")
    assert json.loads(measured.stdout)["accuracy"] >= 0.98


@pytest.mark.parametrize("command", [("train", "--data"), ("evaluate", "--keras")])
def test_what_needs_tensorflow_says_how_to_install_it(
    missing: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    work = ("--work", str(tmp_path), "--scale", "0.01") if command[0] == "train" else ()
    refused = digitd(missing, *command, MNIST, *work)
    assert refused.returncode == 1
    assert "tensorflow is not installed" in refused.stderr
    assert "pip install 'digitd[train]'" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not refused.stdout
    assert "Traceback" not in refused.stderr
