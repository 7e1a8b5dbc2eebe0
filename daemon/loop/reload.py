"""Have the running digitd take its config, and wait for what comes of it."""

import json
import os
import select
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.config import Config
from daemon.errors import DigitdError, NotRunningError, ReloadError
from daemon.files import same_path
from daemon.invocation import command
from daemon.layout import STATUS_PAGE, WORK_FOLDER, WORK_LOCK
from daemon.locks import busy, is_held, read_holder
from daemon.loop.status import Health, ReloadOutcome, State, is_named, lock_files
from daemon.text import printable

# Loading a model on a busy machine may take 180 s (``workers.worker.Timeouts``), and the batches in
# flight 7 s.
_ANSWER_SECONDS = 300.0
_POLL_SECONDS = 0.1
# Between two sessions no digitd holds the locks for a moment.
_LOCK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What the running digitd made of its config, and what it does now."""

    pid: int
    outcome: ReloadOutcome
    health: Health


def reload(config: Config) -> Reloaded:
    """Have the digitd that was started with this config file read it again; return what it says.

    Raises:
        NotRunningError: none is running.
        BusyError: another digitd, with another config file, has these folders.
        ReloadError: it does not answer, has ended, or cannot be reached from here.
        StorageError: a lock file may not be opened by this user.
    """
    pid, lock = _find_daemon(config)
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        raise _unreachable(pid) from None
    try:
        # The old config's inbox may be another one.
        works = {config.inbox / WORK_FOLDER, *_open_works(pid, lock)}
        asked_at = time.monotonic()
        try:
            signal.pidfd_send_signal(process, signal.SIGHUP)
        except PermissionError:
            raise _foreign(pid) from None
        return _wait(pid, process, works, asked_at)
    finally:
        os.close(process)


def find_folders_in_use(config: Config) -> Config:
    """Return a config with the folders that the digitd that was started with its file uses now.

    They are others if the file was changed and has not been taken. It is the same config if there
    is no such digitd, or if it cannot be found from one of the new folders.
    """
    try:
        own = _find_own(config, filter(is_held, lock_files(config)))
        if own is None:
            return config
        pid, _ = own
        pages = map(_read_page, _open_works(*own))
        page = next((page for page in pages if page.get("pid") == pid), None)
    except (DigitdError, OSError):
        return config
    if page is None:
        return config
    folders = {"inbox": config.inbox, "outbox": config.outbox}
    changed = {
        key: Path(page[key])
        for key, folder in folders.items()
        if key in page and not is_named(page[key], folder)
    }
    return config.model_copy(update=changed)


def describe_folders_not_taken(config: Config, in_use: Config) -> str:
    """Return which folders of a config the running digitd has not taken; empty if it has both."""
    folders = ("inbox", config.inbox, in_use.inbox), ("outbox", config.outbox, in_use.outbox)
    return "; ".join(
        f"{config.locate(key)}: {printable(str(new))} is not yet in use: digitd uses "
        f"{printable(str(now))} until {command('reload')}"
        for key, new, now in folders
        if not same_path(new, now)
    )


def _find_daemon(config: Config) -> tuple[int, Path]:
    """Return the process id of the digitd that was started with this config file, and its lock."""
    inbox_lock, outbox_lock = lock_files(config)
    deadline = time.monotonic() + _LOCK_SECONDS
    while not (held := list(filter(is_held, (outbox_lock, inbox_lock)))):
        if time.monotonic() > deadline:
            raise NotRunningError(
                f"{config.file}: no digitd has this inbox or this outbox: start it with "
                f"{command('run')}, or send it SIGHUP if both are new in the config"
            )
        time.sleep(_POLL_SECONDS)
    if (own := _find_own(config, held)) is None:
        raise busy(held[0])
    return own


def _find_own(config: Config, held: Iterable[Path]) -> tuple[int, Path] | None:
    """Return the first of some locks whose holder was started with this config file, and its id."""
    for lock in held:
        holder = read_holder(lock)
        if holder is not None and holder.was_started_with(config.file):
            return holder.pid, lock
    return None


def _open_works(pid: int, lock: Path) -> list[Path]:
    """Return the work folders whose lock a process has open.

    Raises:
        ReloadError: the process cannot be looked at, or does not have the lock: its id is that of
            another container.
    """
    works, has_lock = [], False
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except PermissionError:
        raise _foreign(pid) from None
    except FileNotFoundError:
        raise _unreachable(pid) from None
    for descriptor in descriptors:
        with suppress(OSError):  # it has been closed
            has_lock |= os.path.samestat(descriptor.stat(), lock.stat())
            target = descriptor.readlink()
            if target.name == WORK_LOCK and target.parent.name == WORK_FOLDER:
                works.append(target.parent)
    if not has_lock:
        raise _unreachable(pid)
    return works


def _foreign(pid: int) -> ReloadError:
    return ReloadError(
        f"digitd (process {pid}) belongs to another user: run this as the user that digitd runs as"
    )


def _unreachable(pid: int) -> ReloadError:
    return ReloadError(
        f"digitd (process {pid}) is not on this machine or in this container: run this there"
    )


def _wait(pid: int, process: int, works: set[Path], asked_at: float) -> Reloaded:
    ended = select.poll()
    ended.register(process, select.POLLIN)
    deadline = time.monotonic() + _ANSWER_SECONDS
    while time.monotonic() < deadline:
        has_ended = bool(ended.poll(_POLL_SECONDS * 1000))
        for page in map(_read_page, works):
            outcome = _parse_outcome(page, pid, asked_at)
            if outcome is None:
                continue
            # After a successful reload, the new session first loads the model.
            if outcome.error or page["state"] in {State.RUNNING, State.PAUSED}:
                return Reloaded(pid, outcome, Health(State(page["state"]), page["why"]))
        if has_ended:
            raise ReloadError(f"digitd (process {pid}) has ended during the reload: see its log")
    raise ReloadError(
        f"digitd (process {pid}) has not answered for {_ANSWER_SECONDS:.0f} seconds: see its log, "
        f"and {command('status')}"
    )


def _read_page(work: Path) -> dict[str, Any]:
    """Return a status page; empty if there is none, or it is being written."""
    try:
        page = json.loads((work / STATUS_PAGE).read_bytes())
    except (OSError, ValueError):
        return {}
    return page if isinstance(page, dict) else {}


def _parse_outcome(page: dict[str, Any], pid: int, asked_at: float) -> ReloadOutcome | None:
    """Return what came of the reload that was asked for; ``None`` if nothing has yet."""
    found = page.get("reload")
    if page.get("pid") != pid or found is None or found["read_at"] < asked_at:
        return None
    return ReloadOutcome(**found)
