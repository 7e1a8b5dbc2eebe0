"""Which model is in use: the config's, the promoted one, or the shipped one."""

import re
from errno import EINVAL
from functools import lru_cache
from pathlib import Path

from daemon.assets import SHIPPED_MODEL
from daemon.config import Config
from daemon.errors import ModelError, StorageError
from daemon.files import hash_file, open_regular
from daemon.invocation import command
from daemon.layout import CURRENT, MODEL_SUFFIX
from daemon.records import Stamp

ID_LENGTH = 12  # hex digits of the file's SHA-256, as in `reading.model.Model.hash`
ID = re.compile(rf"[0-9a-f]{{{ID_LENGTH}}}")
_MOST_BYTES = 1000


def find_model(config: Config) -> Path:
    """Return the file of the model that ``digitd run`` reads with.

    That is the config's ``model``, or else the promoted model, or else the shipped one. A promoted
    model was not changed since it was made.

    Raises:
        ModelError: ``models/current`` is broken, or the model that it names is.
        StorageError: one of them cannot be read now.
    """
    if config.model is not None:
        return config.model
    promoted = read_current(config.models)
    if promoted is None:
        return SHIPPED_MODEL
    if fault := find_fault(config.models, promoted):
        raise ModelError(f"{config.models / CURRENT}: {fault}; {_go_back()}")
    return model_path(config.models, promoted)


def _go_back() -> str:
    return f"{command('model rollback')} goes back to the model before it"


def read_current(folder: Path) -> str | None:
    """Return the id of the promoted model; ``None`` if none is.

    Args:
        folder: ``models/``.

    Raises:
        ModelError: ``current`` is broken, or must not be read.
        StorageError: it cannot be read now.
    """
    file = folder / CURRENT
    try:
        with open_regular(file) as opened:
            text = opened.read(_MOST_BYTES).decode("ascii", "replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        is_wrong = isinstance(error, PermissionError | IsADirectoryError) or error.errno == EINVAL
        kind = ModelError if is_wrong else StorageError
        raise kind(
            f"{file}: cannot be read: {error.strerror}: let this user read it, or remove it for "
            "the shipped model"
        ) from None
    if not ID.fullmatch(text):
        shown = repr(text[: 2 * ID_LENGTH])
        raise ModelError(
            f"{file}: must be the id of a model, {ID_LENGTH} hex digits, and is {shown}; "
            f"{_go_back()}"
        )
    return text


def find_fault(folder: Path, model_id: str) -> str:
    """Return why a model's file is not the one that was made; empty if it is.

    Raises:
        StorageError: it cannot be read now.
    """
    path = model_path(folder, model_id)
    try:
        found = _find_id(path, Stamp.of(path.stat()))
    except FileNotFoundError:
        return f"{path} is missing: put it back"
    except PermissionError:
        return f"{path} cannot be read: let this user read it"
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}: check its disk") from None
    if found != model_id:
        return f"{path} is broken, or was changed: its SHA-256 begins with {found}: put it back"
    return ""


def model_path(folder: Path, model_id: str) -> Path:
    """Return the path of a model."""
    return folder / f"{model_id}{MODEL_SUFFIX}"


def shipped_id() -> str:
    """Return the id of the shipped model."""
    return _find_id(SHIPPED_MODEL, Stamp.of(SHIPPED_MODEL.stat()))


# A running digitd looks at the promoted model at each rescan, the review page at all of them.
@lru_cache(maxsize=256)
def _find_id(path: Path, _stamp: Stamp) -> str:
    """Return the id of a file with this content."""
    return hash_file(path)[:ID_LENGTH]
