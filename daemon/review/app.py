"""Put the pages and their data together to one web application."""

import logging
import sqlite3

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from daemon.review.answers import UnknownRowError
from daemon.review.api import Api
from daemon.review.site import Site
from daemon.review.views import Views

log = logging.getLogger(__name__)


def application(site: Site) -> Starlette:
    """Return the application; it must be served behind a ``Guard``."""
    app = Starlette(
        routes=[*Views(site).routes(), *Api(site).routes()],
        exception_handlers={
            HTTPException: _refused,
            UnknownRowError: _unknown_row,
            sqlite3.Error: _busy,
            ClientDisconnect: _gone,
        },
    )
    app.router.redirect_slashes = False  # it would build a URL from the request
    return app


async def _refused(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"error": error.detail}, error.status_code)


async def _unknown_row(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "no row has this id, or its table is gone"}, 404)


async def _busy(_request: Request, error: Exception) -> Response:
    log.warning("the index cannot be read now: %s", error)
    return JSONResponse({"error": "the index is being made: try again"}, 503)


async def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)
