"""The page of the models: their reports, which one is in use, promote one, go back."""

import logging
import re
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from daemon.config import Config
from daemon.errors import DigitdError, PromotionError, describe
from daemon.files import open_untrusted
from daemon.layout import REREADS_STARTED
from daemon.loop.status import State, read_health
from daemon.models.current import find_model, shipped_id
from daemon.models.folder import SHIPPED, Entry, ModelsFolder, open_models
from daemon.outbox import rereads
from daemon.outbox.reread_changes import Changes, find_changes
from daemon.records import Stamp
from daemon.review.api import read_json
from daemon.review.html import render
from daemon.review.pages import render_page
from daemon.review.state import AppState

log = logging.getLogger(__name__)

_PICTURE = re.compile(r"[0-9a-f]{12}-[\w.-]+\.png", re.ASCII)
_MOST_PICTURE_BYTES = 20_000_000
_MOST_EXAMPLES = 50


class Models:
    """The routes of the models beside one config."""

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._comparing = threading.Lock()
        self._compared = dict[str, tuple[tuple[Stamp, ...], Changes]]()  # by the names of tables

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/models", self.page),
            Route("/models/list", self.listing),
            Route("/models/pictures/{name}", self.picture),
            Route("/models/rereads/{name}", self.reread),
            Route("/api/models/promote", self.promote, methods=["POST"]),
            Route("/api/models/rollback", self.rollback, methods=["POST"]),
        ]

    def page(self, _request: Request) -> Response:
        """Return the page."""
        tables = reversed(rereads.list_tables(self._state.config.outbox))
        names = [table.name for table in tables]
        values = self._values() | {"rereads": names}
        return render_page(self._state, "models.html", section="models", **values)

    def listing(self, _request: Request) -> Response:
        """Return the changing part of the page."""
        values = self._values()
        return HTMLResponse(render("models_list.html", root=self._state.access.path, **values))

    def picture(self, request: Request) -> Response:
        """Return a picture that a report names; digitd itself made it."""
        name = request.path_params["name"]
        entries = ModelsFolder(self._state.config.models).entries()
        if not _PICTURE.fullmatch(name) or name not in {
            each for one in entries if one.report for each in one.report.pictures
        }:
            raise HTTPException(404)
        try:
            descriptor = open_untrusted(self._state.config.models / name)
        except OSError as error:
            raise HTTPException(404, f"the picture cannot be read: {error.strerror}") from None
        with open(descriptor, "rb") as file:  # noqa: PTH123 - opened safely
            data = file.read(_MOST_PICTURE_BYTES)
        headers = {"cache-control": "private, max-age=300"}
        return Response(data, media_type="image/png", headers=headers)

    def reread(self, request: Request) -> Response:
        """Return the page of what one reread changed."""
        name = request.path_params["name"]
        outbox = self._state.config.outbox
        if name not in {table.name for table in rereads.list_tables(outbox)}:
            raise HTTPException(404, "there is no such reread")
        changes = self._find_changes(name)
        values = {"table": name, "changes": changes, "most_examples": _MOST_EXAMPLES}
        return render_page(self._state, "reread.html", section="models", **values)

    def _find_changes(self, name: str) -> Changes:
        """Return what a reread changed; of a million rows, the first time takes seconds."""
        outbox = self._state.config.outbox
        with self._comparing:
            stamps = _stamp_rereads(outbox)  # before they are read: what comes later is seen later
            found = self._compared.get(name)
            if found is None or found[0] != stamps:
                changes = find_changes(outbox, name, lambda _cells: True, _MOST_EXAMPLES)
                self._compared[name] = found = stamps, changes
            return found[1]

    async def promote(self, request: Request) -> Response:
        """Put a model in use."""
        model_id = (await read_json(request)).get("id")
        if not isinstance(model_id, str) or not model_id:
            raise HTTPException(400, "id: must be the id of a model")
        return await anyio.to_thread.run_sync(self._promote, model_id)

    def _promote(self, model_id: str) -> Response:
        settings = self._state.config
        try:
            promoted = open_models(settings).promote(model_id, settings.reads)
        except (DigitdError, OSError) as error:
            return _refuse(error)
        log.info("model %s was promoted on the page", promoted)
        return JSONResponse({"now": promoted})

    async def rollback(self, request: Request) -> Response:
        """Go back to the model before, if the person saw which one is in use."""
        seen = (await read_json(request)).get("seen")
        if not isinstance(seen, str) or not seen:
            raise HTTPException(400, "seen: must say which model is in use")
        return await anyio.to_thread.run_sync(self._rollback, seen)

    def _rollback(self, seen: str) -> Response:
        try:
            went = open_models(self._state.config).rollback(seen)
        except (DigitdError, OSError) as error:
            return _refuse(error)
        log.info("model %s is in use again instead of %s, by the page", went.now, went.before)
        return JSONResponse({"now": went.now, "skipped": went.skipped})

    def _values(self) -> dict[str, Any]:
        settings = self._state.config
        folder = ModelsFolder(settings.models)
        fixed = fault = ""
        in_use = folder.in_use()
        try:
            find_model(settings)
            open_models(settings)
        except PromotionError as error:
            fixed = str(error)
        except DigitdError as error:
            fault = str(error)
        shipped = shipped_id()
        current = shipped if in_use == SHIPPED else in_use
        return {
            "entries": [_pictured(one) for one in reversed(folder.entries())],
            "fixed": fixed,
            "fault": fault,
            "in_use": in_use,
            "current": "" if fixed else current,
            "before": None if fixed else folder.before,
            "shipped": shipped,
            "reader": _find_reader(settings),
            "rescan_seconds": f"{settings.rescan_seconds:g}",
        }


def _stamp_rereads(outbox: Path) -> tuple[Stamp, ...]:
    """Return the stamps of the files that decide which verdicts rows have.

    A row that is added has no verdict of an earlier reread, so that the table does not count.
    """
    files = [outbox / REREADS_STARTED, *rereads.list_tables(outbox)]
    return tuple(Stamp.of(file.stat()) for file in files if file.exists())


def _find_reader(settings: Config) -> str:
    """Return the id of the model that the running digitd reads with; empty if it is not known."""
    with suppress(OSError, DigitdError):
        health = read_health(settings)
        return health.model if health.state is not State.STOPPED else ""
    return ""


def _pictured(entry: Entry) -> Entry:
    """Return a model whose report names only pictures that are served."""
    if entry.report is None:
        return entry
    served = tuple(filter(_PICTURE.fullmatch, entry.report.pictures))
    return replace(entry, report=replace(entry.report, pictures=served))


def _refuse(error: DigitdError | OSError) -> Response:
    log.warning("the model in use was not changed: %s", describe(error))
    return JSONResponse({"error": describe(error)}, 409 if isinstance(error, DigitdError) else 507)
