"""Check the tables of rereads: each line is about a row and its file, no row has two in one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import BinaryIO

from daemon import files, layout, locks
from daemon.errors import DigitdError
from daemon.invocation import command
from daemon.layout import REREADS
from daemon.outbox import rereads, rows
from daemon.text import printable

_ID, _SHA256, _MODEL = map(rows.COLUMNS.index, ("id", "sha256", "model"))


@dataclass(slots=True)
class RereadAudit:
    """The tables of one outbox as they were when this was made.

    Make it before the rows are read: a line is written after its row.

    Attributes:
        outbox: has the tables.
        foreign: paths of files that sync programs and the like have left, relative to the outbox.
    """

    outbox: Path
    foreign: list[str] = field(default_factory=list)
    _sizes: dict[Path, int] = field(default_factory=dict)
    _strangers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """List the tables, and the files that do not belong there."""
        folder = self.outbox / REREADS
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            name = path.name
            is_own = rereads.TABLE_NAME.fullmatch(str(PurePath(name).with_suffix(".csv")))
            if name.startswith(".") and name.endswith(files.PART_SUFFIX):
                continue  # of a picture that is being replaced
            if is_own and path.suffix in {".csv", ".png"} and path.is_file():
                if path.suffix == ".csv":
                    self._sizes[path] = path.stat().st_size
            elif layout.is_foreign(name):
                self.foreign.append(f"{REREADS}/{name}")
            else:
                self._strangers.append(name)

    def find_discrepancies(self, sha256_of: Mapping[str, str]) -> Iterator[str]:
        """Yield a line for each; ``sha256_of`` has each row's, which may be empty, by its id."""
        for name in self._strangers:
            yield f"{REREADS}/{printable(name)}: is no table of a reread; move it out of the outbox"
        for path, size in self._sizes.items():
            with path.open("rb") as file:
                yield from _check_table(path, file, size, sha256_of)


def _check_table(
    path: Path, file: BinaryIO, size: int, sha256_of: Mapping[str, str]
) -> Iterator[str]:
    name = f"{REREADS}/{path.name}"
    if not size:
        return  # it is being created, or will be at the next reread
    if fault := rows.find_header_fault(file.readline(rows.HEAD_BYTES), rows.HEADER):
        yield f"{name}: the first line is not the header: {fault}; move the file away"
        return
    model = path.name.partition("-")[0]
    seen = set[str]()
    for number, raw in enumerate(files.complete_lines(file), 2):
        if file.tell() > size:
            return
        fault = _find_fault(raw, sha256_of, seen, model)
        if fault:
            yield f"{name}, line {number}: {fault}"
    if file.read(1) and not _is_being_written(path):
        yield (
            f"{name}: the last line has no newline (a torn line); the next {command('reread')} "
            "with this model removes it"
        )


def _find_fault(raw: bytes, sha256_of: Mapping[str, str], seen: set[str], model: str) -> str:
    """Return what is wrong with a line; empty if nothing is."""
    cells = rows.cells(raw.decode("utf-8", "replace"))
    if cells is None:
        return "not a complete row; remove the line"
    job_id, sha256 = cells[_ID], sha256_of.get(cells[_ID])
    if sha256 is None:
        return f"no row has the id {job_id}; remove the line"
    if job_id in seen:
        return f"the row {job_id} has a line above; remove this one"
    seen.add(job_id)
    if sha256 not in {"", cells[_SHA256]}:
        return f"is about another file than the row {job_id} (their sha256 differ); remove the line"
    if cells[_MODEL] not in {"", model}:
        return f"was read by the model {cells[_MODEL]}; move it to the table with that name"
    return ""


def _is_being_written(path: Path) -> bool:
    try:
        return locks.is_held(path)
    except DigitdError:
        return False
