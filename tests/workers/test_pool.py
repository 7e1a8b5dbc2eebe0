"""The lanes with readers that crash, hang and raise: real worker processes, a second each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon.assets import KNOWN_DIGIT, KNOWN_DIGIT_PNG
from daemon.errors import ModelError, WorkerStartError
from daemon.records import Job, Parcel, Reading, Status, Verdict
from daemon.workers.pool import Engine, Patience, Work, WorkerDownError, worker_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

DEADLINE_SECONDS = 60.0
SHORT = Patience(start=60.0, batch=0.5, file=0.1)


def obey(parcels: Sequence[Parcel]) -> list[Reading]:
    """Do what each file's bytes say; runs in the worker."""
    for parcel in parcels:
        match parcel.data.split():
            case [b"exit", status]:
                os._exit(int(status))
            case [b"hang"]:
                time.sleep(3600)
            case [b"raise"]:
                raise ValueError("told to")
            case [b"model"]:
                raise ModelError("the model went away")
    seven = Verdict(Status.OK, KNOWN_DIGIT, 0.9, (0.1,) * 10)
    return [Reading(seven, f"{parcel.name} {os.getpid()}") for parcel in parcels]


def exit_at_once(_: Sequence[Parcel]) -> list[Reading]:
    os._exit(3)


def misread(parcels: Sequence[Parcel]) -> list[Reading]:
    return [Reading(Verdict(Status.OK, 1, 0.9), "m") for _ in parcels]


def no_model(_: Sequence[Parcel]) -> list[Reading]:
    raise ModelError("there is no model")


def load_slowly(parcels: Sequence[Parcel]) -> list[Reading]:
    time.sleep(8)
    return obey(parcels)


class Begun:
    """Remembers which jobs were begun, and may fail."""

    def __init__(self) -> None:
        self.ids: list[list[str]] = []
        self.fault: OSError | None = None

    def __call__(self, jobs: Sequence[Job]) -> None:
        if self.fault is not None:
            raise self.fault
        self.ids.append([job.id for job in jobs])


def load(job: Job) -> Parcel | None:
    try:
        return Parcel(job.name, job.path.read_bytes(), f"sha of {job.id}")
    except FileNotFoundError:
        return None


@pytest.fixture
def begun() -> Begun:
    return Begun()


@pytest.fixture
def make(begun: Begun) -> Iterator[Callable[..., Engine]]:
    made: list[Engine] = []

    def engine(
        read: Callable[[Sequence[Parcel]], list[Reading]] = obey,
        patience: Patience = SHORT,
        ring: Callable[[], None] = lambda: None,
    ) -> Engine:
        made.append(Engine(Work(load, begun, read), 1, ring, patience))
        return made[-1]

    yield engine
    for one in made:
        one.close()


def job(folder: Path, name: str, data: bytes = b"fine") -> Job:
    (folder / name).write_bytes(data)
    return Job(f"id-{name}", name, folder / name, len(data), datetime.now(UTC))


def pid_of(reading: Reading) -> int:
    return int(reading.model.split()[-1])


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_batch_comes_back_in_order_with_its_digests(
    make: Callable[..., Engine], begun: Begun, tmp_path: Path
) -> None:
    rings: list[None] = []
    engine = make(ring=lambda: rings.append(None))
    known = engine.hire().result(DEADLINE_SECONDS)
    assert known.verdict.digit == KNOWN_DIGIT
    assert known.model.startswith(KNOWN_DIGIT_PNG.name)
    jobs = [job(tmp_path, f"digit{number}.png") for number in (3, 1, 2)]
    jobs[1].path.unlink()
    entries = engine.submit(jobs).result(DEADLINE_SECONDS)
    assert [entry.job for entry in entries] == [jobs[0], jobs[2]]
    assert [entry.sha256 for entry in entries] == ["sha of id-digit3.png", "sha of id-digit2.png"]
    assert [entry.reading.model.split()[0] for entry in entries] == ["digit3.png", "digit2.png"]
    assert begun.ids == [["id-digit3.png", "id-digit2.png"]]
    # One process reads all, in another than ours.
    assert {pid_of(entry.reading) for entry in entries} == {pid_of(known)}
    assert pid_of(known) != os.getpid()
    assert len(rings) == 2
    jobs[0].path.unlink()
    assert engine.submit(jobs[:1]).result(DEADLINE_SECONDS) == []
    assert len(begun.ids) == 1


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (b"exit 7", "exit status 7"),
        (b"hang", "took longer than 1 s"),
        (b"raise", "ValueError: told to"),
    ],
)
def test_a_worker_that_goes_down_says_why_and_the_next_batch_is_read(
    make: Callable[..., Engine], begun: Begun, tmp_path: Path, order: bytes, reason: str
) -> None:
    engine = make()
    batch = [job(tmp_path, "digit1.png"), job(tmp_path, "digit2.png", order)]
    with pytest.raises(WorkerDownError, match=reason):
        engine.submit(batch).result(DEADLINE_SECONDS)
    assert begun.ids == [["id-digit1.png", "id-digit2.png"]]
    (entry,) = engine.submit(batch[:1]).result(DEADLINE_SECONDS)
    assert entry.job == batch[0]


