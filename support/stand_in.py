"""The daemon with a stand-in reader, which executes each file's text as a command.

``python -m support.stand_in run --config FILE [--once] [--verbose]``
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.assets import KNOWN_DIGIT, KNOWN_DIGIT_PNG
from daemon.errors import DigitdError, ModelError, describe, exit_status
from daemon.expected import check_verdict
from daemon.files import hash_file
from daemon.records import FileContent, Reading, ReadOptions, Reads, Status, Verdict
from daemon.workers.worker import Timeouts, WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Sequence


# A stand-in worker that takes longer than this counts as hung.
TIMEOUTS = Timeouts(start=30, batch=3, file=0.05)


def read(options: ReadOptions, contents: Sequence[FileContent]) -> list[Reading]:
    if options.model.read_bytes() == b"garbage":
        raise ModelError(f"{options.model} is garbage")
    return [_read(options, content) for content in contents]


def read_as_model(options: ReadOptions, contents: Sequence[FileContent]) -> list[Reading]:
    """Read, and say that the model did."""
    name = hash_file(options.model)[:12]
    return [replace(one, model=name) for one in read(options, contents)]


def _read(options: ReadOptions, content: FileContent) -> Reading:
    if "cursed" in content.name:
        raise RuntimeError("a name that cannot even be drawn")
    if content.rejection:
        verdict = Verdict(Status.ERROR, reason=content.rejection)
    elif content.name == KNOWN_DIGIT_PNG.name:
        verdict = Verdict(Status.OK, KNOWN_DIGIT, 0.99, (0.09,) * 11)
    else:
        verdict = _obey(options, content)
    if options.expected is not None:
        verdict = check_verdict(verdict, options.expected)
    return Reading(verdict, "stand-in", f"picture of {content.name!a}".encode())


def _obey(options: ReadOptions, content: FileContent) -> Verdict:
    # The text before the PNG's end marker, which makes the inbox treat the file as complete.
    order, _, value = content.data[8:].partition(b"\0")[0].decode("latin-1").partition(" ")
    match order:
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "devour":
            b"x" * int(value.split()[0])
        case "sleep":
            time.sleep(float(value.split()[0]))
        case "freeze":
            # The daemon, too, so that it does nothing before the test ends the machine.
            os.kill(os.getppid(), signal.SIGSTOP)
            time.sleep(float(value))
        case "swell":
            # Like in a container with little memory.
            resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.RLIM_INFINITY))
            bytearray(1 << 31)
        case "raise":
            raise RuntimeError("told to raise")
    return _judge(options, order, value)


def _judge(options: ReadOptions, order: str, value: str) -> Verdict:
    if order == "bad":
        return Verdict(Status.ERROR, reason="told to be bad")
    if order != "number":
        return Verdict(Status.OK, "7", 0.99, (0.09,) * 11)
    if options.reads is Reads.DIGIT:
        return Verdict(Status.UNSURE, reason="several digits")
    return Verdict(Status.OK, value, 0.99)


def png_like(order: str) -> bytes:
    """Return a file that is a complete PNG for the inbox and a command for this reader."""
    return b"\x89PNG\r\n\x1a\n" + order.encode("latin-1") + b"\0IEND\xaeB`\x82"


def worker_settings(options: ReadOptions) -> WorkerSettings:
    return WorkerSettings(options, read, TIMEOUTS)


def main() -> None:
    # Each worker imports this module, too: without the service its start takes 0.1 s of processor
    # time instead of 0.4 s.
    from daemon.loop.service import Service  # noqa: PLC0415
    from daemon.systemd.journal import set_up_logging  # noqa: PLC0415

    # Pickle must find ``read`` under this module's name, not in __main__.
    from support.stand_in import worker_settings  # noqa: PLC0415

    set_up_logging(logging.DEBUG if "--verbose" in sys.argv else logging.INFO)
    try:
        config = Path(sys.argv[sys.argv.index("--config") + 1])
        once = "--once" in sys.argv
        Service(config, once=once, worker_settings=worker_settings).run()
    except (DigitdError, OSError) as error:
        print(f"digitd: {describe(error)}", file=sys.stderr)
        sys.exit(exit_status(error))


if __name__ == "__main__":
    main()
