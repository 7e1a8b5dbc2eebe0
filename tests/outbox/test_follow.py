"""`digitd results --follow`: each row as it comes, and again when it is answered."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from daemon.layout import LABELS, TABLE
from daemon.outbox import labels, rows
from daemon.outbox.feed import Feed
from daemon.outbox.labels import Answer
from daemon.records import Status, Verdict
from support import programs
from support.daemon import DIGITD, ROOT, bytes_read, digitd
from support.factories import SURE
from support.site import Site, png
from support.waiting import DEADLINE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOUBTFUL = Verdict(Status.UNSURE, "1", 0.5, (0.05,) * 11, "low confidence")
PAGE = (ROOT / "docs" / "following.md").read_text(encoding="utf-8")
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}
MANY = 12_000  # rows; answers are read 10,000 at once
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def answer(site: Site, name: str, label: str, at: datetime | None = None) -> None:
    row = next(one for one in final(site) if one["file"] == name)
    time = rows.timestamp(at or datetime.now(UTC))
    cells = (row["id"], row["sha256"], label, "Ana", time, "model1", "1", "0.5", "queue")
    labels.append(site.outbox, Answer(*cells))


def final(site: Site) -> list[dict[str, Any]]:
    done = digitd("results", "--format", "jsonl", "--config", site.config)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


class Follower:
    """A running `digitd results --follow`."""

    def __init__(self, site: Site, *arguments: str) -> None:
        # Whoever runs the tests in the background may ignore Ctrl-C, and programs inherit that.
        command = ["env", "--default-signal=INT", *DIGITD, "results", "--follow"]
        self.process = subprocess.Popen(
            [*command, "--config", str(site.config), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENV,
            text=True,
        )
        self.found: list[tuple[str, str | None]] = []
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            row = json.loads(line)
            self.found.append((row["file"], row["answer"]))

    def wait_for(self, *expected: tuple[str, str | None]) -> None:
        """Wait for lines with these files and answers, and no others, after those before."""
        until(
            lambda: len(self.found) >= len(expected) or self.process.poll() is not None,
            lambda: f"{expected}, there is {self.found}",
        )
        assert self.found == list(expected)
        self.found.clear()

    def stop(self) -> tuple[int, str]:
        """Press Ctrl-C; return the exit status and stderr."""
        self.process.send_signal(signal.SIGINT)
        self._reading.join(DEADLINE_SECONDS)
        assert self.process.stderr is not None
        return self.process.wait(DEADLINE_SECONDS), self.process.stderr.read()

    def close(self) -> None:
        self._reading.join(DEADLINE_SECONDS)
        with self.process:  # closes its pipes
            pass


@contextmanager
def following(site: Site, *arguments: str) -> Iterator[Follower]:
    """Yield a follower; at the end, Ctrl-C ends it quietly, and it has printed nothing more."""
    follower = Follower(site, *arguments)
    try:
        yield follower
        assert follower.stop() == (0, "")
        assert follower.found == []
    finally:
        follower.process.kill()
        follower.close()


def test_rows_come_as_they_are_written(site: Site) -> None:
    site.add("first.png")
    with following(site) as follower:
        follower.wait_for(("first.png", "7"))
        site.add_all([("second.png", SURE), ("third.png", SURE)])
        follower.wait_for(("second.png", "7"), ("third.png", "7"))


def test_table_that_is_not_there_yet_is_waited_for(site: Site) -> None:
    with following(site) as follower:
        site.add("first.png")
        follower.wait_for(("first.png", "7"))


def test_row_without_an_answer_comes_again_when_it_is_answered(site: Site) -> None:
    site.add("doubtful.png", DOUBTFUL)
    site.add("sure.png")
    with following(site) as follower:
        follower.wait_for(("doubtful.png", None), ("sure.png", "7"))
        for label, shown in (("4", "4"), ("none", "none"), ("undo", None)):
            answer(site, "doubtful.png", label)
            follower.wait_for(("doubtful.png", shown))
        answer(site, "sure.png", "1")
        follower.wait_for(("sure.png", "1"))


def test_answer_to_the_same_bytes_comes_for_each_row(site: Site) -> None:
    for name in ("first.png", "second.png"):
        site.add(name, DOUBTFUL, png("4"))
    with following(site) as follower:
        follower.wait_for(("first.png", None), ("second.png", None))
        answer(site, "second.png", "4")
        follower.wait_for(("first.png", "4"), ("second.png", "4"))
        site.add("third.png", DOUBTFUL, png("4"))
        follower.wait_for(("third.png", "4"))


@pytest.mark.parametrize("is_compressed", [False, True])
def test_rotated_table_is_followed(site: Site, *, is_compressed: bool) -> None:
    site.add("first.png", DOUBTFUL)
    with following(site) as follower:
        follower.wait_for(("first.png", None))
        site.add("second.png")
        old = site.outbox / f"{TABLE}.1"
        site.table.rename(old)
        if is_compressed:
            (site.outbox / f"{TABLE}.1.gz").write_bytes(gzip.compress(old.read_bytes()))
            old.unlink()
        site.add("third.png")
        follower.wait_for(("second.png", "7"), ("third.png", "7"))
        answer(site, "first.png", "3")
        follower.wait_for(("first.png", "3"))


def test_answer_to_a_row_of_a_table_that_was_edited_after_it_was_moved_is_found(
    site: Site,
) -> None:
    # Only the newest two tables are followed; this one is the fourth.
    site.add_all([("first.png", SURE), ("second.png", DOUBTFUL)])
    old = site.outbox / f"{TABLE}.9"
    site.table.rename(old)
    for number in (8, 7):
        site.add(f"moved {number}.png")
        site.table.rename(site.outbox / f"{TABLE}.{number}")
    site.add("last.png")
    with following(site) as follower:
        follower.wait_for(
            *(("first.png", "7"), ("second.png", None)),
            *(("moved 8.png", "7"), ("moved 7.png", "7"), ("last.png", "7")),
        )
        old.write_bytes(old.read_bytes().replace(b"\n", b"\r\n"))
        answer(site, "second.png", "4")
        follower.wait_for(("second.png", "4"))
        answer(site, "second.png", "5")
        follower.wait_for(("second.png", "5"))


def test_answers_that_somebody_has_removed_are_taken_back(site: Site) -> None:
    site.add_all([("first.png", DOUBTFUL), ("second.png", DOUBTFUL)])
    answer(site, "first.png", "1")
    answer(site, "second.png", "2")
    stored = site.outbox / LABELS
    with following(site) as follower:
        follower.wait_for(("first.png", "1"), ("second.png", "2"))
        saved = site.folder / "saved"
        saved.write_text("".join(stored.read_text().splitlines(keepends=True)[:-1]))
        saved.rename(stored)
        follower.wait_for(("second.png", None))
        stored.unlink()
        follower.wait_for(("first.png", None))
        answer(site, "first.png", "3")
        follower.wait_for(("first.png", "3"))


def test_answer_is_found_without_reading_the_tables_again(site: Site) -> None:
    site.write_rows(MANY)
    table = site.table.stat().st_size
    with following(site) as follower:
        follower.wait_for(*[(f"{number}.png", None) for number in range(MANY)])
        for number, others in ((MANY - 1, [0]), (1, [])):
            before = bytes_read(follower.process.pid)
            answer(site, f"{number}.png", "4")
            follower.wait_for(*[(f"{one}.png", "4") for one in (*others, number)])
            assert bytes_read(follower.process.pid) - before < table / 10


def test_thousands_of_answers_at_once_all_come(site: Site) -> None:
    job_ids = site.write_rows(MANY)
    now = rows.timestamp(datetime.now(UTC))
    with following(site) as follower:
        follower.wait_for(*[(f"{number}.png", None) for number in range(MANY)])
        labels.append_all(
            site.outbox,
            (Answer(one, "", "4", "Ana", now, "model1", "1", "0.5", "import") for one in job_ids),
        )
        follower.wait_for(*[(f"{number}.png", "4") for number in range(MANY)])


def test_table_that_an_editor_saved_is_followed(site: Site) -> None:
    site.add("first.png")
    with following(site) as follower:
        follower.wait_for(("first.png", "7"))
        saved = site.folder / "saved"
        saved.write_bytes(site.table.read_bytes().replace(b"\n", b"\r\n"))
        saved.rename(site.table)
        site.add("second.png")
        follower.wait_for(("second.png", "7"))


def test_after_goes_on_with_later_rows_and_then_with_answers_since(site: Site) -> None:
    site.add("first.png", DOUBTFUL)
    second = site.add("second.png", DOUBTFUL)
    site.add("third.png", DOUBTFUL)
    answer(site, "first.png", "1", LONG_AGO)
    with following(site, "--after", second) as follower:
        follower.wait_for(("third.png", None))
    answer(site, "second.png", "2")
    answer(site, "third.png", "3")
    with following(site, "--after", second) as follower:
        follower.wait_for(("third.png", "3"), ("second.png", "2"))
        answer(site, "first.png", "undo")
        follower.wait_for(("first.png", None))


@pytest.mark.parametrize("at", ["", "2020-01-01 12:00", "01.01.2020"])
def test_after_leaves_no_answer_of_another_program_out(site: Site, at: str) -> None:
    site.add("first.png", DOUBTFUL)
    second = site.add("second.png", DOUBTFUL)
    answer(site, "second.png", "2", LONG_AGO)
    labels.append(
        site.outbox, Answer(site.row("first.png")["id"], "", "5", "", at, "", "", "", "import")
    )
    found = {one.cells[1]: one.answer for one in Feed(site.outbox).start(second)}
    assert found == {"first.png": "5"}


def write_at(site: Site, name: str, at: datetime) -> None:
    """Change the time at which a row was written."""
    row = site.row(name)
    lines = site.table.read_text().splitlines(keepends=True)
    changed = [
        line.replace(row["processed_at"], rows.timestamp(at)) if row["id"] in line else line
        for line in lines
    ]
    site.table.write_text("".join(changed))


@pytest.mark.parametrize("days", [1, -1])
def test_after_leaves_no_answer_out_though_the_clock_was_ahead(site: Site, days: int) -> None:
    ahead = datetime.now(UTC) + timedelta(days=days)
    before = ahead - timedelta(days=2)
    site.add("first.png", DOUBTFUL)
    second = site.add("second.png", DOUBTFUL)
    write_at(site, "second.png", ahead)
    expected = {"first.png": "5", "second.png": SURE.text}
    if days < 0:  # a later row shows that it was ahead
        site.add("third.png", SURE)
        write_at(site, "third.png", before)
        expected["third.png"] = SURE.text
    answer(site, "first.png", "5", before)
    site.reread("0123456789ab", {"second.png": SURE}, before)
    assert {one.cells[1]: one.answer for one in Feed(site.outbox).start(second)} == expected


def test_unknown_row_is_an_error_that_says_what_to_do(site: Site) -> None:
    unknown = site.ids.next()
    site.add("first.png")
    done = digitd("results", "--follow", "--after", unknown, "--config", site.config)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"digitd: {unknown}: no row of {site.table} has this id: name")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [("--after", "d1"), ("--follow", "--out", "x.csv"), ("--follow", "--format=csv")]
)
def test_options_that_exclude_each_other_are_refused(
    site: Site, arguments: tuple[str, ...]
) -> None:
    done = digitd("results", *arguments, "--config", site.config)
    assert done.returncode == 2
    assert "--follow" in done.stderr


def test_it_ends_quietly_when_nobody_reads_it(site: Site) -> None:
    site.add("first.png")
    command = [*DIGITD, "results", "--follow", "--config", str(site.config)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        try:
            assert process.wait(DEADLINE_SECONDS) == 0
        finally:
            process.kill()
        assert process.stderr.read() == b""


def test_who_has_seen_a_row_has_seen_all_answers_before_it(site: Site) -> None:
    site.add_all([("first.png", DOUBTFUL), ("second.png", SURE)])
    feed = Feed(site.outbox)
    for finals, label, added, seen in (
        (feed.start(), "4", "third.png", ["first.png", "second.png"]),
        (feed.poll(), "5", "fourth.png", ["first.png", "third.png"]),
        (feed.poll(), "6", "fifth.png", ["first.png", "fourth.png"]),
    ):
        found = [next(finals).cells[1]]
        answer(site, "first.png", label)
        site.add(added)
        found += [one.cells[1] for one in finals]
        assert found == seen


@contextmanager
def example(site: Site, script: str) -> Iterator[None]:
    """Run a script of the page, with the programs that the test made in `bin`."""
    folder = site.folder / "bin"
    make_program(folder / "digitd", f'exec {" ".join(DIGITD)} "$@"')
    make_program(folder / "python3", f'exec {sys.executable} "$@"')
    env = ENV | {"PATH": f"{folder}:{ENV['PATH']}"}
    command = ["bash", "-c", script]
    with subprocess.Popen(command, cwd=site.folder, env=env, start_new_session=True) as process:
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def make_program(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def snippet(heading: str, language: str = "sh") -> str:
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    (found,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return str(found)


def test_mqtt_gets_each_row_as_a_message(site: Site) -> None:
    site.add("doubtful.png", DOUBTFUL)
    sent = site.folder / "sent"
    sent.touch()
    script = f'echo "$@" >> {sent}; while IFS= read -r line; do echo "$line" >> {sent}; done'
    make_program(site.folder / "bin" / "mosquitto_pub", script)

    def wait_for(*expected: str | None) -> None:
        until(lambda: sent.read_bytes().count(b"\n") == 1 + len(expected), f"{expected}")
        found = sent.read_text().splitlines()[1:]
        assert [json.loads(line)["answer"] for line in found] == list(expected)

    with example(site, snippet("MQTT")):
        wait_for(None)
        answer(site, "doubtful.png", "4")
        wait_for(None, "4")
    assert sent.read_text().splitlines()[0].endswith("-t digits -q 1 -l")


class Hook(ThreadingHTTPServer):
    """A web server that refuses the first request, and keeps the rows of the others."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.refused = 0
        self.rows: list[dict[str, Any]] = []


