"""Import Keras and TensorFlow when they are needed; no other module imports them."""

# They take seconds to import.
# ruff: noqa: PLC0415

import os
from typing import Any

from daemon.errors import MissingPackageError
from daemon.reading.model import quiet


def import_keras() -> Any:
    """Import Keras on TensorFlow; takes seconds and 600 MB.

    Raises:
        MissingPackageError: TensorFlow is not installed.
    """
    import_tensorflow()
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras

    return keras


def import_tensorflow() -> Any:
    """Import TensorFlow without its start-up messages.

    Raises:
        MissingPackageError: it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with quiet():
            import tensorflow as tf
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"{error.name} is not installed, and building a model needs TensorFlow: "
            "pip install --require-hashes -r requirements-dev.lock"
        ) from error
    return tf
