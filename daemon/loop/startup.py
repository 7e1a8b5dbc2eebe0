"""What a start needs: the inbox, the outbox, and somebody who reads."""

import errno
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from daemon.config import KEYS, Config
from daemon.errors import ConfigError, MissingPackageError, StorageError, describe
from daemon.expected import load_values
from daemon.files import make_folder, same_path, try_to_create
from daemon.layout import (
    ATTEMPTS,
    FAILED,
    ORIGINALS,
    OUTBOX_LOCK,
    PICTURES,
    TABLE,
    WORK_FOLDER,
    WORK_LOCK,
)
from daemon.locks import busy, is_held
from daemon.loop.status import lock_files, was_last_outbox
from daemon.models.current import find_model
from daemon.outbox.table import check_header, check_is_file
from daemon.records import Expected, ReadOptions
from daemon.workers.pool import Pool, worker_count
from daemon.workers.readers import Readers
from daemon.workers.worker import WorkerSettings

log = logging.getLogger(__name__)

# A person must mend these. systemd tries again after others, such as EIO.
_WRONG_PATH = frozenset(
    {
        *(errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.ENXIO),
        *(errno.ENAMETOOLONG, errno.EISDIR, errno.EINVAL),
    }
)


def make_folders(config: Config, in_force: Config | None = None) -> None:
    """Create the inbox and the outbox if they are missing.

    Args:
        config: names the folders.
        in_force: the settings before a reload. If one of their folders is missing, its disk may be
            away, so it is not created.

    Raises:
        ConfigError: one has no parent folder, or is not a folder.
        BusyError: at a start, one is missing, and another digitd holds the other.
        StorageError, OSError: one cannot be created or used now, or the outbox has been used before
            and is missing.
    """
    for key, folder in _folders(config):
        if not _names(in_force, folder):
            with _naming(config.locate(key)):
                _check_folder(config, key, folder)
                if in_force is None and not folder.exists():
                    _check_not_held(config)
                if make_folder(folder):
                    log.info("%s: created the folder %s", config.locate(key), folder)
    if in_force is None:
        _check_inner_folders(config)


def _check_not_held(config: Config) -> None:
    """Raise BusyError if another digitd holds a folder, so that a refused start creates none."""
    for lock in lock_files(config):
        if is_held(lock):
            raise busy(lock)


def check_folders(config: Config, in_force: Config | None = None) -> None:
    """Check that a start could use both folders, without creating or changing anything.

    Args:
        config: names the folders.
        in_force: the settings of the calling digitd, which itself holds the locks on its folders.

    Raises:
        ConfigError: one has no parent folder or is not a folder, or predictions.csv is not
            digitd's.
        BusyError: another digitd holds one.
        StorageError, OSError: one cannot be created or used now, or the outbox has been used before
            and is missing.
    """
    work = config.inbox / WORK_FOLDER
    own = {"inbox": (WORK_LOCK, ATTEMPTS), "outbox": (OUTBOX_LOCK, TABLE)}
    for key, folder in _folders(config):
        if _names(in_force, folder):
            continue
        with _naming(config.locate(key)):
            _check_folder(config, key, folder)
        lock, *_ = files = [(work if key == "inbox" else folder) / name for name in own[key]]
        if is_held(lock):
            raise busy(lock)
        if key == "outbox":
            check_is_file(folder)
        with _naming(config.locate(key)):
            for file in files:
                _try_to_write(file)
    _check_inner_folders(config)
    check_header(config.outbox)


def _folders(config: Config) -> Iterator[tuple[str, Path]]:
    yield "inbox", config.inbox
    yield "outbox", config.outbox


def _names(config: Config | None, folder: Path) -> bool:
    """Return whether a folder is one of a config's, by whatever path."""
    if config is None:
        return False
    return any(same_path(folder, one) for one in (config.inbox, config.outbox))


