"""Notify systemd: sd_notify(3), which sends one datagram."""

import os
import socket
from contextlib import suppress


def notify(state: str) -> None:
    """Send a state such as ``READY=1`` to the service manager; a no-op elsewhere."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract namespace
        address = "\0" + address[1:]
    # The service manager may be gone. As in sd_notify(3), that must not end the program.
    with (
        suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
    ):
        sender.sendto(os.fsencode(state), address)


def watchdog_seconds() -> float | None:
    """Return WatchdogSec, in seconds; ``None`` if there is no watchdog."""
    microseconds = os.environ.get("WATCHDOG_USEC")
    ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / 1e6 if microseconds and ours else None
