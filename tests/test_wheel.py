"""The wheel: what is in it, that a second build is the same, and that it works when installed."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import daemon
from support.daemon import ROOT, SAMPLES

# Building and installing count against the first test.
pytestmark = pytest.mark.timeout(300)
INFO = f"digitd-{daemon.__version__}.dist-info"
METADATA = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
MAN = {
    f"digitd-{daemon.__version__}.data/data/share/man/{page}"
    for page in ("man1/digitd.1", "man5/digitd.yaml.5")
}
# Besides the modules: the kinds of files that the program needs, with one of each.
DATA = {
    "daemon/assets/config.yaml",
    "daemon/assets/container.sh",
    "daemon/assets/digitd.service",
    "daemon/assets/digits.keras",
    "daemon/assets/known-digit.png",
    "daemon/assets/replay.npz",
    "daemon/assets/sandbox.conf",
    "daemon/py.typed",
    "daemon/review/static/style.css",
    "daemon/review/templates/error.html",
}


def run(*command: str | Path, cwd: Path) -> str:
    env = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def copy_source(folder: Path) -> Path:
    """Copy what a clone has, without what a run leaves in it."""
    shutil.copytree(
        ROOT / "daemon", folder / "daemon", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(ROOT / "docs" / "man", folder / "docs" / "man")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an environment with the build backend, and behind it the packages of this one."""
    folder = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    run(folder / "bin" / "pip", "install", "--quiet", *backend, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "behind.pth").write_text("\n".join(site.getsitepackages()))
    return folder


@pytest.fixture(scope="module")
def wheel(venv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first")
    return build(venv, copy_source(folder / "source"), folder)


def build(venv: Path, source: Path, folder: Path) -> Path:
    run(venv / "bin" / "hatchling", "build", "--target", "wheel", "-d", folder, cwd=source)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_wheel_has_the_program_and_nothing_else(wheel: Path) -> None:
    assert wheel.name == f"digitd-{daemon.__version__}-py3-none-any.whl"
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "daemon").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(wheel) as archive:
        assert set(archive.namelist()) == files | MAN | {f"{INFO}/{name}" for name in METADATA}
        about = message_from_bytes(archive.read(f"{INFO}/METADATA"))
    assert files >= DATA
    needed = [text for text in about.get_all("Requires-Dist", []) if "extra ==" not in text]
    assert len(needed) > 10
    assert not [text for text in needed if text.startswith(("tensorflow", "keras", "distributed"))]
    assert "Project-URL" not in about, "an address that nobody has reserved"


def test_second_build_is_the_same(venv: Path, wheel: Path, tmp_path: Path) -> None:
    source = copy_source(tmp_path / "another name")
    for path in source.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    umask = os.umask(0o077)
    try:
        again = build(venv, source, tmp_path)
    finally:
        os.umask(umask)
    assert again.read_bytes() == wheel.read_bytes()


def test_installed_wheel_works_from_any_folder(venv: Path, wheel: Path, tmp_path: Path) -> None:
    run(venv / "bin" / "pip", "install", "--quiet", "--no-deps", wheel, cwd=tmp_path)
    digitd, python = venv / "bin" / "digitd", venv / "bin" / "python"
    where = run(python, "-c", "import daemon; print(daemon.__file__)", cwd=tmp_path)
    assert where.startswith(str(venv))
    for command in ([digitd], [python, "-m", "daemon"]):
        assert daemon.__version__ in run(*command, "--version", cwd=tmp_path)
    assert ": 7 " in run(digitd, "predict", SAMPLES / "digit7.png", cwd=tmp_path)
    run(digitd, "init", ".", cwd=tmp_path)
    shutil.copy(SAMPLES / "digit7.png", tmp_path / "inbox")
    assert "1 ok" in run(digitd, "run", "--once", cwd=tmp_path)
    assert "ExecStart" in run(digitd, "service", "--review", cwd=tmp_path)
    with subprocess.Popen(
        [digitd, "review", "--no-browser", "--port", "0"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": ""},
        stdout=subprocess.PIPE,
        text=True,
    ) as page:
        assert page.stdout is not None
        assert "The review page: http://127.0.0.1:" in page.stdout.readline()
        page.terminate()
