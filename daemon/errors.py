"""What a person can act on: one class each, carrying the exit status it ends the program with."""

from typing import ClassVar

# sysexits.h: what systemd and shell scripts already know these numbers by.
EX_FOUND_WRONG = 1
EX_NOT_RUNNING = 3  # what `systemctl status` and LSB init scripts exit with
EX_TEMPFAIL = 75
EX_CONFIG = 78


class DigitdError(Exception):
    """Something a person can put right; its text says what, where and how."""

    exit_status: ClassVar[int] = EX_FOUND_WRONG


class ConfigError(DigitdError):
    """config.yaml, or a folder that it names, cannot be used as it stands."""

    exit_status = EX_CONFIG


class ModelError(DigitdError):
    """The model file is missing, broken, or made for another version of the reader."""

    exit_status = EX_CONFIG


class WorkerStartError(ModelError):
    """A worker process ended before it could read anything."""


class DataError(DigitdError):
    """Training or measuring data are missing or not what they should be."""


class BusyError(DigitdError):
    """Another digitd holds this outbox or this inbox."""

    exit_status = EX_TEMPFAIL


class StorageError(DigitdError):
    """A folder cannot be used now: full, read-only, gone. Only a single run ends on it."""


class UnreadableError(DigitdError):
    """One file cannot be read as an image; the text is the ``reason`` in its row."""


def describe(fault: Exception) -> str:
    """Say what a fault is, the path first where there is one."""
    if isinstance(fault, OSError) and (path := fault.filename or fault.filename2):
        return f"{path}: {fault.strerror}"
    return str(fault)


def exit_status(fault: Exception | None) -> int:
    """Return the status that the program exits with for a fault; 0 for none."""
    if fault is None:
        return 0
    return fault.exit_status if isinstance(fault, DigitdError) else EX_FOUND_WRONG
