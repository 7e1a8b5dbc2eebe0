"""Import Keras and TensorFlow when they are needed; no other module imports them.

They are the extra ``digitd[train]``: reading, and measuring what the workers run, need neither.
"""

# They take seconds to import.
# ruff: noqa: PLC0415

import os
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def _naming_the_remedy() -> Iterator[None]:
    """Turn an import that fails into an error that names the command to run."""
    try:
        yield
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError)
        raise MissingPackageError(
            f"{error.name or 'tensorflow'} "
            f"{'is not installed' if missing else f'cannot be imported ({error})'}; `digitd train` "
            "and `digitd evaluate --keras` need it: pip install 'digitd[train]', or make train in "
            "a clone"
        ) from error
