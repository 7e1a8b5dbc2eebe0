"""A real outbox, the real `digitd review` on it, and a client that sends any bytes it likes."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import resource
import signal
import socket
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import cv2
import numpy as np

from daemon import ids
from daemon.outbox import labels, rows
from daemon.outbox.outbox import Outbox
from daemon.outbox.rereads import RereadWriter, format_line, table_name
from daemon.records import Job, Reads, Result, Verdict
from daemon.review.sample import is_drawn
from support import programs
from support.daemon import DIGITD, ROOT, Box
from support.factories import SURE
from support.waiting import DEADLINE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from playwright.sync_api import FileChooser, Page, Route


def png(digit: str = "7", side: int = 60) -> bytes:
    pixels = np.full((side, side, 3), 250, np.uint8)
    size = side / 30
    start = (side // 3, side * 4 // 5)
    cv2.putText(pixels, digit, start, cv2.FONT_HERSHEY_SIMPLEX, size, (40, 20, 20), 2)
    return cv2.imencode(".png", pixels)[1].tobytes()


PICTURE = cv2.imencode(".png", np.full((340, 768, 3), 200, np.uint8))[1].tobytes()


@dataclass
class Site(Box):
    """A folder with a config, an inbox and an outbox, whose rows are added without a daemon."""

    ids: ids.Ids = field(default_factory=ids.Ids)

    def add(self, name: str, verdict: Verdict = SURE, data: bytes | None = None) -> str:
        """Add a row that is not in the random sample, and its files, as the daemon would.

        Without ``data``, no two files have the same content. Return the row's id.
        """
        (job_id,) = self.add_all([(name, verdict)], data, with_sample=False)
        return job_id

    def add_all(
        self,
        verdicts: Sequence[tuple[str, Verdict]],
        data: bytes | None = None,
        *,
        with_sample: bool = True,
    ) -> list[str]:
        """Add one batch of rows; return their ids."""
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        results = []
        for name, verdict in verdicts:
            job_id = self.ids.next()
            while is_drawn(ids.decode(job_id)) and not with_sample:
                job_id = self.ids.next()
            path = work / job_id
            # Decoders ignore what follows the end of a PNG.
            content = png(verdict.text or "0") + job_id.encode() if data is None else data
            path.write_bytes(content)
            sha256 = hashlib.sha256(content).hexdigest()
            job = Job(path.name, name, path, path.stat().st_size, datetime.now(UTC))
            job.picture_path.write_bytes(PICTURE)
            results.append(Result(job, verdict, sha256, "model1", has_picture=True))
        outbox = Outbox(self.outbox)
        outbox.ensure_open()
        for row in outbox.commit(results):
            outbox.publish(row.result.job, row.placement)
        outbox.close()
        return [result.job.id for result in results]

    def write_rows(self, count: int) -> list[str]:
        """Write a table of doubtful rows without files; return their ids.

        The first row and the last have the same content.
        """
        job_ids = [self.ids.next() for _ in range(count)]
        now = rows.timestamp(datetime.now(UTC))
        verdict = ["unsure", "1", "0.5", *["0.05"] * 11, "low confidence"]
        with self.table.open("w", encoding="utf-8") as table:
            table.write(rows.HEADER)
            for number, job_id in enumerate(job_ids):
                sha256 = hashlib.sha256(str(number % (count - 1)).encode()).hexdigest()
                files = [f"annotated/{number}.png", f"originals/{number}.png", sha256]
                cells = [job_id, f"{number}.png", *verdict, *files, "model1", now, now]
                table.write(rows.csv_line(cells))
        return job_ids

    def reread(
        self, model: str, verdicts: Mapping[str, Verdict], at: datetime | None = None
    ) -> Path:
        """Append verdicts on files, by their names, as `digitd reread` does; return the table."""
        writer = RereadWriter(self.outbox, table_name(model, Reads.DIGIT))
        lines = []
        for row in self.rows():
            if (verdict := verdicts.get(row["file"])) is not None:
                job = Job(
                    row["id"], row["file"], self.outbox / row["original"], 1, datetime.now(UTC)
                )
                result = Result(job, verdict, row["sha256"], model, has_picture=False)
                lines.append(format_line(list(row.values()), result, at or datetime.now(UTC)))
        writer.append(lines)
        writer.close()
        return writer.path

    def answers(self) -> list[tuple[str, str, str]]:
        """Return id, label and source of each stored answer."""
        return [(one.id, one.label, one.source) for one in labels.read(self.outbox)]

    def wait_for_answers(self, expected: list[tuple[str, str, str]]) -> None:
        until(lambda: self.answers() == expected, f"{expected}, there is {self.answers()}")


@dataclass(frozen=True)
class Reply:
    """A response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


PASSWORD = "correct horse"  # noqa: S105 - of the tests


