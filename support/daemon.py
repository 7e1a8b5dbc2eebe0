"""Start the real program in a temporary folder, drop real files, check the results."""

from __future__ import annotations

import csv
import hashlib
import os
import pty
import resource
import signal
import subprocess
import sys
import termios
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from daemon.config import load
from daemon.outbox.audit import Audit, find_discrepancies
from support.waiting import DEADLINE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "samples"
DIGITD = [sys.executable, "-P", "-m", "daemon"]
# The daemon with a stand-in reader instead of TensorFlow; it starts in half a second.
STAND_IN = [sys.executable, "-m", "support.stand_in"]
SHORT_RETRIES = [sys.executable, "-m", "support.short_retries"]
# Root may do everything, unless these capabilities are dropped.
AS_USER = (
    ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
)


def digitd(
    *arguments: str | Path, cwd: Path = ROOT, prefix: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; ``prefix`` is what starts it, such as ``AS_USER``."""
    return subprocess.run(
        [*prefix, *DIGITD, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def verify_unit(unit: Path) -> None:
    """Check that systemd accepts a unit file."""
    verify = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert unit.name.partition(".")[0] not in verify.stderr, verify.stderr


class Terminal:
    """A terminal with 120 columns for a program to write to; ``text`` is its whole output."""

    def __init__(self) -> None:
        self._ours, self.programs = pty.openpty()
        termios.tcsetwinsize(self.programs, (30, 120))
        self.text = ""
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.programs)
        self._reading.join()
        os.close(self._ours)

    def _read(self) -> None:
        with suppress(OSError):  # EIO: no program has the terminal open any more
            while data := os.read(self._ours, 65536):
                self.text += data.decode(errors="replace")


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Limit the size of files: a write beyond it is short, and the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# Settings with which a file of a test has its row soon.
QUICK: dict[str, object] = {"workers": 2, "settle_seconds": 0.2, "incomplete_seconds": 0.5}


@dataclass
class Box:
    """A folder with a config, an inbox and an outbox."""

    folder: Path
    settings: dict[str, object] = field(default_factory=QUICK.copy)

    def __post_init__(self) -> None:
        self.inbox.mkdir(parents=True, exist_ok=True)
        self.outbox.mkdir(exist_ok=True)
        self.configure()

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    @property
    def outbox(self) -> Path:
        return self.folder / "outbox"

    @property
    def work(self) -> Path:
        return self.inbox / ".digitd"

    @property
    def table(self) -> Path:
        return self.outbox / "predictions.csv"

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    def configure(self, **settings: object) -> None:
        self.settings |= settings
        lines = (f"{key}: {value}\n" for key, value in self.settings.items())
        self.config.write_text("".join(lines))

    def drop(self, name: str, data: bytes) -> None:
        """Move a complete file into the inbox."""
        made = self.folder / f"made-{name}"
        made.write_bytes(data)
        made.rename(self.inbox / name)

    def rows(self) -> list[dict[str, str]]:
        if not self.table.exists():
            return []
        with self.table.open(encoding="utf-8", newline="") as lines:
            return list(csv.DictReader(lines))

    def row(self, name: str) -> dict[str, str]:
        (row,) = (row for row in self.rows() if row["file"] == name)
        return row

    def wait_for_rows(self, count: int) -> list[dict[str, str]]:
        until(lambda: len(self.rows()) >= count, lambda: f"{count} rows, there are {self.rows()}")
        return self.rows()

    def wait_until_settled(self) -> None:
        """Wait until the work folder is empty, so that all files are published."""
        until(lambda: not self.claimed(), "an empty work folder")

    def claimed(self) -> list[Path]:
        return list(self.work.glob("d*-*"))

    def check_books(self, dropped: dict[str, bytes]) -> None:
        """Check that each dropped file has one row, its bytes and a picture, and run the audit."""
        rows = self.rows()
        assert sorted(row["file"] for row in rows) == sorted(dropped)
        for row in rows:
            data = dropped[row["file"]]
            assert (self.outbox / row["original"]).read_bytes() == data
            assert row["sha256"] == hashlib.sha256(data).hexdigest()
            assert (self.outbox / row["picture"]).stat().st_size > 0
        assert find_discrepancies(load(self.config)) == Audit(len(rows), len(rows), 0, ())


class Daemon:
    """A running daemon, with its workers in a separate process group."""

    def __init__(self, box: Box, command: list[str] = DIGITD, *arguments: str) -> None:
        self.box = box
        self._log = box.folder / "log"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "run", "--config", str(box.config), *arguments],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for_log(self, text: str, times: int = 1) -> None:
        self.until(
            lambda: self.log.count(text) >= times, lambda: f"{text!r} in the log:\n{self.log}"
        )

    def until(
        self,
        condition: Callable[[], bool],
        what: str | Callable[[], str],
        seconds: float = DEADLINE_SECONDS,
        pause: float = 0.02,
    ) -> None:
        """Wait for a condition that only a running daemon can fulfil."""

        def check() -> bool:
            has_ended = self.process.poll() is not None
            found = condition()
            assert found or not has_ended, self.log
            return found

        until(check, what, seconds, turn=lambda: time.sleep(pause))

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self, seconds: float = 10.0) -> int:
        self.send(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL the daemon and its workers at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(DEADLINE_SECONDS)

    def workers(self) -> list[int]:
        """Return the process ids of the workers (not of multiprocessing's resource tracker)."""
        return [pid for pid in self.children() if "spawn_main" in _command_line(pid)]

    def children(self) -> list[int]:
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for file in tasks for pid in file.read_text().split()]


def run_once(box: Box, command: list[str] = STAND_IN) -> str:
    """Read everything in the inbox; return the log."""
    with Daemon(box, command, "--once") as running:
        assert running.process.wait(DEADLINE_SECONDS) == 0, running.log
        return running.log


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def bytes_read(pid: int) -> int:
    """Return how many bytes a process has read so far, from the disk or not."""
    counts = Path(f"/proc/{pid}/io").read_text()
    return int(counts.split("rchar: ")[1].split()[0])
