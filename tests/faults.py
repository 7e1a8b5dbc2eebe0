"""Random faults: make calls on digitd's files fail, then prove that nothing was lost.

``python -m tests.faults [--trials 200] [--seed 7] [--box FOLDER]``

In each trial the real daemon with two workers reads some files, and a random call (open, fsync,
rename, …) fails with a random errno of a realistic list: once, some times in a row, or for 2.5
seconds; in the daemon or in its workers; while it runs or while it starts. Then the fault ends.
Each file must get exactly one row, no good file may be blamed, all bytes must be in originals/ or
failed/, the audit must find nothing, and the daemon must still run. A daemon that ended with 1
while it started is started again, as systemd does.

Faults are injected by a small library for LD_PRELOAD, which gcc compiles from faults.c. It lets
only calls fail that name something in the inbox, the outbox or the config file, by a path or a
descriptor. Excepted are pipes, eventfd, poll and memory calls, which name none of them, and fcntl,
lseek and mmap, which no disk makes fail. Which calls can fail, and how often each is made, is
counted in a first run without faults.

Each trial that goes wrong leaves its box for inspection. Trial N of a seed makes the same choices
again, but processes run in another order.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from ctypes import Structure, c_char, c_int
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.config import load
from daemon.inbox.put import retry_file
from daemon.loop.status import State, read_health
from daemon.outbox.audit import find_discrepancies
from support.daemon import DIGITD, ROOT, SAMPLES, Box, Daemon
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).with_name("faults.c")
SHORT = -1  # in place of an errno: half of the data is written, as on a disk that becomes full
_DISK = (errno.EIO, errno.ESTALE)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE)
_NAMES = (*_FULL, errno.EROFS, errno.EACCES, errno.ENOMEM)
# What each call can fail with on a disk, a network file system, or a machine that is short of
# something (their manual pages, section ERRORS).
CALLS: dict[str, tuple[int, ...]] = {
    "open": (*_NAMES, errno.EMFILE, errno.ENFILE, errno.EPERM, errno.ENXIO, errno.ENOENT),
    "getdents": (*_DISK, errno.ENOMEM),
    "read": (*_DISK, errno.ENOMEM),
    "pread": (*_DISK, errno.ENOMEM),
    "write": (*_FULL, SHORT),
    "pwrite": (*_FULL, SHORT),
    "fsync": _FULL,
    "syncfs": _FULL,
    "rename": _NAMES,
    "renameat2": _NAMES,
    "link": _NAMES,
    "unlink": (*_DISK, errno.EROFS, errno.EACCES, errno.EBUSY),
    "mkdir": _NAMES,
    "ftruncate": _FULL,
    "stat": (*_DISK, errno.EACCES, errno.ENOMEM),
    "fstat": (*_DISK, errno.ENOMEM),
    "statvfs": (*_DISK, errno.EACCES),
    "flock": (errno.EIO, errno.ENOLCK),
    "inotify_add_watch": (errno.ENOSPC, errno.ENOMEM, errno.EACCES),
    "utimensat": (*_DISK, errno.EPERM, errno.EROFS),
    "chmod": (*_DISK, errno.EPERM, errno.EROFS),
    "close": _FULL,
}
_START_SHARE, _WORKER_SHARE = 0.25, 0.4  # of the trials
FOR_A_WHILE = 1 << 30
# A paused daemon meets the fault, too: it writes its status once a second.
_WHILE_SECONDS = 2.5
_READY_SECONDS = 120.0
# A file whose storage failed is read again after 10 s, and once more after 60 s.
_DONE_SECONDS = 150.0
_INJECTED_SECONDS = 4.0  # by then the call is made as often as it was without faults
_GOOD = 6  # files in each trial
_TRIALS_IN_A_BOX = 40  # the audit of a box with more rows takes longer than the trial


class Control(Structure):
    """``struct control`` of faults.c, in a file that all processes map."""

    _fields_ = [
        *((name, c_int) for name in ("parent", "is_on", "call", "in_worker", "error", "skip")),
        ("left", c_int),
        ("injected", c_int),
        ("seen", (c_int * len(CALLS)) * 2),
        ("part", c_char * 64),
        ("where", c_char * 256),
    ]


@dataclass(frozen=True)
class Fault:
    """What fails in a trial.

    Attributes:
        when: at which of the counted calls, from 0 to 1.
        times: how many calls in a row; ``FOR_A_WHILE`` for all within ``_WHILE_SECONDS``.
        part: only calls on paths that contain this.
    """

    call: str
    error: int
    in_worker: bool = False
    at_start: bool = False
    when: float = 0.0
    times: int = 1
    part: bytes = b""

    @property
    def error_name(self) -> str:
        return "short" if self.error == SHORT else errno.errorcode[self.error]

    def __str__(self) -> str:
        process = "worker" if self.in_worker else "daemon"
        times = f"for {_WHILE_SECONDS:g} s" if self.times == FOR_A_WHILE else f"{self.times} times"
        phase = "starting" if self.at_start else "running"
        return f"{self.call} {self.error_name} {times}, {process}, {phase}"


@dataclass
class Expected:
    """The rows that a box must have: how many for each name and SHA-256."""

    rows: Counter[tuple[str, str]] = field(default_factory=Counter)
    bad: set[str] = field(default_factory=set)  # names of broken files
    failed: list[str] = field(default_factory=list)  # names in failed/

    def add(self, name: str, data: bytes, *, is_bad: bool) -> None:
        self.rows[name, hashlib.sha256(data).hexdigest()] += 1
        if is_bad:
            self.bad.add(name)


class Bench:
    """A box and the daemon on it, whose calls can be made to fail."""

    def __init__(self, library: Path, folder: Path) -> None:
        self.box = Box(folder / "box")
        self.box.configure(rescan_seconds=1)
        self.expected = Expected()
        self._config = load(self.box.config)
        file = folder / "control"
        file.write_bytes(bytes(Control()))
        with file.open("r+b") as opened:
            self.control = Control.from_buffer(mmap.mmap(opened.fileno(), 0))
        self.control.parent = os.getpid()
        settings = {"FAULTS_BOX": self.box.folder, "FAULTS_CONTROL": file, "LD_PRELOAD": library}
        self._command = ["env", *(f"{key}={value}" for key, value in settings.items()), *DIGITD]
        self.trials = 0
        self._daemon: Daemon | None = None
        self._starts = 0
        self.start()
        self.wait_until_ready()

    @property
    def daemon(self) -> Daemon:
        assert self._daemon is not None
        return self._daemon

    @property
    def is_ready(self) -> bool:
        """Whether the daemon has become ready since it was started."""
        return self.daemon.log.count("is ready: drop") > self._starts

    def start(self) -> None:
        if self._daemon is not None:
            self._starts = self.daemon.log.count("is ready: drop")
        self._daemon = Daemon(self.box, self._command)

    def wait_until_ready(self) -> None:
        until(lambda: self.is_ready, "ready", _READY_SECONDS)

    def kill(self) -> None:
        if self._daemon is not None and self._daemon.process.poll() is None:
            self._daemon.kill()

    def arm(self, fault: Fault, seen: int) -> None:
        control = self.control
        control.is_on = 0
        control.call = list(CALLS).index(fault.call)
        control.in_worker = fault.in_worker
        control.error = fault.error
        control.skip = int(fault.when * seen)
        control.left = fault.times
        control.injected = 0
        control.part = fault.part
        control.where = b""
        control.is_on = 1

    def drop(self, chance: random.Random) -> None:
        """Drop files: durably and not, renamed and written in place, a broken and a retried one."""
        self.trials += 1
        number = self.trials
        for index in range(_GOOD):
            image = (SAMPLES / f"digit{chance.randint(1, 12)}.png").read_bytes()
            self._put(f"digit{number}-{index}.png", image, chance, is_bad=False)
            time.sleep(chance.choice((0, 0, 0.05)))
        # Its name is taken in the outbox.
        again = (SAMPLES / "digit1.png").read_bytes()
        self._put("digit0-again.png", again, chance, is_bad=False)
        self._put(f"digit{number}-bad.png", b"not an image\n", chance, is_bad=True)
        if self.expected.failed:
            name = self.expected.failed.pop()
            with suppress(FileNotFoundError):
                data = (self.box.outbox / "failed" / name).read_bytes()
                self.expected.add(retry_file(self._config, name), data, is_bad=True)

    def _put(self, name: str, start: bytes, chance: random.Random, *, is_bad: bool) -> None:
        data = start + b"%x" % chance.getrandbits(64)
        self.expected.add(name, data, is_bad=is_bad)
        target = self.box.inbox / name
        hidden = chance.choice((True, True, False))
        written = target.with_name(f".{name}") if hidden else target
        with written.open("wb") as file:
            file.write(data)
            if chance.random() < 0.5:
                file.flush()
                os.fsync(file.fileno())
        if hidden:
            written.rename(target)

    def counts(self) -> Counter[tuple[str, bool]]:
        """Return how often each call was made by the daemon, and by its workers."""
        return Counter(
            {
                (call, bool(role)): self.control.seen[role][number]
                for role in range(2)
                for number, call in enumerate(CALLS)
            }
        )

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.box.folder.parent)

    def unpublished(self) -> list[str]:
        """Return the names of claimed files and of their pictures in the work folder."""
        return sorted(file.name for file in self.box.work.glob("d*[-.]*"))

    def waiting(self) -> list[str]:
        return sorted(file.name for file in self.box.inbox.glob("[!.]*"))

    def describe(self) -> str:
        """Return why it is not done."""
        missing = sorted(name for name, _ in self.expected.rows - self.rows())
        waiting = self.waiting()
        health, left = read_health(self._config), self.unpublished()
        return f"{health}; without a row: {missing}; in the inbox: {waiting}; unpublished: {left}"

    def rows(self) -> Counter[tuple[str, str]]:
        return Counter((row["file"], row["sha256"]) for row in self.box.rows())

    def is_done(self) -> bool:
        """Return whether all files have their rows and are published.

        Raises:
            TrialError: a good file was blamed.
        """
        for row in self.box.rows():
            if row["status"] == "error" and row["file"] not in self.expected.bad:
                raise TrialError("blamed", f"{row['file']}: {row['reason']}")
        missing = self.expected.rows - self.rows()
        return (
            not missing
            and not self.unpublished()
            and not self.waiting()
            and read_health(self._config).state is State.RUNNING
        )

    def check(self) -> None:
        """Check all rows and files.

        Raises:
            TrialError: something is wrong.
        """
        rows, found = self.box.rows(), self.rows()
        if extra := found - self.expected.rows:
            raise TrialError("twice", str(extra))
        latest = {(row["file"], row["sha256"]): row for row in rows}
        for (name, sha256), row in latest.items():
            try:
                data = (self.box.outbox / row["original"]).read_bytes()
            except OSError as error:
                raise TrialError("lost", f"{name}: {error}") from None
            if hashlib.sha256(data).hexdigest() != sha256:
                raise TrialError("altered", f"{name}: {row['original']}")
        if discrepancies := find_discrepancies(self._config).discrepancies:
            raise TrialError("audit", "; ".join(map(str, discrepancies)))
        in_failed = sorted((self.box.outbox / "failed").iterdir())
        self.expected.failed = [file.name for file in in_failed][:1]


class TrialError(Exception):
    """A trial went wrong: what, and how."""

    def __init__(self, what: str, how: str) -> None:
        super().__init__(f"{what}: {how}")
        self.what = what


def compile_library(folder: Path) -> Path:
    """Compile faults.c; return the library."""
    if shutil.which("gcc") is None:
        sys.exit("tests.faults: gcc is missing: install gcc and libc6-dev")
    library = folder / "faults.so"
    numbers = [f"-DCALL_{name}={number}" for number, name in enumerate(CALLS)]
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    command = ["gcc", *options, *numbers, f"-DCALLS={len(CALLS)}", str(SOURCE), "-o", str(library)]
    subprocess.run([*command, "-ldl"], check=True, cwd=ROOT)
    return library


def run_trial(bench: Bench, fault: Fault | None, seen: int, seed: str) -> str:
    """Run one trial; return what came of it.

    Args:
        bench: the box, whose daemon runs.
        fault: what fails; ``None`` to count the calls.
        seen: how often the call was made without faults.
        seed: of the files' contents and the moments.

    Raises:
        TrialError: something is wrong.
    """
    chance = random.Random(seed)
    if fault is not None and not fault.at_start:
        bench.arm(fault, seen)
    bench.drop(chance)
    if fault is not None and fault.at_start:
        # Killed with files at any step, so that there is something to recover.
        time.sleep(chance.uniform(0, 0.3))
        bench.kill()
        bench.arm(fault, seen)
        bench.start()
    was_reached = _wait_for_fault(bench, fault)
    bench.control.is_on = 0
    outcome = "fine" if was_reached else "not reached"
    deadline = time.monotonic() + _DONE_SECONDS
    while not bench.is_done():
        status = bench.daemon.process.poll()
        if status is not None:
            if status != 1 or bench.is_ready:
                raise TrialError("ended", f"with {status}")
            outcome = "restarted"
            bench.start()
        if time.monotonic() > deadline:
            raise TrialError("wedged", bench.describe())
        time.sleep(0.05)
    bench.check()
    return outcome


def _wait_for_fault(bench: Bench, fault: Fault | None) -> bool:
    """Wait until the fault is over; return whether any call failed."""
    if fault is None:
        return False
    deadline = time.monotonic() + (_READY_SECONDS if fault.at_start else _INJECTED_SECONDS)
    while time.monotonic() < deadline and bench.daemon.process.poll() is None:
        if bench.control.injected:
            # The rest of some in a row may come later, or never.
            time.sleep(_WHILE_SECONDS if fault.times == FOR_A_WHILE else 0.1 * (fault.times - 1))
            return True
        if fault.at_start and bench.is_ready and bench.is_done():
            break
        time.sleep(0.01)
    return bool(bench.control.injected)


@dataclass
class Campaign:
    """All trials of a seed: what is to be done, and what came of it."""

    folder: Path
    library: Path
    seed: int
    trials: int
    seen: dict[tuple[str, bool, bool], int] = field(default_factory=dict)
    outcomes: Counter[tuple[Fault, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    started: int = 0

    def create_bench(self) -> Bench:
        return Bench(self.library, Path(tempfile.mkdtemp(prefix="box-", dir=self.folder)))

    def count_calls(self) -> None:
        """Count how often each call is made in a trial without faults, and in a start."""
        bench = self.create_bench()
        for at_start in (False, True):
            before = bench.counts()
            if at_start:
                bench.drop(random.Random(0))
                bench.kill()
                bench.start()
                bench.wait_until_ready()
                until(bench.is_done, "the files after a start")
            else:
                run_trial(bench, None, 0, "0")
            for (call, in_worker), count in (bench.counts() - before).items():
                self.seen[call, in_worker, at_start] = count
        bench.remove()

    def choose(self, number: int) -> Fault:
        """Return the fault of a trial."""
        chance = random.Random(f"{self.seed}-{number}")
        at_start = chance.random() < _START_SHARE
        in_worker = chance.random() < _WORKER_SHARE
        call = chance.choice([call for call in CALLS if (call, in_worker, at_start) in self.seen])
        errors = [
            error for error in CALLS[call] if error != errno.ENOENT or (in_worker and not at_start)
        ]
        error = chance.choice(errors)
        times = chance.choice((1, 1, 1, 3, FOR_A_WHILE))
        # A file that is away for longer than a moment is rightly an error.
        times = 1 if error == errno.ENOENT else times
        return Fault(call, error, in_worker, at_start, chance.random(), times)

    def run(self) -> None:
        """Run trials until all are done; some threads do."""
        bench = self.create_bench()
        while (number := self._next()) is not None:
            fault = self.choose(number)
            seen = self.seen[fault.call, fault.in_worker, fault.at_start]
            try:
                outcome = run_trial(bench, fault, seen, f"{self.seed}-{number}")
            except TrialError as error:
                outcome = error.what
                where = os.fsdecode(bench.control.where)
                self._report(
                    f"trial {number}: {fault}: {error}: first at {where}: {bench.box.folder}"
                )
                bench.kill()
                bench = self.create_bench()
            with self.lock:
                self.outcomes[fault, outcome] += 1
            if bench.trials == _TRIALS_IN_A_BOX:
                bench.remove()
                bench = self.create_bench()
        bench.remove()

    @property
    def reached(self) -> int:
        """The number of trials in which a call failed."""
        return sum(count for (_, what), count in self.outcomes.items() if what != "not reached")

    def _next(self) -> int | None:
        with self.lock:
            if self.reached >= self.trials:
                return None
            self.started += 1
            return self.started

    def _report(self, text: str) -> None:
        with self.lock:
            self.failures.append(text)
            click.echo(f"\n{text}", err=True)

    def table(self) -> Iterator[str]:
        """Yield lines with the number of trials for each call and errno, and what came of them."""
        grouped: Counter[tuple[str, str, str]] = Counter()
        for (fault, outcome), count in self.outcomes.items():
            grouped[fault.call, fault.error_name, outcome] += count
        for call in CALLS:
            for error in sorted({error for one, error, _ in grouped if one == call}):
                results = {what: grouped[call, error, what] for what in _OUTCOMES}
                text = ", ".join(f"{count} {what}" for what, count in results.items() if count)
                yield f"{call:18}{error:8}{text}"


_OUTCOMES = (
    *("fine", "restarted", "not reached"),
    *("lost", "twice", "altered", "blamed", "wedged", "ended", "audit"),
)


@click.command()
@click.option("--trials", default=200, show_default=True, help="In which a call fails.")
@click.option("--seed", default=7, show_default=True)
@click.option("--boxes", default=2, show_default=True, help="That are tried at the same time.")
@click.option("--only", type=int, help="Run this trial and no other.")
def main(trials: int, seed: int, boxes: int, only: int | None) -> None:
    """Inject random faults into the running daemon; check the result."""
    folder = Path(tempfile.mkdtemp(prefix="digitd-faults-")).resolve()
    campaign = Campaign(folder, compile_library(folder), seed, trials)
    campaign.count_calls()
    if only is not None:
        campaign.started, campaign.trials, boxes = only - 1, 1, 1
    threads = [threading.Thread(target=campaign.run) for _ in range(boxes)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        wrong = len(campaign.failures)
        text = f"\r{campaign.reached} of {campaign.trials} faults, {wrong} went wrong"
        click.echo(text, err=True, nl=False)
        time.sleep(1)
    click.echo(err=True)
    for line in campaign.table():
        click.echo(line)
    click.echo(f"seed {seed}: {campaign.reached} faults, {len(campaign.failures)} went wrong")
    for failure in campaign.failures:
        click.echo(failure)
    if not campaign.failures:
        shutil.rmtree(folder)
    sys.exit(bool(campaign.failures))


if __name__ == "__main__":
    main()
