"""Import Keras and TensorFlow when they are needed; no other module imports them.

They are the extra ``digitd[train]``: reading, and measuring what the workers run, need neither.
"""

# They take seconds to import.
# ruff: noqa: PLC0415

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from daemon.errors import MissingPackageError
from daemon.reading.litert import silence_stderr


def import_keras() -> Any:
    """Import Keras on TensorFlow; takes seconds and 600 MB.

    Raises:
        MissingPackageError: one of them is not installed.
    """
    import_tensorflow()
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with _naming_the_remedy():
        import keras

        return keras


def import_tensorflow() -> Any:
    """Import TensorFlow without its start-up messages.

    Raises:
        MissingPackageError: it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _naming_the_remedy(), silence_stderr():
        import tensorflow as tf

        return tf


def import_for_learning() -> None:
    """Import Keras before anything is read.

    Raises:
        MissingPackageError: it is not installed; the text says what else helps.
    """
    try:
        import_keras()
    except MissingPackageError as error:
        raise MissingPackageError(
            f"{error}, or learn on another machine with a copy of the outbox, see docs/learning.md"
        ) from error


@contextmanager
def half_precision() -> Iterator[None]:
    """Let layers that are built meanwhile compute in bfloat16, if the processor does so.

    Their weights remain float32.
    """
    config = import_keras().config
    usual = config.dtype_policy()
    if _has_bfloat16():
        config.set_dtype_policy("mixed_bfloat16")
    try:
        yield
    finally:
        config.set_dtype_policy(usual)


def _has_bfloat16() -> bool:
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:  # not Linux
        return False


@contextmanager
def _naming_the_remedy() -> Iterator[None]:
    """Turn an import that fails into an error that names the command to run."""
    try:
        yield
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError)
        what = "is not installed" if missing else f"cannot be imported ({error})"
        raise MissingPackageError(
            f"{error.name or 'tensorflow'} {what}; `digitd train`, `learn`, `model adopt` and "
            "`evaluate --keras` need it: pip install 'digitd[train]', or in a clone -e '.[train]'"
        ) from error