def test_a_worker_that_is_killed_from_outside_names_the_signal_and_is_replaced(
    make: Callable[..., Engine], begun: Begun, tmp_path: Path
) -> None:
    engine = make(patience=Patience(60.0, 60.0, 1.0))
    first = pid_of(engine.hire().result(DEADLINE_SECONDS))
    future = engine.submit([job(tmp_path, "digit1.png", b"hang")])
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not begun.ids:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(WorkerDownError, match="killed by SIGKILL"):
        future.result(DEADLINE_SECONDS)
    (entry,) = engine.submit([job(tmp_path, "digit2.png")]).result(DEADLINE_SECONDS)
    assert pid_of(entry.reading) != first


def test_a_worker_that_died_idle_is_replaced_and_no_file_is_blamed(
    make: Callable[..., Engine], begun: Begun, tmp_path: Path
) -> None:
    engine = make()
    first = pid_of(engine.hire().result(DEADLINE_SECONDS))
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + DEADLINE_SECONDS
    # Until it is collected: the first thread of a killed process is a zombie before the others end.
    while Path(f"/proc/{first}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (entry,) = engine.submit([job(tmp_path, "digit1.png")]).result(DEADLINE_SECONDS)
    assert pid_of(entry.reading) != first
    assert begun.ids == [["id-digit1.png"]]


def test_a_stopped_worker_with_megabytes_on_their_way_to_it_is_killed_in_time(
    make: Callable[..., Engine], tmp_path: Path
) -> None:
    engine = make()
    pid = pid_of(engine.hire().result(DEADLINE_SECONDS))
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(WorkerDownError, match="took longer"):
        engine.submit([job(tmp_path, "digit1.png", bytes(8_000_000))]).result(DEADLINE_SECONDS)
    assert gone(pid)
    assert len(engine.submit([job(tmp_path, "digit2.png")]).result(DEADLINE_SECONDS)) == 1


def test_an_attempt_that_cannot_be_counted_is_not_made(
    make: Callable[..., Engine], begun: Begun, tmp_path: Path
) -> None:
    engine = make()
    batch = [job(tmp_path, "digit1.png", b"exit 7")]
    begun.fault = OSError(28, "No space left on device")
    with pytest.raises(OSError, match="No space left"):
        engine.submit(batch).result(DEADLINE_SECONDS)
    begun.fault = None
    with pytest.raises(WorkerDownError):
        engine.submit(batch).result(DEADLINE_SECONDS)


def test_a_model_that_goes_away_while_running_is_no_files_fault(
    make: Callable[..., Engine], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="the model went away"):
        make().submit([job(tmp_path, "digit1.png", b"model")]).result(DEADLINE_SECONDS)


@pytest.mark.parametrize(
    ("read", "kind", "text"),
    [
        (exit_at_once, WorkerStartError, "a worker ended while it loaded the model: exit status 3"),
        (no_model, ModelError, "there is no model"),
        (misread, ModelError, f"reads {KNOWN_DIGIT_PNG.name} as 1 .* it is a {KNOWN_DIGIT}"),
    ],
)
def test_a_worker_that_cannot_start_says_whose_fault_it_is(
    make: Callable[..., Engine],
    read: Callable[[Sequence[Parcel]], list[Reading]],
    kind: type[Exception],
    text: str,
) -> None:
    with pytest.raises(kind, match=text):
        make(read).hire().result(DEADLINE_SECONDS)


def test_a_worker_that_never_gives_its_first_answer_is_killed(
    make: Callable[..., Engine], tmp_path: Path
) -> None:
    engine = make(patience=Patience(start=5.0))
    hired = engine.hire()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (children := multiprocessing.active_children()):
        assert time.monotonic() < deadline
    pid = children[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(WorkerStartError, match="it took too long"):
        hired.result(DEADLINE_SECONDS)
    assert gone(pid)
    assert len(engine.submit([job(tmp_path, "digit1.png")]).result(DEADLINE_SECONDS)) == 1


@pytest.mark.parametrize("pause", [0.0, 0.1, 0.3])
def test_closing_while_a_worker_starts_waits_for_no_model(
    make: Callable[..., Engine], pause: float
) -> None:
    engine = make(load_slowly)
    hired = engine.hire()
    time.sleep(pause)  # into each stage of the start
    started = time.monotonic()
    engine.close()
    assert time.monotonic() - started < 5
    assert hired.done()


def test_closing_ends_a_worker_with_a_batch_in_hand(
    make: Callable[..., Engine], begun: Begun, tmp_path: Path
) -> None:
    engine = make(patience=Patience())
    pid = pid_of(engine.hire().result(DEADLINE_SECONDS))
    engine.submit([job(tmp_path, "digit1.png", b"hang")])
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not begun.ids:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    engine.close()
    assert gone(pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_ends_no_worker(
    make: Callable[..., Engine], tmp_path: Path, number: signal.Signals
) -> None:
    engine = make()
    pid = pid_of(engine.hire().result(DEADLINE_SECONDS))
    os.kill(pid, number)
    (entry,) = engine.submit([job(tmp_path, "digit1.png")]).result(DEADLINE_SECONDS)
    assert pid_of(entry.reading) == pid


def test_the_number_of_workers_is_as_asked_or_fits_the_machine() -> None:
    assert worker_count(3) == 3
    assert 1 <= worker_count("auto") <= min(4, len(os.sched_getaffinity(0)))
