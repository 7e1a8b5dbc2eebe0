"""Say whether ``digitd run`` would start: each thing it needs, tried."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from daemon.assets import KNOWN_DIGIT
from daemon.errors import DigitdError
from daemon.intake.inbox import Inbox
from daemon.lock import is_running
from daemon.service.service import make_folders
from daemon.workers import worker
from daemon.workers.pool import Engine, Work, worker_count

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from daemon.config import Config


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried, and how it went."""

    good: bool
    text: str


def check(config: Config) -> Iterator[Finding]:
    """Try what a start needs, the slow things last; config itself is valid by now."""
    yield Finding(good=True, text="config: every key is valid")
    try:
        make_folders(config)
    except (DigitdError, OSError) as error:
        yield Finding(good=False, text=str(error))
        return
    folders = [_folder(key, folder) for key, folder in _folders(config)]
    yield from folders
    if all(folder.good for folder in folders):
        yield _watch(config)
    if is_running(config.inbox, config.outbox):
        yield Finding(good=True, text="a digitd is running on this outbox: a second would exit 75")
    yield _model(config)


def _folders(config: Config) -> tuple[tuple[str, Path], ...]:
    return ("inbox", config.inbox), ("outbox", config.outbox)


def _folder(key: str, folder: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=folder):
            os.listdir(folder)  # noqa: PTH208 - that it can be listed is all we want to know
    except OSError as error:
        return Finding(good=False, text=f"{key}: {folder} cannot be used: {error.strerror}")
    return Finding(good=True, text=f"{key}: {folder} is there, can be listed and written")


def _watch(config: Config) -> Finding:
    inbox = Inbox(config, ring=lambda: None)
    try:
        inbox.open()
    except (DigitdError, OSError) as error:
        return Finding(good=False, text=f"watch: {error}")
    finally:
        inbox.close()
    why = ""
    if inbox.mode == config.watch:
        why = ", as configured"
    elif inbox.mode == "polling":
        why = "; the file system sends no events, or inotify is used up"
    return Finding(good=True, text=f"watch: by {inbox.mode}{why}")


def _model(config: Config) -> Finding:
    """Start one worker as ``run`` does, which reads the known digit."""
    read = partial(worker.read, config.reading)
    work = Work(load=lambda _: None, begin=lambda _: None, read=read)
    engine = Engine(work, 1, ring=lambda: None)
    try:
        reading = engine.hire().result()
    except DigitdError as error:
        return Finding(good=False, text=f"model: {error}")
    finally:
        engine.close()
    confidence = reading.verdict.confidence or 0.0
    return Finding(
        good=True,
        text=(
            f"model: {config.model} ({reading.model}) reads a known {KNOWN_DIGIT} as "
            f"{reading.verdict.digit} ({confidence:.1%}); workers: {worker_count(config.workers)}"
        ),
    )
