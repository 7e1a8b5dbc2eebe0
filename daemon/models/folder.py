"""The folder of models: add one, promote one, go back.

Only ``current`` says which model is in use, so its replacement is the moment of a promotion.
``history`` has the models that were promoted, oldest first. It is written before ``current`` names
a new model, and shortened after ``current`` names an earlier one. So wherever that is interrupted,
its lines up to the last one that names the model in use are the true history.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from daemon.assets import SHIPPED_MODEL
from daemon.config import Config
from daemon.errors import (
    DestinationError,
    DigitdError,
    ModelError,
    PromotionError,
    StorageError,
)
from daemon.files import is_there, open_to_append, replace_whole, sync_folder, try_to_create
from daemon.invocation import command
from daemon.layout import CURRENT, HISTORY, MODEL_SUFFIX, MODELS_LOCK, REPORT_SUFFIX
from daemon.models.current import (
    ID,
    find_fault,
    find_model,
    model_path,
    read_current,
    shipped_id,
)
from daemon.models.report import Report, parse
from daemon.records import Reads

SHIPPED = "shipped"  # in `history`: the hash changes with the version of digitd
_BROKEN = "broken"  # what is in use when `current` is broken
_WORDS = {SHIPPED: "the shipped model", _BROKEN: "what `current` named"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A model in the folder.

    Attributes:
        id: the start of its file's SHA-256.
        path: of its file.
        report: what was measured; ``None`` if there is no report that can be read.
        faults: why the report and the file cannot be used, as sentences.
        is_current: whether it is the promoted one.
    """

    id: str
    path: Path
    report: Report | None
    faults: tuple[str, ...]
    is_current: bool

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it must not be promoted, as sentences; empty if it may be."""
        return self.faults if self.report is None else (*self.faults, *self.report.reasons)


@dataclass(frozen=True, slots=True)
class WentBack:
    """What a rollback did.

    Attributes:
        before: the model that was in use, for people.
        now: the one that is.
        skipped: why models between the two cannot be used.
    """

    before: str
    now: str
    skipped: tuple[str, ...]


class ModelsFolder:
    """The folder ``models/``; it may be missing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def before(self) -> str | None:
        """What ``rollback`` would go back to, in words; ``None`` if there is nothing.

        Raises:
            OSError: ``history`` cannot be read.
        """
        history = self._history(self.in_use())
        if not history:
            return None
        now, _ = self._step_back(history)
        return _WORDS.get(now, now)

    def in_use(self) -> str:
        """Return the promoted model's id, "shipped" for none, or "broken" if it cannot be used."""
        try:
            return self.current() or SHIPPED
        except ModelError:
            return _BROKEN

    def path_of(self, model_id: str) -> Path:
        """Return the path of a model's file."""
        return model_path(self.path, model_id)

    def current(self) -> str | None:
        """Return the id of the promoted model; ``None`` for the shipped one.

        Raises:
            ModelError, StorageError: see ``read_current``.
        """
        return read_current(self.path)

    def entries(self) -> tuple[Entry, ...]:
        """Return all models, oldest first.

        Raises:
            OSError: the folder cannot be listed.
        """
        promoted = None
        with suppress(DigitdError):
            promoted = self.current()
        try:
            names = [file.name for file in self.path.iterdir()]
        except FileNotFoundError:
            names = []
        ids = {name.removesuffix(MODEL_SUFFIX) for name in names if name.endswith(MODEL_SUFFIX)}
        entries = (self._entry(one, promoted) for one in ids if ID.fullmatch(one))
        return tuple(
            sorted(entries, key=lambda one: (one.report.made if one.report else "", one.id))
        )

    def find(self, prefix: str) -> Entry | None:
        """Return the model whose id begins with a text; ``None`` for the shipped one.

        Args:
            prefix: the beginning of an id, or ``shipped``.

        Raises:
            PromotionError: there is none, or there are several.
        """
        if prefix in {SHIPPED, shipped_id()}:
            return None
        known = {one.id: one for one in self.entries()} | {shipped_id(): None}
        found = [one for one in known if prefix and one.startswith(prefix.lower())]
        if not found:
            raise PromotionError(
                f"{self.path}: has no model whose id begins with {prefix!r}: "
                f"{command('model list')} names them"
            )
        if len(found) > 1:
            ids = ", ".join(found)
            raise PromotionError(f"{prefix!r} is the beginning of several ids, {ids}: type more")
        return known[found[0]]

    def check_writable(self) -> None:
        """Check whether models can be added, without creating anything.

        Raises:
            DestinationError: they cannot.
        """
        is_new = not is_there(self.path)
        try:
            try_to_create(self.path.parent if is_new else self.path)
        except OSError as error:
            raise DestinationError(
                f"{self.path} cannot be {'created' if is_new else 'written'}: {error.strerror}: "
                "let this user write there, or add and promote models as another user"
            ) from None

    def add(self, file: Path, report: Report) -> str:
        """Copy a model into the folder with its report, and return its id.

        The report's pictures must be next to ``file``. Their names get the id in front. What an
        interrupted call has copied is not listed, and the next one overwrites it.

        Args:
            file: a model file; it stays where it is.
            report: on this model.

        Raises:
            ModelError: ``file`` is no model that this digitd can read with.
            OSError: something cannot be read or written.
        """
        from daemon.reading.model import read_file  # noqa: PLC0415 - see `_check`

        _, _, model_id = read_file(file)
        names = tuple(f"{model_id}-{name}" for name in report.pictures)
        with self._changing():
            for name, new in zip(report.pictures, names, strict=True):
                replace_whole(self.path / new, (file.parent / name).read_bytes(), durable=True)
            text = replace(report, pictures=names).as_json()
            replace_whole(self._report_path(model_id), text.encode(), durable=True)
            replace_whole(self.path_of(model_id), file.read_bytes(), durable=True)
        return model_id

    def promote(self, prefix: str, reads: Reads = Reads.DIGIT) -> str:
        """Put a model in use; return its id. This does nothing if it is in use already.

        Args:
            prefix: see ``find``.
            reads: what it must be able to read.

        Raises:
            PromotionError: there is no such model, it has no report, its report has reasons not to
                promote it, or this digitd cannot read with its file.
            OSError: ``current`` cannot be written.
        """
        entry = self.find(prefix)
        if entry is None:
            model_id, line = shipped_id(), SHIPPED
        else:
            self._check(entry, reads)
            model_id = line = entry.id
        with self._changing():
            now = self.in_use()
            if now != line:
                self._write_history([*self._history(now), line])
                self._write_current(line)
        return model_id

    def rollback(self, seen: str | None = None) -> WentBack:
        """Go back to the model that was promoted before, or to the shipped one.

        Models that cannot be used any more are skipped.

        Args:
            seen: the id of the model that must be in use now; ``None`` for any.

        Raises:
            PromotionError: no model was promoted, or another one than ``seen`` is in use.
            OSError: ``current`` cannot be written.
        """
        if not is_there(self.path):
            raise self._nothing_before()
        with self._changing():
            before = self.in_use()
            history = self._history(before)
            if not history:
                raise self._nothing_before()
            if seen not in {None, before}:
                raise PromotionError(
                    f"{_WORDS.get(before, before)} is in use meanwhile, not {seen}"
                )
            left = history.copy()
            now, skipped = self._step_back(left)
            if now == before:
                raise PromotionError("nothing to go back to: " + "; ".join(skipped))
            # Else a second interrupted rollback would leave lines that are not history.
            self._write_history(history)
            self._write_current(now)
            self._write_history(left)
        return WentBack(_WORDS.get(before, before), _WORDS.get(now, now), skipped)

    def _step_back(self, history: list[str]) -> tuple[str, tuple[str, ...]]:
        """Shorten the history to the last model before that can be used.

        Returns:
            That model, and why later ones were skipped.
        """
        skipped = list[str]()
        while True:
            history.pop()
            now = history[-1] if history else SHIPPED
            fault = "" if now == SHIPPED else find_fault(self.path, now)
            if not fault:
                return now, tuple(skipped)
            skipped.append(fault)

    def _check(self, entry: Entry, reads: Reads) -> None:
        """Raise PromotionError if a model must not or cannot be promoted."""
        # OpenCV and LiteRT take 60 MB, and the review page lists models without them.
        from daemon.reading.model import load  # noqa: PLC0415

        reasons = entry.reasons
        if len(reasons) == 1:
            raise PromotionError(f"{entry.id} was not promoted: {reasons[0]}")
        if reasons:
            raise PromotionError("\n  ".join([f"{entry.id} was not promoted:", *reasons]))
        try:
            model = load(entry.path)
            if reads is Reads.NUMBER:
                model.require_line()
        except ModelError as error:
            raise PromotionError(f"{entry.id} was not promoted: {error}") from None

    def _entry(self, model_id: str, promoted: str | None) -> Entry:
        report, fault = None, ""
        try:
            faults = [find_fault(self.path, model_id)]
        except StorageError as error:
            faults = [str(error)]
        file = self._report_path(model_id)
        again = "make the model again with the command that made it"
        try:
            report = parse(file.read_bytes())
        except FileNotFoundError:
            fault = f"it has no report, {file} is missing: put it back, or {again}"
        except OSError as error:
            fault = f"its report {file} cannot be read: {error.strerror}: let this user read it"
        except ValueError as error:
            fault = f"its report {file} is broken: {error}: put it back, or {again}"
        faults = [each for each in (fault, *faults) if each]
        return Entry(model_id, self.path_of(model_id), report, tuple(faults), model_id == promoted)

    def _report_path(self, model_id: str) -> Path:
        return self.path / f"{model_id}{REPORT_SUFFIX}"

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Create the folder, and keep other processes from changing it."""
        self.check_writable()
        if not self.path.is_dir():
            self.path.mkdir(exist_ok=True)  # whoever runs the daemon must be able to read it
            sync_folder(self.path.parent)
        descriptor = open_to_append(self.path / MODELS_LOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _history(self, now: str) -> list[str]:
        """Return the models that were promoted up to the one in use, oldest first.

        The shipped model is only in it if it was promoted after another one.
        """
        try:
            text = (self.path / HISTORY).read_text("utf-8", "replace")
        except FileNotFoundError:
            text = ""
        lines = [line for line in text.split() if line == SHIPPED or ID.fullmatch(line)]
        if now in lines:
            return lines[: len(lines) - lines[::-1].index(now)]
        # Without `current`, nothing was promoted. Otherwise somebody else wrote it.
        return [] if now == SHIPPED else [*lines, now]

    def _write_history(self, lines: list[str]) -> None:
        data = "".join(f"{line}\n" for line in lines).encode()
        replace_whole(self.path / HISTORY, data, durable=True)

    def _write_current(self, line: str) -> None:
        if line == SHIPPED:
            (self.path / CURRENT).unlink(missing_ok=True)
            sync_folder(self.path)
        else:
            replace_whole(self.path / CURRENT, f"{line}\n".encode(), durable=True)

    def _nothing_before(self) -> PromotionError:
        return PromotionError(f"{self.path}: nothing to go back to: the shipped model is in use")


def choose_model(config: Config, wanted: str | None) -> Path:
    """Return the file of a model.

    Args:
        config: has the folder ``models/``, and the model in use.
        wanted: a path, or what ``ModelsFolder.find`` takes. ``None`` for the model in use.

    Raises:
        PromotionError: no model has this id, or several begin with it.
        ModelError, StorageError: the model in use is broken.
    """
    if wanted is None:
        return find_model(config)
    if is_path(wanted):
        return Path(wanted)
    entry = ModelsFolder(config.models).find(wanted)
    return SHIPPED_MODEL if entry is None else entry.path


def is_path(wanted: str) -> bool:
    """Return whether a text is the path of a model, and not an id."""
    path = Path(wanted)
    return path.suffix == MODEL_SUFFIX or len(path.parts) > 1


def open_models(config: Config) -> ModelsFolder:
    """Return the folder of a config that uses the promoted model.

    Raises:
        PromotionError: the config names a model, so that a promotion would change nothing.
    """
    if config.model is None:
        return ModelsFolder(config.models)
    file = config.file
    lines = [] if file is None else file.read_text(encoding="utf-8").splitlines()
    number = next((at for at, line in enumerate(lines, 1) if line.startswith("model:")), None)
    where = f"{file}: line {number}" if number else f"{file}"
    raise PromotionError(
        f"{where}: `model: {config.model}` is set, so no promoted model is used: remove this line, "
        "and reload digitd"
    )
