"""Fixtures that several folders of tests share, and the tests of `make check`."""

from __future__ import annotations

import os
import sys
import tempfile
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from daemon.config import Config
from support.daemon import Box
from support.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

_STARTS = {
    *("subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn"),
    "support.programs.require",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-processes",
        action="store_true",
        help="skip each test at the moment it starts a process",
    )


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--no-processes"):
        return
    # A test that is skipped while it starts something leaves threads and descriptors behind.
    for warning in ("PytestUnhandledThreadExceptionWarning", "PytestUnraisableExceptionWarning"):
        config.addinivalue_line("filterwarnings", f"ignore::pytest.{warning}")

    def audit(event: str, _: tuple[Any, ...]) -> None:
        if event in _STARTS and "PYTEST_CURRENT_TEST" in os.environ:
            pytest.skip("starts a process: `make test` runs it")

    sys.addaudithook(audit)
    # multiprocessing spawns its processes without an audit event.
    start = BaseProcess.start

    def audited_start(process: BaseProcess) -> None:
        audit("os.fork", ())
        start(process)

    BaseProcess.start = audited_start  # type: ignore[method-assign, assignment]


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """Return a folder with a config, an inbox and an outbox."""
    return Box(tmp_path)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return such a folder, to which rows can be added without a daemon."""
    return Site(tmp_path)


@pytest.fixture
def config(box: Box) -> Config:
    """Return the settings of a box that has all defaults."""
    return Config(inbox=box.inbox, outbox=box.outbox)


@pytest.fixture
def inbox(box: Box) -> Path:
    return box.inbox


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder on a different file system from ``tmp_path``."""
    shm = Path("/dev/shm")  # noqa: S108 - made unique below
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to write to")
    with tempfile.TemporaryDirectory(dir=shm) as folder:
        yield Path(folder)