@contextmanager
def _naming(key: str) -> Iterator[None]:
    """Add the key and a remedy to the message of an OSError."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{key}: {describe(error)}: check its disk, and the permissions of the folders above it"
        ) from None


def _check_folder(config: Config, key: str, folder: Path) -> None:
    """Raise if a folder cannot be used, or is missing and must not or cannot be created.

    A ConfigError is for a person to fix. Any other fault may pass without one.
    """
    where = config.locate(key)
    try:
        if stat.S_ISDIR(folder.stat().st_mode):
            if os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                return
            raise StorageError(
                f"{where}: {folder} cannot be listed and written by this user: change its owner or "
                "its permissions, or mount its disk for writing"
            )
    except FileNotFoundError:
        if folder.is_symlink():
            raise StorageError(
                f"{where}: {folder} is a symlink to nothing: mount or create its target"
            ) from None
        # Without the rows in it, files would be read twice.
        if key == "outbox" and was_last_outbox(config):
            raise StorageError(
                f"{where}: {folder} is missing, and digitd has written rows there: mount its disk; "
                "or create the folder, if you removed it to begin with an empty one"
            ) from None
        if folder.parent.is_dir():
            return  # it can be created
    except OSError as error:
        if error.errno not in {errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}:
            raise
    fault = _describe_unusable(folder)
    raise ConfigError(f"{where}: {folder} {fault}, or name another folder in the config")


def _describe_unusable(folder: Path) -> str:
    """Return why a folder can neither be used nor created, and what to do."""
    if os.path.lexists(folder):
        return "is not a folder: move it away"
    if os.path.isdir(folder.parent):  # noqa: PTH112 - Path.is_dir raises for long names
        return "cannot be created: shorten its name"
    return f"cannot be created, because {folder.parent} is not a folder: create that one"


def _check_inner_folders(config: Config) -> None:
    """Raise StorageError if a folder in the inbox or the outbox exists and cannot be used."""
    work = config.inbox / WORK_FOLDER
    for folder in (work, *(config.outbox / name for name in (PICTURES, ORIGINALS, FAILED))):
        if not os.path.lexists(folder):
            continue  # it will be created
        if not folder.is_dir() or (folder == work and folder.is_symlink()):
            raise StorageError(f"{folder} is not a folder: remove it")
        # What is in the outbox need not be listed.
        if not os.access(folder, os.W_OK | os.X_OK | (os.R_OK if folder == work else 0)):
            raise StorageError(
                f"{folder} cannot be used by this user: change its owner or its permissions"
            )


def _try_to_write(file: Path) -> None:
    """Raise OSError if a file can be neither opened for writing nor created; create nothing."""
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW))
    except FileNotFoundError:
        try_to_create(next(folder for folder in file.parents if folder.is_dir()))


def load_options(config: Config) -> ReadOptions:
    """Return the settings that a worker needs: with the model in use, and expected numbers.

    Raises:
        ConfigError: ``expect_file`` has something else than numbers, or may not be read.
        ModelError: ``models/current`` is broken, or the model that it names is.
        StorageError: one of these files cannot be read now.
    """
    options = replace(config.reading, model=find_model(config))
    return replace(options, expected=load_expected(config) or options.expected)


def load_expected(config: Config) -> Expected | None:
    """Return the numbers of ``expect_file``; ``None`` if the config names none.

    Raises:
        ConfigError: it has something else than numbers, or may not be read.
        StorageError: it cannot be read now.
    """
    file = config.expect_file
    if file is None:
        return None
    try:
        return load_values(file)
    except OSError as error:
        kind = ConfigError if error.errno in _WRONG_PATH else StorageError
        why = f"cannot be read: {error.strerror}"
    except ValueError as error:
        kind, why = ConfigError, str(error)
    allowed = KEYS["expect_file"].description
    raise kind(f"{config.locate('expect_file')}: {file} {why}; it must be {allowed}")


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
