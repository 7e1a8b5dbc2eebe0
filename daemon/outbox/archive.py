"""The files in ``annotated/``, ``originals/`` and ``failed/``: choose their names, move them there.

The folders are flat, or have a subfolder for each day.
"""

import filecmp
import logging
import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path, PurePath

from daemon import files, ids, layout
from daemon.files import PART_SUFFIX
from daemon.layout import FAILED, NAME_BYTES, ORIGINALS, PICTURES
from daemon.records import Job, Placement, Result, Status
from daemon.text import printable

log = logging.getLogger(__name__)

_FOLDERS = (PICTURES, ORIGINALS, FAILED)
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
# A longer suffix is not an extension, but part of a name that contains a dot.
_LONGEST_SUFFIX = 16
_WITH_ID = re.compile(rf"(?P<stem>.+)-{ids.PATTERN.pattern}(?P<suffix>\.[^.]*)?", re.DOTALL)


def day_folder(moment: datetime) -> str:
    """Return the name of a day's folder, such as ``2026-11-24``; ``moment`` is in UTC."""
    return f"{moment:%Y-%m-%d}"


def is_file_name(name: str) -> bool:
    """Return whether a text can be the name of a published file, such as ``digit7.png``.

    A file in a day's folder is named with it: ``2026-11-24/digit7.png``.
    """
    *folders, file = name.split("/")
    at_most_a_day = not folders or (len(folders) == 1 and _DAY.fullmatch(folders[0]) is not None)
    return at_most_a_day and bool(file) and not file.startswith(".") and "\0" not in name


def list_names(folder: Path) -> Iterator[str]:
    """Yield the names of the files in one of the folders; none if it does not exist.

    Unfinished copies from another file system are left out.
    """
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            if _is_day(entry):
                yield from (f"{entry.name}/{name}" for name in list_names(folder / entry.name))
            elif not (entry.name.startswith(".") and entry.name.endswith(PART_SUFFIX)):
                yield entry.name


def list_folders(folder: Path) -> list[Path]:
    """Return one of the folders, and the folders of days in it."""
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return []
    with entries:
        return [folder, *(folder / entry.name for entry in entries if _is_day(entry))]


def _is_day(entry: os.DirEntry[str]) -> bool:
    return bool(_DAY.fullmatch(entry.name)) and entry.is_dir(follow_symlinks=False)


def dropped_name(name: str) -> str:
    """Return the name under which a file was dropped: its published name without the id, if any.

    A long name may have been truncated when the id was added.
    """
    found = _WITH_ID.fullmatch(name)
    return f"{found['stem']}{found['suffix'] or ''}" if found else name


def original_path(outbox: Path, cell: str) -> Path | None:
    """Return the path of a row's original, which may be missing.

    ``None`` if the cell, which somebody may have edited, names no file in digitd's folders.
    """
    folder, _, name = cell.partition("/")
    if folder not in {ORIGINALS, FAILED} or not is_file_name(name):
        return None
    day, slash, _ = name.rpartition("/")
    # Somebody may have replaced a day's folder.
    return None if slash and (outbox / folder / day).is_symlink() else outbox / folder / name