class _Request(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        row = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.refused:
            self.server.rows.append(row)
        self.send_response(204 if self.server.refused else 503)
        self.server.refused += 1
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep stderr empty."""


def test_webhook_gets_each_row_and_goes_on_where_it_stopped(site: Site) -> None:
    for name in ("curl", "jq"):
        programs.require(name)
    site.add_all([("first.png", SURE), ("doubtful.png", DOUBTFUL)])
    with Hook() as hook:
        threading.Thread(target=hook.serve_forever, daemon=True).start()
        script = snippet("A webhook").replace("sleep 5", "sleep 0.1")
        script = script.replace("https://example.org", f"http://127.0.0.1:{hook.server_address[1]}")
        place = site.folder / "last-id"

        def wait_for(*expected: tuple[str, str | None]) -> None:
            until(lambda: len(hook.rows) >= len(expected), lambda: f"{expected}: {hook.rows}")
            assert [(one["file"], one["answer"]) for one in hook.rows] == list(expected)
            last = f"{hook.rows[-1]['id']}\n"
            until(lambda: place.read_text() == last, f"{last} in last-id")
            hook.rows.clear()

        with example(site, script):
            wait_for(("first.png", "7"), ("doubtful.png", None))
        answer(site, "first.png", "1")
        with example(site, script):
            wait_for(("first.png", "1"))
        hook.shutdown()


def test_sqlite_has_the_newest_answer_of_each_row(site: Site) -> None:
    site.add("doubtful.png", DOUBTFUL)
    site.add("zero.png", SURE)
    (site.folder / "store.py").write_text(snippet("SQLite", "python"))

    def stored() -> list[tuple[str, str | None, str | None]]:
        with suppress(sqlite3.OperationalError):  # there is no table yet
            database = sqlite3.connect(site.folder / "digits.sqlite")
            try:
                query = "SELECT file, answer, answered_by FROM digits ORDER BY id"
                return database.execute(query).fetchall()
            finally:
                database.close()
        return []

    def wait_for(*expected: tuple[str, str | None, str | None]) -> None:
        until(lambda: stored() == list(expected), lambda: f"{expected}, there is {stored()}")

    with example(site, snippet("SQLite")):
        wait_for(("doubtful.png", None, None), ("zero.png", "7", "model"))
        answer(site, "doubtful.png", "04")
        wait_for(("doubtful.png", "04", "person"), ("zero.png", "7", "model"))
