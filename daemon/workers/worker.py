"""The main function of a worker process; importing this module imports no decoder."""

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
"""First the reading of the known digit, then each batch's results, or an error instead."""


READING, IDLE = b"r", b"i"  # what a worker writes into its progress file


def main(
    connection: Connection,
    read: Read,
    options: ReadOptions,
    stderr: str,
    progress: str,
) -> None:
    """Read the known digit, then one batch of jobs after another, until the pipe closes.

    An unexpected error ends the process, with its traceback on stderr. The daemon then has each
    file of the batch read alone, to find the one that caused it.

    Args:
        connection: receives lists of jobs and sends replies.
        read: reads a batch of parcels.
        options: the settings for ``read``.
        stderr: path of the file that stderr is redirected to.
        progress: path of the file that says whether a batch is being read, so that a batch that
            was never started is not blamed.
    """
    # Ctrl-C in a terminal and a service manager's stop signal reach every process of the group.
    # Only the daemon decides what happens to the batches in flight.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # libpng, libjpeg and OpenCV report broken files on stderr without naming them.
    descriptor = os.open(stderr, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    state = os.open(progress, os.O_WRONLY)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        connection.send(read_known_digit(read, options))
    except ModelError as error:
        connection.send(error)
        return
    while True:
        try:
            jobs: list[Job] = connection.recv()
        except EOFError:
            return
        os.ftruncate(2, 0)  # so that it only has messages about this batch and stays small
        os.pwrite(state, READING, 0)
        reply: Reply
        try:
            reply = read_batch(read, options, jobs)
        except (ModelError, OSError) as error:  # not the files' fault
            reply = error
        os.pwrite(state, IDLE, 0)
        connection.send(reply)


def read(options: ReadOptions, parcels: Sequence[Parcel]) -> list[Reading]:
    """Read a batch with the model; see ``reading.reader.read``."""
    from daemon.reading import reader  # noqa: PLC0415 - 0.7 s and 60 MB, only needed in workers

    return reader.read(options, parcels)


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)


def read_known_digit(read: Read, options: ReadOptions) -> Reading:
    """Read the known digit, to prove that this worker can read before it is used."""
    (reading,) = read(options, [Parcel(KNOWN_DIGIT_PNG.name, KNOWN_DIGIT_PNG.read_bytes())])
    verdict = reading.verdict
    if verdict.status is Status.ERROR or verdict.digit != KNOWN_DIGIT:
        raise ModelError(
            f"{options.model}: reads {KNOWN_DIGIT_PNG.name} as {verdict.digit} "
            f"({verdict.reason or verdict.status}), but it is a {KNOWN_DIGIT}: train the model "
            "longer, or use the one that came with digitd"
        )
    return replace(reading, picture=b"")
