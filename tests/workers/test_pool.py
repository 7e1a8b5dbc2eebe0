"""The pool with readers that crash, hang and raise, in real worker processes."""

from __future__ import annotations

import os
import shutil
import signal
import time
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon.assets import KNOWN_DIGIT, KNOWN_DIGIT_PNG, SHIPPED_MODEL
from daemon.config import Config
from daemon.errors import ModelError, WorkerStartError
from daemon.records import FileContent, Job, Reading, ReadOptions, Result, Status, Verdict
from daemon.workers.pool import Pool, worker_count
from daemon.workers.readers import Batch, BatchRead, BatchRequeued, Outcome, WorkerDied
from daemon.workers.worker import Timeouts, WorkerSettings
from support.factories import claimed
from support.waiting import DEADLINE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from daemon.workers.worker import Read

SHORT = Timeouts(start=60.0, batch=0.5, file=0.1)
LONG = Timeouts(start=60.0, batch=60.0)
OPTIONS = Config().reading


def obey(_: ReadOptions, contents: Sequence[FileContent]) -> list[Reading]:
    """Execute each file's bytes as a command; runs in the worker."""
    for content in contents:
        match content.data.split():
            case [b"exit", status]:
                os._exit(int(status))
            case [b"hang"]:
                time.sleep(3600)
            case [b"sleep", seconds]:
                time.sleep(float(seconds))
            case [b"raise"]:
                raise ValueError("told to")
            case [b"mutter", *_words]:
                os.write(2, content.data + b"\n")
                os.kill(os.getpid(), signal.SIGSEGV)
            case [b"model"]:
                raise ModelError("the model went away")
            case [b"storage"]:
                raise OSError(28, "No space left on device")
    seven = Verdict(Status.OK, KNOWN_DIGIT, 0.9, (0.09,) * 11)
    return [Reading(seven, f"{content.name} {os.getpid()}", b"picture") for content in contents]


def exit_at_once(_: ReadOptions, __: Sequence[FileContent]) -> list[Reading]:
    os._exit(3)


def fail_to_import(_: ReadOptions, __: Sequence[FileContent]) -> list[Reading]:
    raise ImportError("libsomething.so.2: cannot open shared object file")


def misread(_: ReadOptions, contents: Sequence[FileContent]) -> list[Reading]:
    return [Reading(Verdict(Status.OK, "1", 0.9), "m") for _ in contents]


def no_model(_: ReadOptions, __: Sequence[FileContent]) -> list[Reading]:
    raise ModelError("there is no model")


def meet(options: ReadOptions, contents: Sequence[FileContent]) -> list[Reading]:
    """Read a file once another worker reads one, too."""
    folder = options.model.parent
    if contents[0].name != KNOWN_DIGIT_PNG.name:
        (folder / f"reading{os.getpid()}").touch()
        while len([*folder.glob("reading*")]) < 2:
            time.sleep(0.01)
    return obey(options, contents)


def hang_if_second(options: ReadOptions, contents: Sequence[FileContent]) -> list[Reading]:
    """Load at once in the first process that creates a marker file, and hang in all others."""
    if contents[0].name == KNOWN_DIGIT_PNG.name:
        try:
            Path(options.model).touch(exist_ok=False)
        except FileExistsError:
            time.sleep(3600)
    return obey(options, contents)


