"""The JSON API of the page's scripts: the queue, answers, images, events, results."""

import json
import logging
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any

import anyio
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from daemon import ids
from daemon.errors import DigitdError, RetryError, describe
from daemon.inbox import put
from daemon.layout import FAILED
from daemon.loop import status
from daemon.outbox.results import csv_lines, final_rows
from daemon.outbox.retention import load_deletions
from daemon.review import queries, workbook
from daemon.review.answers import AnsweredError, SubmittedAnswer, UnknownRowError
from daemon.review.images import GONE, ImageRequest
from daemon.review.security import HEALTH_PATH, MOST_BODY_BYTES, read_body
from daemon.review.state import AppState

log = logging.getLogger(__name__)

_MOST_STREAMS = 32  # pages that receive events
_POLL_SECONDS = 0.25
_HEARTBEAT_SECONDS = 15.0
_MOST_ROWS = 50  # in one event; a page that shows more must be loaded again anyway
_MOST_WORKBOOKS = 2  # being made; each is a process
_QUEUED = 20  # items in one response
_SIDES = {"small": 160, "large": 2000}  # px


class Api:
    """The JSON routes of one outbox."""

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._streams = 0
        self._workbooks = 0
        # Threads that wait for the image decoder must not delay answers.
        self._decoders = anyio.CapacityLimiter(2)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/api/queue", self.queue),
            Route("/api/rows/{id}", self.item),
            Route("/api/answers", self.answer, methods=["POST"]),
            Route("/api/retries", self.retry, methods=["POST"]),
            Route("/image/{id}/{what}", self.image),
            Route("/events", self.events),
            Route("/results.csv", self.results),
            Route("/results.xlsx", self.excel),
            Route("/metrics", self.metrics),
            Route(HEALTH_PATH, self.health),
        ]

    def queue(self, request: Request) -> Response:
        """Return the next items of the queue after a place, and the counts."""
        text = request.query_params.get("after", "")
        after = queries.Cursor.parse(text)
        if text and after is None:
            raise HTTPException(400, "after: must be the place of an item")
        cursors = queries.queue(self._state.db, after, _QUEUED)
        items = []
        for cursor in cursors:
            try:
                item = self._state.answers.item(ids.encode(cursor.number))
            except UnknownRowError:  # the table is being replaced
                continue
            if not item.label and (item.can_retry or not cursor.is_error):
                place = {"is_sample": cursor.is_sample, "place": str(cursor)}
                items.append(item.as_json() | place)
        self._state.follower.index.shown.add(one.number for one in cursors if one.is_sample)
        is_last = len(cursors) < _QUEUED
        return JSONResponse({"items": items, "is_last": is_last, "state": self._state.counts()})

    def item(self, request: Request) -> Response:
        """Return one row."""
        return JSONResponse(self._state.answers.item(request.path_params["id"]).as_json())

    async def answer(self, request: Request) -> Response:
        """Store an answer; the response is sent when it is on the disk."""
        try:
            data = await read_json(request)
            submitted = SubmittedAnswer.parse(data, self._state.user, self._state.reads)
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        try:
            item = await anyio.to_thread.run_sync(self._state.answers.store, submitted)
        except AnsweredError as error:
            text = "somebody else has answered meanwhile"
            return JSONResponse({"error": text, "item": error.item.as_json()}, 409)
        except (DigitdError, OSError) as error:
            log.warning("an answer could not be stored: %s", describe(error))
            return JSONResponse({"error": describe(error)}, 507)
        return JSONResponse(item.as_json())

    async def retry(self, request: Request) -> Response:
        """Put the file of an ``error`` row back into the inbox."""
        job_id = (await read_json(request)).get("id")
        if not isinstance(job_id, str):
            raise HTTPException(400, "id: must be a text")
        return await anyio.to_thread.run_sync(self._retry, job_id)

    def _retry(self, job_id: str) -> Response:
        original = self._state.answers.item(job_id).row["original"]
        try:
            name = put.retry_file(self._state.config, original.removeprefix(f"{FAILED}/"))
        except RetryError as error:
            raise HTTPException(409, str(error)) from None
        self._state.follower.wake()
        return JSONResponse({"name": name})

    async def image(self, request: Request) -> Response:
        """Return an image that a row names, decoded and encoded again."""
        wanted = await anyio.to_thread.run_sync(self._find_image, request)
        decode = self._state.images.decode
        encoded = await anyio.to_thread.run_sync(decode, wanted, limiter=self._decoders)
        if encoded.error:
            raise HTTPException(404, encoded.error)
        headers = {"cache-control": "private, max-age=300"}
        return Response(encoded.data, media_type=encoded.media_type, headers=headers)

    def _find_image(self, request: Request) -> ImageRequest:
        item = self._state.answers.item(request.path_params["id"])
        what = request.path_params["what"]
        if what == "seen":
            deletions = load_deletions(self._state.config.outbox)
            if deletions.include(item.row["id"], item.row["processed_at"]):
                raise HTTPException(404, GONE)  # another picture may have its name by now
            return ImageRequest(item.row["picture"], _SIDES["large"], is_picture=True)
        row = item.row
        if what == "ink":
            side = _SIDES["small"]
            return ImageRequest(row["original"], side, row["sha256"], cropped_by=row["picture"])
        if what not in _SIDES:
            raise HTTPException(404)
        return ImageRequest(row["original"], _SIDES[what], row["sha256"])

    async def events(self, _request: Request) -> Response:
        """Return the stream of events."""
        if self._streams >= _MOST_STREAMS:
            raise HTTPException(503, "too many pages are open")
        # nginx and compressing proxies would hold events back.
        headers = {"x-accel-buffering": "no", "cache-control": "no-store, no-transform"}
        return StreamingResponse(self._events(), 200, headers, "text/event-stream")

    async def _events(self) -> AsyncIterator[str]:
        """Yield server-sent events until the server stops or the browser goes away."""
        follower = self._state.follower
        seen = follower.changes[-1].number if follower.changes else 0
        version: object = None
        session = self._state.access.session
        quiet = 0.0
        self._streams += 1
        try:
            yield "retry: 1000\n\n"
            # A new password ends all logins.
            while not self._state.is_stopping() and session == self._state.access.session:
                if self._state.activity.is_due:
                    await anyio.to_thread.run_sync(self._state.activity.current)
                reads = self._state.config_file.last.reads
                now = follower.version, follower.percent, self._state.activity.last, reads
                if now != version:
                    version, quiet = now, 0.0
                    try:
                        event, seen = await anyio.to_thread.run_sync(self._event, seen)
                        yield event
                    except sqlite3.Error:
                        version = None
                elif quiet >= _HEARTBEAT_SECONDS:
                    quiet = 0.0
                    yield ": still here\n\n"
                await anyio.sleep(_POLL_SECONDS)
                quiet += _POLL_SECONDS
        finally:
            self._streams -= 1

    def _event(self, seen: int) -> tuple[str, int]:
        """Return what changed since the change ``seen``, and the number of the last change."""
        changes = [one for one in list(self._state.follower.changes) if one.number > seen]
        changes = changes[-_MOST_ROWS:]
        new = {ids.encode(one.row) for one in changes if one.is_new}
        cards = queries.cards(self._state.db, {one.row for one in changes})
        rows = [asdict(card) | {"new": card.id in new} for card in cards]
        data = json.dumps({"state": self._state.counts(), "rows": rows}, ensure_ascii=False)
        return f"data: {data}\n\n", changes[-1].number if changes else seen

    def results(self, _request: Request) -> Response:
        """Return the final answers as CSV."""
        finals = final_rows(self._state.config.outbox)
        try:  # the first one now: an error after the headers would look like a short table
            first = list(islice(finals, 1))
        except DigitdError as error:
            raise HTTPException(409, str(error)) from None
        lines = csv_lines(chain(first, finals))
        headers = _as_download("csv")
        return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)

    async def excel(self, _request: Request) -> Response:
        """Return the final answers as an Excel workbook, which another process makes."""
        if self._workbooks >= _MOST_WORKBOOKS:
            raise HTTPException(503, "other Excel files are being made: try again in a minute")
        blocks = self._count_workbook(workbook.make(self._state.config))
        try:  # the first one now, as in `results`
            first = await anext(blocks)
        except DigitdError as error:
            raise HTTPException(409, str(error)) from None

        async def body() -> AsyncIterator[bytes]:
            async with aclosing(blocks):
                yield first
                async for block in blocks:
                    yield block

        return StreamingResponse(body(), 200, _as_download("xlsx"), workbook.MEDIA_TYPE)

    async def _count_workbook(self, blocks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        self._workbooks += 1
        try:
            async with aclosing(blocks):
                async for block in blocks:
                    yield block
        finally:
            self._workbooks -= 1

    def metrics(self, _request: Request) -> Response:
        """Return the daemon's metrics, as it wrote them last."""
        file = self._state.config.metrics_file
        if file is None:
            raise HTTPException(404, "there are no metrics: set `metrics_file` in the config")
        try:
            return Response(file.read_bytes(), media_type=CONTENT_TYPE_PLAIN_0_0_4)
        except OSError as error:
            raise HTTPException(503, f"the metrics cannot be read: {error.strerror}") from None

    def health(self, _request: Request) -> Response:
        """Return 200 if the daemon is reading files, or else 503 with what it does instead."""
        health = status.read_health(self._state.config)
        code = 200 if health.state is status.State.RUNNING else 503
        return PlainTextResponse(f"{health}\n", code)


def _as_download(ending: str) -> dict[str, str]:
    name = f"results-{datetime.now(UTC):%Y-%m-%d}.{ending}"
    return {"content-disposition": f'attachment; filename="{name}"'}


async def read_json(request: Request, most_bytes: int = MOST_BODY_BYTES) -> dict[str, Any]:
    """Return a body that is a JSON object of at most some bytes.

    Raises:
        HTTPException: it is not one.
    """
    # A form on another page cannot send this media type without asking first.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "must be application/json")
    try:
        data = json.loads(await read_body(request, most_bytes))
        json.dumps(data, ensure_ascii=False).encode()  # refuses half of a surrogate pair
    except (ValueError, RecursionError):
        raise HTTPException(400, "must be valid JSON") from None
    if not isinstance(data, dict):
        raise HTTPException(400, "must be a JSON object")
    return data
