"""Files that people add on the page: they go into the inbox, and their rows are found."""

import hashlib
import re
import sqlite3
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import suppress

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from daemon import ids, pattern
from daemon.config import Config
from daemon.errors import describe
from daemon.inbox import put
from daemon.inbox.listing import Kind, Listing
from daemon.review import queries
from daemon.review.answers import UnknownRowError
from daemon.review.queries import Upload
from daemon.review.security import stream_body
from daemon.review.state import AppState

_MOST_UPLOADS = 4
_MOST_ASKED = 20  # uploads in one request for their rows
# The inbox is listed by people and by digitd: a browser must not fill it without bound.
_MOST_WAITING = 10_000


class Uploads:
    """The routes that take files."""

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._uploads = 0
        # By the names in the inbox. A row is found by its name, so none is given twice at a time.
        self._unread = OrderedDict[str, Upload]()
        self._naming = anyio.Lock()

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/api/files", self.upload, methods=["POST"]),
            Route("/api/files", self.uploaded),
        ]

    async def upload(self, request: Request) -> Response:
        """Store the body as a file in the inbox; return its name there, and the upload's id."""
        name = request.query_params.get("name", "")
        length = request.headers.get("content-length", "")
        size = int(length) if length.isascii() and length.isdecimal() else None
        if self._uploads >= _MOST_UPLOADS:
            return JSONResponse({"error": "too many files at once: try again"}, 429)
        self._uploads += 1
        try:
            await anyio.to_thread.run_sync(_check_upload, self._state.config, name, size)
            after = await anyio.to_thread.run_sync(self._newest)
            body = stream_body(request)
            upload = await self._receive(name, after, body)
        except OSError as error:
            return JSONResponse({"error": describe(error)}, 507)
        finally:
            self._uploads -= 1
        return JSONResponse({"name": upload.name, "id": str(upload)}, 201)

    async def _receive(self, name: str, after: int, body: AsyncIterator[bytes]) -> Upload:
        """Write a file into the inbox under a name that digitd ignores, then rename it.

        Raises:
            HTTPException: it is larger than ``max_file_mb``, or digitd would ignore it.
            OSError: it cannot be written.
        """
        config = self._state.config
        part = put.new_part(config.inbox)
        bytes_left = int(config.max_file_mb * 1e6)
        digest = hashlib.sha256()
        try:
            async with await anyio.open_file(part, "xb") as file:
                async for block in body:
                    bytes_left -= len(block)
                    if bytes_left < 0:
                        raise HTTPException(413, _describe_excess(config))
                    digest.update(block)
                    await file.write(block)
            async with self._naming:
                stored = await anyio.to_thread.run_sync(
                    put.add_file, config, part, name, self._is_unread
                )
                if stored is not None:
                    upload = Upload(after, digest.hexdigest(), stored)
                    self._unread[stored] = upload
                    if len(self._unread) > _MOST_WAITING:
                        self._unread.popitem(last=False)
                    return upload
        except FileExistsError:
            raise HTTPException(
                409,
                "a file with this name is waiting in the inbox: drop it again when that one has "
                "been read",
            ) from None
        finally:
            part.unlink(missing_ok=True)
        raise HTTPException(
            422,
            "it is not an image, and digitd ignores files with such a name: save it as JPEG or "
            f"PNG, or rename it to match {pattern.describe(config.pattern)}",
        )

    def _is_unread(self, name: str) -> bool:
        """Return whether an earlier upload has a name, and has no row yet."""
        upload = self._unread.get(name)
        if upload is None:
            return False
        with suppress(sqlite3.Error):  # the index is being rebuilt
            if queries.find_upload(self._state.db, upload) is not None:
                self._unread.pop(name, None)
                return False
        return True

    def _newest(self) -> int:
        try:
            return queries.newest(self._state.db)
        except sqlite3.Error:  # the index is being rebuilt
            return 0

    def uploaded(self, request: Request) -> Response:
        """Return the rows of some uploads, by the uploads' ids; those without one are left out."""
        texts = request.query_params.getlist("id")
        uploads = {text: upload for text in texts[:_MOST_ASKED] if (upload := Upload.parse(text))}
        if len(uploads) < len(set(texts)):
            raise HTTPException(400, f"id: must be at most {_MOST_ASKED} ids of uploads")
        rows = {}
        for text, upload in uploads.items():
            with suppress(UnknownRowError):  # or the table is being replaced
                if (number := queries.find_upload(self._state.db, upload)) is not None:
                    rows[text] = self._state.answers.item(ids.encode(number)).as_json()
        return JSONResponse({"rows": rows})


def _check_upload(config: Config, name: str, size: int | None) -> None:
    """Check that a file can be stored in the inbox, before any of it is received.

    Args:
        config: names the inbox and limits the size.
        name: the file's name, as the browser sent it.
        size: its announced size in bytes; ``None`` if it was not announced.

    Raises:
        HTTPException: it was rejected. The detail is shown to the user.
    """
    if not name or name[0] == "." or re.search(r"[/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]", name):
        raise HTTPException(400, "this is not a file name: rename the file")
    if size is None:
        raise HTTPException(411, "the request has no Content-Length: use a browser")
    if size > config.max_file_mb * 1e6:
        raise HTTPException(413, _describe_excess(config))
    if size == 0:
        raise HTTPException(400, "the file is empty: copy it again")
    listing = Listing(config.inbox, config.pattern)
    if sum(kind is Kind.MATCHING for _, kind in listing.split()) >= _MOST_WAITING:
        raise HTTPException(503, "too many files are waiting: try again when some have been read")


def _describe_excess(config: Config) -> str:
    return f"larger than {config.max_file_mb:g} MB: digitd would refuse it"
