"""Error classes for faults that a person can fix, with their exit statuses."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from daemon.text import printable

# From sysexits.h, which systemd and shell scripts know.
EX_FOUND_WRONG = 1
EX_NOT_RUNNING = 3  # what `systemctl status` and LSB init scripts exit with
EX_TEMPFAIL = 75
EX_CONFIG = 78


# Where a rename may fail because of its target only.
_FAULTS_OF_TARGETS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EEXIST, errno.EMLINK})


class DigitdError(Exception):
    """A fault that a person can fix; the message says where, what and how."""

    exit_status: ClassVar[int] = EX_FOUND_WRONG


class ConfigError(DigitdError):
    """config.yaml, or a folder that it names, cannot be used."""

    exit_status = EX_CONFIG


class ModelError(DigitdError):
    """The model file is missing, broken, or made for another version of digitd."""

    exit_status = EX_CONFIG


class WorkerStartError(ModelError):
    """A worker process ended before it was ready; memory may be short, so systemd tries again."""

    exit_status = EX_FOUND_WRONG


class PromotionError(DigitdError):
    """A model cannot be promoted, or there is none to go back to."""


class DataError(DigitdError):
    """Data for training or evaluation are missing or malformed."""


class MissingPackageError(DigitdError):
    """A package is not installed that only this command needs."""


class DestinationError(DigitdError):
    """A file that a command should write cannot be written, or must not be."""


class NoSuchRowError(DigitdError):
    """No table has a row with this id."""


class ClusterError(DigitdError):
    """The cluster cannot read now; it may be able to later."""


class ReviewError(DigitdError):
    """The review page cannot be served with these options."""


class RetryError(DigitdError):
    """A file cannot be put back into the inbox."""


class NotRunningError(DigitdError):
    """No digitd is running that this command could ask."""

    exit_status = EX_NOT_RUNNING


class ReloadError(DigitdError):
    """The running digitd cannot be asked to reload, or does not answer."""


class BusyError(DigitdError):
    """Another digitd holds this outbox or this inbox."""

    exit_status = EX_TEMPFAIL


class StorageError(DigitdError):
    """A folder is full, read-only or missing for now. The daemon pauses; `--once` exits."""


class UnreadableError(DigitdError):
    """One file cannot be read as an image; the message is the ``reason`` in its row."""


def describe(fault: Exception) -> str:
    """Return the message of a fault, starting with the path if it has one."""
    if isinstance(fault, OSError):
        paths = [path for path in (fault.filename, fault.filename2) if path]
        if fault.errno in _FAULTS_OF_TARGETS:
            paths = paths[-1:]
        if paths:
            return f"{printable(' -> '.join(map(str, paths)))}: {fault.strerror}"
        return fault.strerror or str(fault)  # without its number
    return str(fault)


@contextmanager
def add_path(path: Path) -> Iterator[None]:
    """Add a path to an OSError that has none: calls on descriptors and copies have none."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def may_be_of(error: OSError, *paths: Path) -> bool:
    """Return whether an OSError names one of these paths, or none."""
    return error.filename is None or Path(error.filename) in paths


def exit_status(fault: Exception | None) -> int:
    """Return the program's exit status for a fault; 0 for none."""
    if fault is None:
        return 0
    return fault.exit_status if isinstance(fault, DigitdError) else EX_FOUND_WRONG