class Tended:
    """A pool and a loop that calls ``tend`` like the daemon's."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.outcomes: list[Outcome] = []

    def until(self, condition: Callable[[], bool], seconds: float = DEADLINE_SECONDS) -> None:
        def turn() -> None:
            wait(self.pool.waitables, min(0.1, self.pool.seconds_left))
            self.outcomes += self.pool.poll()

        self.outcomes += self.pool.poll()
        until(condition, lambda: f"another outcome than {self.outcomes}", seconds, turn=turn)

    def until_ready(self, workers: int = 1) -> None:
        self.until(lambda: len(self.ready()) >= workers)

    def until_outcomes(self, count: int) -> list[Outcome]:
        self.until(lambda: len(self.outcomes) >= count)
        return self.outcomes

    def submit(self, *jobs: Job, alone: bool = False) -> None:
        self.until(lambda: self.pool.room(alone=alone) > 0)
        self.pool.submit(Batch(jobs, alone=alone))

    def read(self, *jobs: Job) -> Outcome:
        """Submit a batch, and return its outcome."""
        self.submit(*jobs)
        return self.until_outcomes(len(self.outcomes) + 1)[-1]

    # The tests inspect the processes themselves.
    # ruff: noqa: SLF001

    def ready(self) -> list[int]:
        """Return the process ids of the workers that are ready."""
        workers = self.pool._workers
        return [one._process.pid or 0 for one in workers if one.self_test is not None]

    def until_all_read(self) -> None:
        """Wait until every worker has begun to read."""
        self.until(lambda: all(one.was_reading() for one in self.pool._workers))

    def started(self) -> list[int]:
        return [one._process.pid or 0 for one in self.pool._workers]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Tended]]:
    made: list[Pool] = []

    def tended(read: Read = obey, timeouts: Timeouts = SHORT, workers: int = 2) -> Tended:
        options = Config(model=tmp_path / "mark").reading
        made.append(Pool(WorkerSettings(options, read, timeouts), workers))
        return Tended(made[-1])

    yield tended
    for pool in made:
        pool.close()


def ids(*jobs: Job) -> tuple[str, ...]:
    return tuple(job.id for job in jobs)


def batch_read(outcome: Outcome) -> BatchRead:
    assert isinstance(outcome, BatchRead), outcome
    return outcome


def pid_of(outcome: Outcome) -> int:
    result = batch_read(outcome).results[0]
    assert isinstance(result, Result)
    return int(result.model.split()[-1])


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_batch_is_returned_in_order_from_another_process(
    make: Callable[..., Tended], tmp_path: Path
) -> None:
    tended = make()
    tended.until_ready()
    assert tended.pool.self_test is not None
    assert tended.pool.self_test.verdict.text == KNOWN_DIGIT
    assert tended.pool.self_test.picture == b""
    jobs = [claimed(tmp_path, f"digit{number}.png") for number in (3, 1, 2)]
    outcome = batch_read(tended.read(*jobs))
    assert outcome.ids == ids(*jobs)
    assert [result.job for result in outcome.results] == jobs
    assert [result.job.picture_path.read_bytes() for result in outcome.results] == [b"picture"] * 3
    assert pid_of(outcome) in tended.ready()
    assert pid_of(outcome) != os.getpid()


def test_two_workers_read_at_the_same_time(make: Callable[..., Tended], tmp_path: Path) -> None:
    tended = make(meet, LONG)
    tended.until_ready(2)
    for number in range(2):
        tended.submit(claimed(tmp_path, f"digit{number}.png"))
    outcomes = tended.until_outcomes(2)
    assert len({pid_of(outcome) for outcome in outcomes}) == 2


def test_each_worker_gets_the_maximum_number_of_batches(
    make: Callable[..., Tended], tmp_path: Path
) -> None:
    tended = make(timeouts=LONG)
    tended.until_ready(2)
    submitted = 0
    while tended.pool.room():
        tended.pool.submit(Batch((claimed(tmp_path, f"digit{submitted}.png", b"sleep 0.2"),)))
        submitted += 1
    assert submitted == 6
    outcomes = tended.until_outcomes(6)
    pids = [pid_of(outcome) for outcome in outcomes]
    assert sorted(pids.count(pid) for pid in set(pids)) == [3, 3]


def test_worker_with_a_lone_batch_gets_no_other_batch(
    make: Callable[..., Tended], tmp_path: Path
) -> None:
    tended = make(timeouts=LONG)
    tended.until_ready(2)
    tended.submit(claimed(tmp_path, "digit1.png", b"sleep 0.5"), alone=True)
    tended.submit(claimed(tmp_path, "digit2.png", b"sleep 0.5"))
    assert not tended.pool.room(alone=True)
    for number in (3, 4):
        tended.submit(claimed(tmp_path, f"digit{number}.png"))
    assert not tended.pool.room()
    outcomes = tended.until_outcomes(4)
    alone = next(one for one in outcomes if batch_read(one).results[0].job.name == "digit1.png")
    assert [pid_of(one) for one in outcomes].count(pid_of(alone)) == 1
    assert tended.pool.room(alone=True)


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (b"exit 7", "exit status 7"),
        (b"hang", "took longer than 1 s"),
        (b"raise", "exit status 1: ValueError: told to"),
        (b"mutter last words", "killed by SIGSEGV"),
    ],
)
def test_dead_worker_reports_why_and_its_queued_batches_are_returned(
    make: Callable[..., Tended], tmp_path: Path, order: bytes, reason: str
) -> None:
    tended = make(workers=1)
    batch = [claimed(tmp_path, "digit1.png"), claimed(tmp_path, "digit2.png", order)]
    behind = claimed(tmp_path, "digit3.png")
    tended.submit(*batch)
    tended.submit(behind)
    down, returned = tended.until_outcomes(2)
    assert isinstance(down, WorkerDied)
    assert (down.ids, down.why) == (ids(*batch), reason)
    if order.startswith(b"mutter"):
        assert down.stderr == "mutter last words"
    assert returned == BatchRequeued(ids(behind))
    assert batch_read(tended.read(behind)).ids == ids(behind)


def test_stderr_from_an_earlier_batch_is_not_reported(
    make: Callable[..., Tended], tmp_path: Path
) -> None:
    tended = make(workers=1)
    down = tended.read(claimed(tmp_path, "digit1.png", b"mutter something"))
    assert isinstance(down, WorkerDied)
    later = tended.read(claimed(tmp_path, "digit2.png", b"exit 7"))
    assert isinstance(later, WorkerDied)
    assert later.stderr == ""


@pytest.mark.parametrize(
    ("number", "why"),
    [(signal.SIGKILL, "killed by SIGKILL"), (signal.SIGRTMIN + 6, "killed by signal 40")],
)
def test_killed_worker_is_reported_with_its_signal_and_replaced(
    make: Callable[..., Tended], tmp_path: Path, number: int, why: str
) -> None:
    tended = make(timeouts=LONG)
    tended.until_ready(2)
    for digit in (1, 2):
        tended.submit(claimed(tmp_path, f"digit{digit}.png", b"sleep 2"))
    killed, other = tended.ready()
    tended.until_all_read()
    os.kill(killed, number)
    down, read = tended.until_outcomes(2)
    assert isinstance(down, WorkerDied)
    assert down.why == why
    assert pid_of(read) == other
    tended.until_ready(2)
    assert killed not in tended.ready()


def test_worker_that_dies_idle_is_replaced_and_no_file_is_blamed(
    make: Callable[..., Tended], tmp_path: Path
) -> None:
    tended = make(workers=1)
    tended.until_ready()
    (first,) = tended.ready()
    os.kill(first, signal.SIGKILL)
    tended.until(lambda: tended.ready() != [first])
    outcome = tended.read(claimed(tmp_path, "digit1.png"))
    assert pid_of(outcome) != first
    assert tended.outcomes == [outcome]


def test_worker_killed_before_it_starts_a_batch_blames_no_file(
    make: Callable[..., Tended], tmp_path: Path
) -> None:
    tended = make(workers=1, timeouts=LONG)
    tended.until_ready()
    (pid,) = tended.ready()
    os.kill(pid, signal.SIGSTOP)  # it still looks alive when the batch is sent
    batch = claimed(tmp_path, "digit1.png")
    tended.submit(batch)
    os.kill(pid, signal.SIGKILL)
    assert tended.until_outcomes(1) == [BatchRequeued(ids(batch))]


def test_stopped_worker_does_not_block_the_loop_and_is_killed(
    make: Callable[..., Tended], tmp_path: Path
) -> None:
    tended = make(workers=1)
    tended.until_ready()
    (pid,) = tended.ready()
    os.kill(pid, signal.SIGSTOP)
    long_name = "7" * 190
    batches = [[claimed(tmp_path, f"{n}{long_name}.png") for n in range(70)] for _ in range(3)]
    for batch in batches:
        tended.submit(*batch)  # they fit into the pipe, or this would wait for ever
    # It had not started to read any of them, so none is to blame.
    assert tended.until_outcomes(3) == [BatchRequeued(ids(*batch)) for batch in batches]
    assert gone(pid)
    assert batch_read(tended.read(batches[0][0])).ids == ids(batches[0][0])


@pytest.mark.parametrize(
    ("order", "kind", "text"),
    [(b"model", ModelError, "the model went away"), (b"storage", OSError, "No space left")],
)
def test_batch_is_returned_after_a_fault_that_no_file_caused(
    make: Callable[..., Tended], tmp_path: Path, order: bytes, kind: type[Exception], text: str
) -> None:
    tended = make(workers=1)
    batch = claimed(tmp_path, "digit1.png", order)
    outcome = tended.read(batch)
    assert isinstance(outcome, BatchRequeued)
    assert outcome.ids == ids(batch)
    assert isinstance(outcome.error, kind)
    assert text in str(outcome.error)
    assert tended.pool.error is None


@pytest.mark.parametrize(
    ("read", "kind", "text"),
    [
        (exit_at_once, WorkerStartError, "a worker ended while loading the model: exit status 3"),
        (fail_to_import, WorkerStartError, r"exit status 1: ImportError: libsomething\.so\.2"),
        (no_model, ModelError, "there is no model"),
        (misread, ModelError, f"reads {KNOWN_DIGIT_PNG.name} as 1 .* it is a {KNOWN_DIGIT}"),
    ],
)
def test_worker_that_cannot_start_reports_the_cause(
    make: Callable[..., Tended], tmp_path: Path, read: Read, kind: type[Exception], text: str
) -> None:
    shutil.copy(SHIPPED_MODEL, tmp_path / "mark")  # says what it reads in the known digit
    tended = make(read)
    tended.until(lambda: tended.pool.error is not None)
    with pytest.raises(kind, match=text):
        raise tended.pool.error or AssertionError
    assert tended.pool.self_test is None
    assert not tended.pool.room()


def test_fault_is_cleared_when_a_worker_starts(make: Callable[..., Tended], tmp_path: Path) -> None:
    tended = make(needs_mark)
    tended.until(lambda: tended.pool.error is not None)
    (tmp_path / "mark").touch()
    tended.until_ready(2)
    assert tended.pool.error is None
    assert batch_read(tended.read(claimed(tmp_path, "digit1.png")))


def needs_mark(options: ReadOptions, contents: Sequence[FileContent]) -> list[Reading]:
    if not options.model.exists():
        raise ModelError("there is no model yet")
    return obey(options, contents)


def test_worker_that_hangs_while_loading_is_killed(
    make: Callable[..., Tended], tmp_path: Path
) -> None:
    tended = make(timeouts=Timeouts(start=5.0), workers=1)
    tended.until(lambda: len(tended.started()) == 1)
    (pid,) = tended.started()
    os.kill(pid, signal.SIGSTOP)
    tended.until(lambda: gone(pid))
    assert len(batch_read(tended.read(claimed(tmp_path, "digit1.png"))).results) == 1


def test_worker_has_time_to_hash_a_large_file(make: Callable[..., Tended], tmp_path: Path) -> None:
    tended = make(timeouts=Timeouts(start=60.0, batch=0.05, file=0.0), workers=1)
    job = claimed(tmp_path, "digit1.png", b"")
    os.truncate(job.path, 1 << 30)
    (result,) = batch_read(tended.read(replace(job, size=1 << 30))).results
    assert isinstance(result, Result)
    assert result.sha256 == "49bc20df15e412a64472421e13fe86ff1c5165e18b2afccf160d4dc19fe68a14"


def test_worker_that_dies_loading_does_not_affect_a_ready_one(
    make: Callable[..., Tended], tmp_path: Path
) -> None:
    # One worker is ready, and the other never will be: it is killed, and so is each replacement.
    # Then the ready one hangs and must be killed too.
    tended = make(hang_if_second, Timeouts(start=60.0, batch=1.0, file=0.0))
    tended.until_ready()
    (ready,) = tended.ready()
    (loading,) = set(tended.started()) - {ready}
    os.kill(loading, signal.SIGKILL)
    tended.until(lambda: gone(loading) and len(tended.started()) == 2)
    assert tended.ready() == [ready]
    assert pid_of(tended.read(claimed(tmp_path, "digit1.png"))) == ready
    hanging = claimed(tmp_path, "digit2.png", b"hang")
    down = tended.read(hanging)
    assert down == WorkerDied(ids(hanging), "took longer than 1 s", "")
    assert gone(ready)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("pause", [0.0, 0.1, 0.3])
def test_close_does_not_wait_for_a_starting_worker(
    make: Callable[..., Tended], pause: float
) -> None:
    tended = make(hang_if_second, Timeouts(start=3600.0, batch=3600.0))
    tended.pool.poll()
    time.sleep(pause)  # reaches a different stage of the start each time
    pids = tended.started()
    tended.pool.close()
    assert all(map(gone, pids))


def test_close_kills_a_worker_that_is_reading(make: Callable[..., Tended], tmp_path: Path) -> None:
    tended = make(timeouts=LONG)
    tended.until_ready(2)
    tended.submit(claimed(tmp_path, "digit1.png", b"hang"))
    pids = tended.started()
    tended.pool.close()
    assert all(map(gone, pids))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_to_the_process_group_ends_no_worker(
    make: Callable[..., Tended], tmp_path: Path, number: signal.Signals
) -> None:
    tended = make()
    tended.until_ready(2)
    before = tended.ready()
    for pid in before:
        os.kill(pid, number)
    for digit in range(4):
        assert pid_of(tended.read(claimed(tmp_path, f"digit{digit}.png"))) in before
    assert tended.ready() == before


def test_number_of_workers_is_as_configured_or_fits_the_machine() -> None:
    assert worker_count(3) == 3
    assert 1 <= worker_count("auto") <= min(4, len(os.sched_getaffinity(0)))
