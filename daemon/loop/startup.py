"""What a start needs: the inbox, the outbox, and somebody who reads."""

import os
from pathlib import Path

from daemon.config import Config
from daemon.errors import BusyError, ConfigError, MissingPackageError
from daemon.files import is_held
from daemon.layout import OUTBOX_LOCK, WORK_FOLDER, WORK_LOCK
from daemon.outbox.table import check_header
from daemon.workers.pool import Pool, worker_count
from daemon.workers.readers import Readers
from daemon.workers.worker import WorkerSettings


def make_folders(config: Config) -> None:
    """Create the inbox and the outbox if they are missing.

    Raises:
        ConfigError: this user cannot create or use one.
        OSError: one cannot be created now (disk full, read-only).
    """
    for key, folder in (("inbox", config.inbox), ("outbox", config.outbox)):
        _check_folder(key, folder)
        folder.mkdir(mode=0o770, exist_ok=True)


def check_folders(config: Config, in_force: Config | None = None) -> None:
    """Check that a start could use both folders, without creating or changing anything.

    Args:
        config: names the folders.
        in_force: the settings of the calling digitd, which itself holds the locks on its folders.

    Raises:
        ConfigError: one cannot be created or used, or predictions.csv is not digitd's.
        BusyError: another digitd holds one.
        OSError: one cannot be used now.
    """
    _check_folder("inbox", config.inbox)
    _check_folder("outbox", config.outbox)
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


def _check_folder(key: str, folder: Path) -> None:
    parent = folder.parent
    if not folder.exists() and parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
        return  # it can be created
    if not folder.is_dir():
        raise ConfigError(
            f"{key}: {folder} is not a folder and cannot be created: create it, or name another "
            "folder in the config"
        )
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(
            f"{key}: {folder} cannot be listed and written by this user: change its owner or "
            "its permissions, or name another folder in the config"
        )


def start_readers(config: Config, settings: WorkerSettings, workers: int | None = None) -> Readers:
    """Return the readers that a config asks for: processes of this machine, or a cluster.

    Args:
        config: the settings.
        settings: how workers read.
        workers: the number of worker processes; ``None`` for the config's. A cluster has its own.

    Raises:
        MissingPackageError: a cluster needs a package that is not installed.
    """
    if config.cluster is None:
        return Pool(settings, worker_count(config.workers) if workers is None else workers)
    try:
        from daemon.cluster.pool import ClusterPool  # noqa: PLC0415 - 60 MB
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"{error.name} is not installed, and `cluster` needs it: pip install 'digitd[cluster]'"
        ) from None
    return ClusterPool(config.cluster, settings)
