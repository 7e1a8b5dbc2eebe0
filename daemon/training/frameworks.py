"""Import Keras and TensorFlow, which only training needs."""

# They have no type hints, and take seconds to import.
# ruff: noqa: ANN401, PLC0415

import os
from typing import Any

from daemon.errors import MissingPackageError
from daemon.reading.model import quiet


def keras() -> Any:
    """Import Keras on TensorFlow; takes seconds and 600 MB.

    Raises:
        MissingPackageError: TensorFlow is not installed.
    """
    tensorflow()
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras as imported

    return imported


def tensorflow() -> Any:
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
