"""Create the inbox and the outbox, or check that a start could use them."""

import os
from pathlib import Path

from daemon.config import Config
from daemon.errors import BusyError, ConfigError
from daemon.files import is_held
from daemon.layout import OUTBOX_LOCK, WORK_FOLDER, WORK_LOCK
from daemon.outbox.table import check_header


def make(config: Config) -> None:
    """Create the inbox and the outbox if they are missing.

    Raises:
        ConfigError: this user cannot create or use one.
        OSError: one cannot be created now (disk full, read-only).
    """
    for key, folder in (("inbox", config.inbox), ("outbox", config.outbox)):
        _check(key, folder)
        folder.mkdir(mode=0o770, exist_ok=True)


def check(config: Config, in_force: Config | None = None) -> None:
    """Check that a start could use both folders, without creating or changing anything.

    Args:
        config: names the folders.
        in_force: the settings of the calling digitd, which itself holds the locks on its folders.

    Raises:
        ConfigError: one cannot be created or used, or predictions.csv is not digitd's.
        BusyError: another digitd holds one.
        OSError: one cannot be used now.
    """
    _check("inbox", config.inbox)
    _check("outbox", config.outbox)
    check_header(config.outbox)
    ours = () if in_force is None else (in_force.inbox, in_force.outbox)
    locks = {
        config.inbox: config.inbox / WORK_FOLDER / WORK_LOCK,
        config.outbox: config.outbox / OUTBOX_LOCK,
    }
    for folder, lock in locks.items():
        if folder not in ours and is_held(lock):
            raise BusyError(
                f"another digitd holds {folder}: run `digitd status` to see which, then stop it, "
                "or name another folder"
            )


def _check(key: str, folder: Path) -> None:
    parent = folder.parent
    if not folder.exists() and parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
        return  # it can be created
    if not folder.is_dir():
        raise ConfigError(
            f"{key}: {folder} is not a folder and cannot be created: create it, or name another "
            "in the config"
        )
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(
            f"{key}: {folder} cannot be listed and written by this user: change its owner or "
            "its permissions, or name another in the config"
        )
