"""Verdicts, jobs, results and rows for tests that need some, but no particular one."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

from daemon.ids import Ids
from daemon.outbox import labels
from daemon.outbox.rows import Row
from daemon.records import Job, Placement, Result, Status, Verdict

SURE = Verdict(Status.OK, "7", 0.99, (0.001,) * 7 + (0.99,) + (0.001,) * 3)
BLANK = Verdict(Status.UNSURE, reason="no ink")
BROKEN = Verdict(Status.ERROR, reason="text, not an image")
# One of each form in which people write numbers.
NUMBERS = ("0471", "7,5", "-3", "19/10/2023", "12:30", "1.5", "10", "0")
NOW = datetime(2026, 11, 21, 9, 5, 7, 42_999, tzinfo=UTC)
SHA256 = "ab" * 32

_IDS = Ids()  # one source for all jobs, because two sources may issue the same id


def doubtful(digit: int, confidence: float) -> Verdict:
    """Return an unsure verdict."""
    rest = (1 - confidence) / 10
    probabilities = [rest] * 11
    probabilities[digit] = confidence
    return Verdict(Status.UNSURE, str(digit), confidence, tuple(probabilities), "low confidence")


def number(text: str, status: Status = Status.OK, confidence: float = 0.99) -> Verdict:
    """Return the verdict on an image of a number."""
    probabilities = None
    if text.isdecimal() and len(text) == 1:
        rest = (1 - confidence) / 10
        probabilities = tuple(confidence if text == name else rest for name in "0123456789-")
    reason = "" if status is Status.OK else "low confidence"
    return Verdict(status, text, confidence, probabilities, reason)


def job(
    name: str = "digit7.png",
    *,
    job_id: str = "",
    folder: Path = Path("work"),
    size: int = 5,
    received_at: datetime = NOW,
) -> Job:
    """Return a job whose file does not exist; its path is as daemon.inbox names it."""
    job_id = job_id or _IDS.next()
    path = folder / os.fsdecode(os.fsencode(f"{job_id}-{name}")[:255])
    return Job(job_id, name, path, size, received_at)


def own_labels(outbox: Path) -> dict[str, str]:
    """Return the label in force by row id, of all rows that have an answer of their own."""
    answers = labels.load(outbox)
    found = ((one.id, answers.find(one.id, "")) for one in labels.read(outbox))
    return {job_id: answer.label for job_id, answer in found if answer is not None}


def claimed(folder: Path, name: str = "digit7.png", data: bytes = b"seven") -> Job:
    """Write a claimed file; return its job."""
    made = job(name, folder=folder, size=len(data))
    made.path.write_bytes(data)
    return made


def result(
    folder: Path,
    name: str = "digit7.png",
    verdict: Verdict = SURE,
    data: bytes = b"seven",
    picture: bytes = b"picture",
) -> Result:
    """Write a claimed file and its picture; return the result of reading it."""
    made = claimed(folder, name, data)
    if picture:
        made.picture_path.write_bytes(picture)
    return Result(made, verdict, SHA256, "model1", has_picture=bool(picture))


def row(
    name: str = "digit7.png",
    verdict: Verdict = SURE,
    *,
    job_id: str = "",
    model: str = "model1",
    at: datetime = NOW,
    picture: str = "",
    sha256: str = "",
) -> Row:
    """Return a row whose files do not exist; without ``sha256``, no other row has its content."""
    made = job(name, job_id=job_id, received_at=at)
    sha256 = sha256 or hashlib.sha256(made.id.encode()).hexdigest()
    read = Result(made, verdict, sha256, model, has_picture=bool(picture))
    return Row(read, Placement(picture, f"originals/{name}"), at)
