"""Check whether ``digitd run`` would start, without changing anything."""

import errno
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path

from daemon.assets import KNOWN_DIGIT
from daemon.config import Config
from daemon.errors import ClusterError, DestinationError, DigitdError, StorageError, describe
from daemon.expected import find_range
from daemon.files import is_there, try_to_create
from daemon.inbox.inbox import Inbox
from daemon.invocation import command
from daemon.locks import is_held, read_holder
from daemon.loop.startup import check_folders, load_expected, start_readers
from daemon.loop.status import lock_files, own_daemon
from daemon.models.current import find_model
from daemon.models.folder import ModelsFolder
from daemon.records import Reading
from daemon.text import count, escape
from daemon.workers.pool import worker_count
from daemon.workers.readers import Readers
from daemon.workers.worker import WorkerSettings


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        text: a line for the user.
        error: that a start would have.
        is_doubtful: whether it is allowed, and probably not what the user means.
    """

    text: str
    error: DigitdError | OSError | None = None
    is_doubtful: bool = False


def run_checks(config: Config) -> Iterator[Finding]:
    """Yield a finding for each thing that a start needs, slow checks last; ``config`` is valid.

    They are in the order in which a start would fail, so that the first error has its exit status.
    """
    yield Finding("config: every key is valid")
    model = None
    try:
        model = find_model(config)
    except (DigitdError, OSError) as error:
        yield _wrong_model(config, error)
    yield from _expectations(config)
    yield from _folders(config)
    if model is not None:
        yield _model(config, model)
    if config.model is None:
        yield _models(config.models)
    if config.metrics_file is not None:
        yield _metrics_file(config, config.metrics_file)


def _expectations(config: Config) -> Iterator[Finding]:
    if config.expect is not None:
        yield _expect(config.locate("expect"), config.expect)
    if config.expect_file is not None:
        yield _expect_file(config, config.expect_file)


def _folders(config: Config) -> Iterator[Finding]:
    try:
        pid = own_daemon(config)
        _check_inbox_of_daemon(config)
        check_folders(config, in_force=None if pid is None else config)
    except (DigitdError, OSError) as error:
        yield Finding(describe(error), error)
        return
    if pid is not None:
        yield Finding(f"running: process {pid} has this inbox and this outbox")
    for key, folder in (("inbox", config.inbox), ("outbox", config.outbox)):
        there = "exists, can be listed and written"
        yield Finding(f"{key}: {folder} {there if folder.exists() else 'will be created'}")
    if config.inbox.exists():
        yield _watch(config)


def _check_inbox_of_daemon(config: Config) -> None:
    """Raise StorageError if the digitd of this config file runs, but not with this inbox.

    ``own_daemon`` does not recognise that digitd, because the inbox has its lock and its status.
    Without its disk, the inbox is missing or an empty mount point.
    """
    inbox_lock, outbox_lock = lock_files(config)
    if is_held(inbox_lock) or not is_held(outbox_lock):
        return
    holder = read_holder(outbox_lock)
    if holder is not None and holder.was_started_with(config.file):
        fault = "is not the folder that it reads" if is_there(config.inbox) else "is missing"
        raise StorageError(
            f"{config.locate('inbox')}: {config.inbox} {fault}, and digitd (process {holder.pid}) "
            "runs with this config: mount its disk, or move the folder back; or run "
            f"{command('reload')}, if the inbox is new in the config"
        )


def _watch(config: Config) -> Finding:
    inbox = Inbox(config, wake=lambda: None)
    try:
        inbox.open()
        mode = inbox.mode
    except (DigitdError, OSError) as error:
        return Finding(f"watch: {describe(error)}", error)
    finally:
        inbox.close()
    why = ""
    if mode == config.watch:
        why = ", as configured"
    elif mode == "polling":
        why = "; the file system sends no events, or inotify's limits are reached"
    return Finding(f"watch: by {mode}{why}")


def _expect(key: str, pattern: str) -> Finding:
    if (ends := find_range(pattern)) is None:
        return Finding(f"expect: {escape(pattern)} must match the whole number")
    low, high = ends
    text = (
        f"{key}: {escape(pattern)} is a regular expression and does not mean the numbers from "
        f"{low} to {high}: write these into a text file, one a line, and name it with "
        "expect_file, or write an expression such as '[1-9]|1[0-5]', which means 1 to 15"
    )
    return Finding(text, is_doubtful=True)


def _expect_file(config: Config, file: Path) -> Finding:
    try:
        expected = load_expected(config)
    except (DigitdError, OSError) as error:
        return Finding(describe(error), error)
    values = 0 if expected is None else len(expected.values)
    return Finding(f"expect_file: {file} has {count(values, 'number')}")


def _model(config: Config, model: Path) -> Finding:
    """Have a worker read the known digit, as ``run`` does."""
    try:
        options = replace(config.reading, model=model)
        pool = start_readers(config, WorkerSettings(options), workers=1)
        self_test = _wait_for_self_test(pool)
    except ClusterError as error:
        return Finding(f"cluster: {error}", error)
    except (DigitdError, OSError) as error:
        return _wrong_model(config, error)
    confidence = self_test.verdict.confidence or 0.0
    readers = pool.title if config.cluster else f"workers: {worker_count(config.workers)}"
    return Finding(
        f"model: {model} ({self_test.model}) reads a known {KNOWN_DIGIT} as "
        f"{self_test.verdict.text} ({confidence:.1%}); {readers}"
    )


def _wrong_model(config: Config, error: DigitdError | OSError) -> Finding:
    files = () if config.cluster_tls is None else dict(config.cluster_tls).values()
    is_of_tls = isinstance(error, OSError) and str(error.filename) in map(str, files)
    key = "cluster_tls" if is_of_tls else "model"
    return Finding(f"{config.locate(key)}: {describe(error)}", error)


def _models(folder: Path) -> Finding:
    """Check whether models could be added and promoted; ``run`` only reads there."""
    is_new = not is_there(folder)
    try:
        ModelsFolder(folder).check_writable()
    except DestinationError as error:
        return Finding(f"models: {error}", None if is_new else error)
    return Finding(
        f"models: {folder} {'will be created when needed' if is_new else 'can be written'}"
    )


def _metrics_file(config: Config, file: Path) -> Finding:
    """Check whether the daemon could write a file, and whether node_exporter could reach it."""
    if file.parent.absolute() == config.outbox.absolute() and not is_there(file.parent):
        return Finding(f"metrics_file: {file} will be created with the outbox")
    try:
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder", str(file))
        try_to_create(file.parent)
    except OSError as error:
        text = f"{config.locate('metrics_file')}: {file} cannot be written: {describe(error)}"
        remedy = "create its folder, let this user write there, or name another file"
        return Finding(f"{text}: {remedy}", DestinationError(text))
    folder = file.parent.resolve()
    closed = [each for each in (folder, *folder.parents) if not each.stat().st_mode & stat.S_IXOTH]
    if not closed:
        return Finding(f"metrics_file: {file} can be written")
    return Finding(
        f"metrics_file: {file} can be written, but only the group of {closed[-1]} can read "
        "it: add node_exporter's user to it, or name another folder"
    )


def _wait_for_self_test(pool: Readers) -> Reading:
    try:
        while True:
            pool.poll()
            if pool.error is not None:
                raise pool.error
            if pool.self_test is not None:
                return pool.self_test
            wait(pool.waitables, pool.seconds_left)
    finally:
        pool.close()