class Archive:
    """``annotated/``, ``originals/`` and ``failed/`` of one outbox."""

    def __init__(self, outbox: Path, *, daily: bool) -> None:
        """Take the outbox; ``daily`` puts the files of each day into a subfolder."""
        self._outbox = outbox
        self._daily = daily
        # Names in rows whose files are not published yet.
        self._reserved: set[str] = set()

    def open(self) -> None:
        """Create missing folders, and remove unfinished copies."""
        for name in _FOLDERS:
            folder = self._outbox / name
            files.make_folder(folder)
            for pattern in (f".*{PART_SUFFIX}", f"*/.*{PART_SUFFIX}"):
                for part in folder.glob(pattern):
                    part.unlink()

    def place(self, result: Result) -> Placement:
        """Choose where a result's files go, and reserve these names.

        A file keeps its name. If that is taken, its id is added.
        """
        name = printable(result.job.name)
        day = f"{day_folder(result.job.received_at)}/" if self._daily else ""
        if len(_picture_name(name).encode()) > NAME_BYTES or self._is_taken(f"{day}{name}"):
            name = _with_id(name, result.job.id)
        name = f"{day}{name}"
        self._reserved.add(_picture_name(name))
        folder = FAILED if result.verdict.status is Status.ERROR else ORIGINALS
        picture = f"{PICTURES}/{_picture_name(name)}" if result.has_picture else ""
        return Placement(picture, f"{folder}/{name}")

    def reserve(self, placement: Placement) -> None:
        """Reserve the names of a row that an earlier run committed."""
        self._reserved.add(_reserved_name(placement))

    def release(self, placement: Placement) -> None:
        """Free reserved names, after the commit failed or the files were published."""
        self._reserved.discard(_reserved_name(placement))

    def publish(self, job: Job, placement: Placement) -> None:
        """Move a job's picture and original to the paths in its row; see ``Outbox.publish``."""
        if placement.picture and not _remove_if_empty(job.picture_path):
            _move(job.picture_path, self._outbox / placement.picture)
        _move(job.path, self._outbox / placement.original)
        self.release(placement)

    def _is_taken(self, name: str) -> bool:
        picture = _picture_name(name)
        places = (f"{ORIGINALS}/{name}", f"{FAILED}/{name}", f"{PICTURES}/{picture}")
        return picture in self._reserved or any(
            files.is_there(f"{self._outbox}/{place}") for place in places
        )


def _move(source: Path, target: Path) -> None:
    """Move a file to the path in its row, unless that is already done."""
    if not files.is_there(source):
        if not files.is_there(target):
            log.error("%s was removed from the work folder before it was published", source)
        return
    part_name = f".{source.name[: ids.LENGTH]}{PART_SUFFIX}"
    try:
        try:
            files.move_noreplace(source, target, part_name)
        except FileNotFoundError:  # a new day, or someone removed the folder
            _create_folder(target.parent)
            files.move_noreplace(source, target, part_name)
    except FileExistsError:
        if layout.is_conflict_copy(source.name) and not layout.is_conflict_copy(target.name):
            log.warning(
                "%s is left alone: a sync program has copied a file that is published; remove it, "
                "and exclude %s from the sync",
                *(source, source.parent),
            )
            return
        # An earlier run may have copied the file and ended before it removed the source.
        if not target.is_file() or not filecmp.cmp(source, target, shallow=False):
            raise
        source.unlink()


def _remove_if_empty(picture: Path) -> bool:
    """Remove a picture whose content a power failure has lost; return whether that was so."""
    try:
        if picture.lstat().st_size:
            return False
    except FileNotFoundError:
        return False
    log.error(
        "%s is empty: not published; `digitd predict FILE --picture FOLDER` makes a new one",
        picture,
    )
    picture.unlink()
    return True


def _create_folder(folder: Path) -> None:
    """Create one of the folders, or the folder of a day in it."""
    if _DAY.fullmatch(folder.name):
        files.make_folder(folder.parent)
    files.make_folder(folder)


def _reserved_name(placement: Placement) -> str:
    _, _, name = placement.original.partition("/")
    return _picture_name(name)


def _picture_name(name: str) -> str:
    return name if name.lower().endswith(".png") else f"{name}.png"


def _with_id(name: str, job_id: str) -> str:
    """Return a name with an id before its extension; the stem is truncated if it is too long.

    The dash before the id must not start a formula either.
    """
    suffix = PurePath(name).suffix
    if len(suffix) > _LONGEST_SUFFIX:
        suffix = ""
    end = f"-{job_id}{suffix}"
    room = NAME_BYTES - len(f"'{end}.png".encode())
    return printable(name.removesuffix(suffix).encode()[:room].decode("utf-8", "ignore") + end)
