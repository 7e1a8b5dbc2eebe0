"""Receive the bodies of requests: bounded in size, and in how long they may take."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request

from daemon.outbox import labels
from daemon.review.answers import Given

_LONGEST = 4096  # of a request that is not an upload, bytes
_STALLED_SECONDS = 20.0  # a body must not pause for longer


async def blocks(request: Request) -> AsyncIterator[bytes]:
    """Yield a body block by block.

    Raises:
        HTTPException: the next block did not come in time.
    """
    stream = request.stream()
    while True:
        try:
            with anyio.fail_after(_STALLED_SECONDS):
                block = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise HTTPException(408, "the request was not sent in time") from None
        yield block


async def read(request: Request) -> bytes:
    """Return a whole body.

    Raises:
        HTTPException: it is too long, or was not sent in time.
    """
    length = request.headers.get("content-length", "0")
    if not (length.isascii() and length.isdecimal()) or int(length) > _LONGEST:
        raise HTTPException(413, "the request is too long")
    body = b""
    async for block in blocks(request):
        body += block
        if len(body) > _LONGEST:
            raise HTTPException(413, "the request is too long")
    return body


async def read_json(request: Request) -> dict[str, Any]:
    """Return a body that is a JSON object. A form of another page cannot send this media type.

    Raises:
        HTTPException: it is not one.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "must be application/json")
    try:
        data = json.loads(await read(request))
    except (ValueError, RecursionError):
        raise HTTPException(400, "must be valid JSON") from None
    if not isinstance(data, dict):
        raise HTTPException(400, "must be a JSON object")
    return data


def given(data: dict[str, Any], user: str) -> Given:
    """Check an answer that a browser sent.

    Raises:
        HTTPException: it is not one.
    """
    texts = {name: data.get(name, "") for name in ("id", "label", "by", "seen")}
    flags = {name: data.get(name, False) for name in ("in_queue", "is_sample")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise HTTPException(400, "id, label, by, seen: must be texts")
    if not all(isinstance(flag, bool) for flag in flags.values()):
        raise HTTPException(400, "in_queue, is_sample: must be true or false")
    if not labels.is_label(texts["label"]):
        raise HTTPException(400, "label: must be a digit, none or undo")
    return Given(**texts | {"by": texts["by"].strip() or user}, **flags)
