"""Find the tables that logrotate moved aside, and open any table, compressed or not."""

import importlib
import io
import logging
import os
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum, auto
from functools import lru_cache
from pathlib import Path
from typing import Any

from daemon.files import open_regular
from daemon.layout import TABLE
from daemon.outbox import rows

log = logging.getLogger(__name__)

# predictions.csv.1, predictions.csv-20261128.gz; with logrotate's `extension .csv` also
# predictions-20261128.csv and predictions.1.csv.gz.
_STEM = Path(TABLE).stem
_NAME = re.compile(rf"{_STEM}\.csv.+|{_STEM}(?=.*\d).+\.csv(?:\.\w+)?", re.DOTALL)
# What decompresses a file, by its first bytes.
_MODULES = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\0": "lzma",
    b"\x28\xb5\x2f\xfd": "compression.zstd",  # from Python 3.14 on
}
_BUFFER_BYTES = 1 << 16
# Other compressed files and UTF-16 have these in their first bytes, tables don't.
_BINARY = re.compile(rb"[\0-\x08\x0e-\x1f]")


class Format(Enum):
    """How a table can be read."""

    TEXT = auto()
    COMPRESSED = auto()  # only from its start
    UNREADABLE = auto()


def is_rotated_name(name: str) -> bool:
    """Return whether a file in the outbox has the name of a table that was moved aside."""
    return _NAME.fullmatch(name) is not None


def list_rotated(outbox: Path) -> list[Path]:
    """Return the tables that logrotate moved aside, newest first, whatever their format.

    Ids give the order: a clock that was wrong, or a restored backup, gives tables other times.
    """
    return [path for *_, path in _list_with_first_ids(outbox)]


def find_tables(outbox: Path, first: str) -> Iterator[Path]:
    """Yield the current table and those that were moved aside whose first row has an id.

    There may be several: logrotate has a table twice while it compresses or copies it.

    Raises:
        OSError: the current table cannot be read.
    """
    current = ""
    with suppress(FileNotFoundError), open_regular(outbox / TABLE) as table:
        current = first_id(table)
    if current == first:
        yield outbox / TABLE
    for id_, _, _, path in _list_with_first_ids(outbox):
        if id_ == first:
            yield path


def _list_with_first_ids(outbox: Path) -> list[tuple[str, int, str, Path]]:
    """Return first id, mtime, name and path of the tables that were moved aside, newest first."""
    found = []
    for path in outbox.glob(f"{_STEM}*"):
        with suppress(FileNotFoundError):  # logrotate has renamed it
            info = path.stat()
            if is_rotated_name(path.name) and stat.S_ISREG(info.st_mode):
                first = _first_id_of(path, info.st_ino, info.st_mtime_ns)
                found.append((first, info.st_mtime_ns, path.name, path))
    return sorted(found, reverse=True)


def find_format(path: Path) -> Format:
    """Return how a table can be read."""
    with open_regular(path) as file:
        head = file.read(rows.HEAD_BYTES)
    if (module := _find_module(head)) is not None:
        return Format.UNREADABLE if _import(module) is None else Format.COMPRESSED
    return Format.UNREADABLE if _BINARY.search(head) else Format.TEXT


def open_table(path: Path) -> io.BufferedReader | None:
    """Open a table for reading; ``None`` if its format cannot be read.

    A compressed table is decompressed while it is read, from its start. What is damaged ends it;
    see ``find_damage``.

    Raises:
        OSError: it cannot be opened.
    """
    found = find_format(path)
    if found is Format.UNREADABLE:
        return None
    file = open_regular(path)
    if found is Format.TEXT:
        return file
    return io.BufferedReader(_Decompressed(file), _BUFFER_BYTES)


def describe_unreadable(path: Path) -> str:
    """Return the message about a table that ``open_table`` does not open."""
    return (
        f"{path} is not read: it is neither text in UTF-8 nor compressed with gzip, xz or bzip2; "
        "save it as one of these, or move it out of the outbox"
    )


def find_damage(table: io.BufferedReader) -> str:
    """Return what was wrong with a table that has been read; empty if nothing was."""
    raw = table.raw
    return raw.damage if isinstance(raw, _Decompressed) else ""


def first_row(path: Path) -> bytes:
    """Return the first row of a table, which no other table has unless it is a copy."""
    table = open_table(path)
    if table is None:
        return b""
    with table:
        table.readline(rows.HEAD_BYTES)
        return table.readline(rows.HEAD_BYTES).rstrip()


def first_id(table: io.BufferedReader) -> str:
    """Return the id of the first row of a table that was just opened; empty if it has none."""
    table.readline(rows.HEAD_BYTES)
    cells = rows.cells(table.readline(rows.HEAD_BYTES).decode("utf-8", "replace"))
    table.seek(0)
    return cells[0] if cells else ""


# The review page lists the tables four times a second, and a compressed one takes 1 ms.
@lru_cache(maxsize=1024)
def _first_id_of(path: Path, _inode: int, _mtime_ns: int) -> str:
    """Return the id of the first row of a table; empty if it cannot be read."""
    try:
        table = open_table(path)
        if table is None:
            return ""
        with table:
            if isinstance(table.raw, _Decompressed):
                table.raw.is_logged = False  # damage is logged when all of it is read
            return first_id(table)
    except OSError:
        return ""


def _find_module(head: bytes) -> str | None:
    return next((module for magic, module in _MODULES.items() if head.startswith(magic)), None)


def _import(module: str) -> Any:  # noqa: ANN401 - one of several modules, or none
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:  # Python was built without it
        return None


class _Decompressed(io.RawIOBase):
    """The content of a compressed file; damaged data are its end.

    Attributes:
        name: the path of the file.
        damage: what is wrong with the data that were read; empty if nothing is.
        is_logged: whether to log it.
    """

    def __init__(self, file: io.BufferedReader) -> None:
        module = _import(_find_module(file.peek(rows.HEAD_BYTES)) or "")
        self.name = file.name
        self.damage = ""
        self.is_logged = True
        self._file = file
        self._stream = module.open(file, "rb")
        # What the modules raise for damaged data, besides an OSError without a number.
        own = (getattr(module, name, EOFError) for name in ("LZMAError", "ZstdError"))
        self._errors = (EOFError, OSError, zlib.error, *own)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        try:
            return int(self._stream.readinto(buffer))
        except self._errors as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            path = Path(os.fsdecode(self.name))
            # logrotate removes the table only after it has been compressed as a whole.
            if not self.damage and not path.with_suffix("").exists():
                self.damage = f"{path} is damaged: restore it from a backup, or move it away"
                if self.is_logged:
                    log.warning("%s", self.damage)
            return 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            self._file.close()
        super().close()