def secure(folder: Path) -> list[str]:
    """Make a self-signed certificate and a password file; return the options that name them."""
    command = [programs.require("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes"]
    files = ["-subj", "/CN=x", "-keyout", str(folder / "key"), "-out", str(folder / "cert")]
    subprocess.run([*command, *files], capture_output=True, timeout=60, check=True)
    (folder / "password").write_text(f"{PASSWORD}\n")
    (folder / "password").chmod(0o600)
    return [f"--{name}={folder / file}" for name, file in SECURE_FILES]


SECURE_FILES = (("tls-cert", "cert"), ("tls-key", "key"), ("password-file", "password"))


class Server:
    """A running `digitd review`; as a context manager it ends with the test."""

    def __init__(
        self, box: Box, *arguments: str, port: int = 0, program: Sequence[str] = DIGITD
    ) -> None:
        self.box = box
        self._log = box.folder / "review.log"
        self._log.write_bytes(b"")
        command = [*program, "review", "--config", str(box.config), "--no-browser"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(port), *arguments],
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=log,
            )
        until(lambda: "Stop it" in self.log or self.process.poll() is not None, "a start")
        assert self.process.poll() is None, self.log
        (self.url,) = re.findall(r"https?://\S+", self.log)
        self.port = port or urlsplit(self.url).port or 0
        self.token = self.url.partition("=")[2]
        self.cookie = f"digitd-{self.port}={self.token}"
        self.base = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE_SECONDS)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_SECONDS)

    def request(
        self,
        path: str,
        body: bytes | None = None,
        *,
        method: str = "",
        headers: Mapping[str, str | None] | None = None,
    ) -> Reply:
        """Send a request; a header that is ``None`` is left out, ``_`` in a name is ``-``."""
        sent: dict[str, str | None] = {"host": f"127.0.0.1:{self.port}", "cookie": self.cookie}
        sent |= {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        if body is not None:
            sent.setdefault("content-length", str(len(body)))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            chosen = method or ("GET" if body is None else "POST")
            connection.putrequest(chosen, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def post(self, path: str, data: object, **headers: str | None) -> Reply:
        sent: dict[str, str | None] = {"content_type": "application/json", **headers}
        return self.request(path, json.dumps(data).encode(), method="POST", headers=sent)

    def answer(self, job_id: str, label: str, **more: object) -> Reply:
        return self.post("/api/answers", {"id": job_id, "label": label, "in_queue": True, **more})

    def wait_for_rows(self, count: int) -> None:
        def indexed() -> bool:
            state = self.request("/api/queue").json.get("state")  # missing while it is discarded
            return bool(state and state["rows"] == count and state["indexing"] is None)

        until(indexed, f"{count} rows in the index")


@contextmanager
def half_open_connections(server: Server, wanted: int) -> Iterator[int]:
    """Hold connections that have sent the beginning of a request; yield how many there are.

    There are fewer than ``wanted`` if the hard limit of open files is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, possible + 200), hard))
    try:
        with ExitStack() as stack:
            for number in range(possible):
                client = socket.create_connection(("127.0.0.1", server.port), timeout=20)
                stack.enter_context(client)
                client.sendall(b"GET / HTTP/1.1\r\nhost: loc")
                if number % 100 == 0:  # wait until they are accepted: the backlog is 128
                    server.request("/static/icon.svg")
            yield possible
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def intercept(page: Page, pattern: str, handler: Callable[[Route], None]) -> None:
    """Route requests like ``page.route``, and return when the page's next request is routed.

    ``page.route`` returns before that: Chromium does not wait until the page has its new way to the
    network, and a key press may be faster. 2 of 88 requests escaped (busy 2-core machine).
    """
    caught: list[str] = []

    def catch(request: Route) -> None:
        caught.append(request.request.url)
        request.fulfill()

    page.route(pattern, handler)
    page.route("**/static/probe", catch)
    probe = "fetch('/static/probe').then(() => true)"
    until(lambda: bool(page.evaluate(probe) and caught), "the route")
    page.unroute("**/static/probe", catch)


def catch_choosers(page: Page) -> Callable[[], FileChooser]:
    """Intercept the page's choices of files; return a function that waits for the first one.

    Call it long before the choice: like a route, this takes Chromium a moment.
    """
    opened: list[FileChooser] = []

    def catch(chooser: FileChooser) -> None:
        opened.append(chooser)

    def wait() -> FileChooser:
        until(lambda: bool(page.evaluate("true") and opened), "the choice of files")
        return opened[0]

    page.on("filechooser", catch)
    return wait


def lose_first_response(page: Page, path: str) -> None:
    """Let the server answer the first request for a path, and the page never hear of it."""
    lost: list[str] = []

    def cut(request: Route) -> None:
        if lost:
            request.continue_()
            return
        lost.append("once")
        request.fetch()
        request.abort()

    intercept(page, f"**{path}", cut)
