"""Bound the connections: an idle one is closed when there are too many, or after a while."""

import asyncio
from collections import OrderedDict
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

# A browser holds six. Each costs a descriptor and 20 kB.
MOST = 256
# uvicorn itself waits for ever for the first request on a connection.
_REQUEST_SECONDS = 15.0

_open: OrderedDict["BoundedProtocol", None] = OrderedDict()


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 on one of at most ``MOST`` connections; a new one takes the place of an idle one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's arguments
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the place of the oldest idle connection if there are too many."""
        super().connection_made(transport)
        _open[self] = None
        self._wait_for_request()
        if len(_open) > MOST:
            oldest = next((one for one in _open if not one.is_busy), self)
            oldest.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the place."""
        self.abort()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Limit the time that a request may take to arrive."""
        if not self.is_busy and self._deadline is None:
            self._wait_for_request()
        super().data_received(data)
        if self.is_busy and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def abort(self) -> None:
        """Close the connection at once."""
        _open.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.transport.abort()

    def _wait_for_request(self) -> None:
        self._deadline = self.loop.call_later(_REQUEST_SECONDS, self.abort)
