"""What runs in a worker process."""

import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing import parent_process
from multiprocessing.connection import Connection

from daemon.assets import KNOWN_DIGIT, KNOWN_DIGIT_PNG
from daemon.errors import ModelError
from daemon.records import Job, Parcel, Reading, ReadOptions, Result, Status
from daemon.workers.batch import Read, read_batch

Reply = Reading | list[Result] | ModelError | OSError
"""First the reading of the known digit, then the results of each batch; or why there are none."""


READING, IDLE = b"r", b"i"  # what a worker writes into its progress file


def main(
    connection: Connection,
    read: Read,
    options: ReadOptions,
    stderr: str,
    progress: str,
) -> None:
    """Read the known digit, then one batch of jobs after another, until the pipe closes.

    An error that nobody foresaw ends the process, with its traceback on stderr; the pool then
    has each file of the batch read alone, to find the one that caused it.

    Args:
        connection: brings lists of jobs, takes replies.
        read: reads a batch of bytes.
        options: its settings.
        stderr: path of the file that takes what is printed on stderr.
        progress: path of the file that says whether a batch is being read, so that none is blamed
            that never was.
    """
    # A terminal's Ctrl-C and a service manager's stop reach every process of the group; the
    # daemon alone decides what becomes of the batch in hand.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # libpng, libjpeg and OpenCV complain of broken files on stderr, without naming them.
    descriptor = os.open(stderr, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    state = os.open(progress, os.O_WRONLY)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        connection.send(_read_known_digit(read, options))
    except ModelError as error:
        connection.send(error)
        return
    while True:
        try:
            jobs: list[Job] = connection.recv()
        except EOFError:
            return
        os.ftruncate(2, 0)  # so that it holds what was said about this batch, and stays small
        os.pwrite(state, READING, 0)
        reply: Reply
        try:
            reply = read_batch(read, options, jobs)
        except (ModelError, OSError) as error:  # not the files' fault
            reply = error
        os.pwrite(state, IDLE, 0)
        connection.send(reply)


def read(options: ReadOptions, parcels: Sequence[Parcel]) -> list[Reading]:
    """Read a batch with the model, as ``reading.reader.read`` does."""
    from daemon.reading import reader  # noqa: PLC0415 - 0.7 s and 60 MB, which the daemon never pays

    return reader.read(options, parcels)


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)


def _read_known_digit(read: Read, options: ReadOptions) -> Reading:
    """Read a digit that is known: a worker is ready only if it really reads."""
    (reading,) = read(options, [Parcel(KNOWN_DIGIT_PNG.name, KNOWN_DIGIT_PNG.read_bytes())])
    verdict = reading.verdict
    if verdict.status is Status.ERROR or verdict.digit != KNOWN_DIGIT:
        raise ModelError(
            f"{options.model}: reads {KNOWN_DIGIT_PNG.name} as {verdict.digit} "
            f"({verdict.reason or verdict.status}), but it is a {KNOWN_DIGIT}: train the model "
            "longer, or use the one that came with digitd"
        )
    return replace(reading, picture=b"")
