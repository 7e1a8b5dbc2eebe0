"""`digitd reread`: real models on real originals; kills, two at once, what is left out."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from daemon import config
from daemon.assets import SHIPPED_MODEL
from daemon.files import hash_file
from daemon.loop.originals import Selection
from daemon.loop.reread import Reread
from daemon.outbox.audit import find_discrepancies
from daemon.outbox.results import final_rows
from daemon.records import ReadOptions, Status
from daemon.workers.worker import WorkerSettings
from support import stand_in
from support.daemon import DIGITD, ROOT, SAMPLES, Terminal, digitd
from support.factories import BROKEN, SURE, doubtful, number
from support.site import Site
from support.waiting import DEADLINE_SECONDS, until

if TYPE_CHECKING:
    from pathlib import Path

FILES = 60


def make_model(file: Path, **settings: float) -> str:
    """Write the shipped model with other settings; return its id."""
    with zipfile.ZipFile(SHIPPED_MODEL) as shipped, zipfile.ZipFile(file, "w") as made:
        for name in shipped.namelist():
            data = shipped.read(name)
            if name == "digitd.json":
                data = json.dumps(json.loads(data) | settings).encode()
            made.writestr(name, data)
    return hash_file(file)[:12]


def samples(count: int) -> dict[str, bytes]:
    """Return images of digits by name, each with other bytes."""
    return {
        f"digit{n}.png": (SAMPLES / f"digit{n % 12 + 1}.png").read_bytes() + b"%d" % n
        for n in range(count)
    }


def fill(site: Site, contents: dict[str, bytes]) -> None:
    for name, data in contents.items():
        site.add(name, SURE, data)


def start(
    site: Site, *arguments: str, stderr: int = subprocess.PIPE, start_new_session: bool = False
) -> subprocess.Popen[str]:
    # Whoever runs the tests in the background may ignore Ctrl-C, and programs inherit that.
    command = ["env", "--default-signal=INT", *DIGITD, "reread", "--config", str(site.config)]
    return subprocess.Popen(
        [*command, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=start_new_session,
    )


def table_of(site: Site, model: str, reads: str = "digit") -> Path:
    return site.outbox / "rereads" / f"{model}-{reads}.csv"


def lines(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def size(table: Path) -> int:
    return table.stat().st_size if table.exists() else 0


def test_originals_are_read_again_with_another_model(site: Site) -> None:
    contents = samples(12)
    fill(site, contents)
    site.add("text.png", BROKEN, b"text")
    big = np.full((3000, 3000), 255, np.uint8)
    cv2.putText(big, "1", (1200, 2000), cv2.FONT_HERSHEY_SIMPLEX, 40, (0,), 120)
    site.add("big.png", BROKEN, cv2.imencode(".png", big)[1].tobytes())
    strict = make_model(site.folder / "strict.keras", unsure_below=1.0)
    before = site.table.read_bytes()
    done = digitd("reread", "--model", site.folder / "strict.keras", "--config", site.config)
    assert (done.returncode, done.stderr) == (0, "reading again: 14 rows\n")
    table = table_of(site, strict)
    assert f"14 rows read again with the model {strict}: {table}" in done.stdout
    assert "12 sure before, doubtful now" in done.stdout
    assert "1 could not be read before, can be read now" in done.stdout
    assert "1 could not be read, and keep their verdict" in done.stdout
    found = lines(table)
    assert [row["id"] for row in found] == [row["id"] for row in site.rows()]
    assert {row["model"] for row in found} == {strict}
    assert [row["sha256"] for row in found] == [row["sha256"] for row in site.rows()]
    assert site.table.read_bytes() == before
    picture = cv2.imread(str(table.with_suffix(".png")))
    assert picture is not None
    assert picture.std() > 20
    statuses = {one.cells[1]: (one.cells[2], one.answer) for one in final_rows(site.outbox)}
    assert statuses.pop("text.png") == ("error", "")
    assert set(statuses.values()) == {("unsure", "")}
    assert find_discrepancies(config.load(site.config)).discrepancies == ()
    # The shipped model reads what is unsure now; its own table has nothing of it yet.
    done = digitd("reread", "--status", "unsure", "--config", site.config)
    assert done.returncode == 0
    assert "13 rows read again" in done.stdout
    assert "doubtful before, sure now" in done.stdout
    # The first one again: all is there, and counts most.
    done = digitd("reread", "--model", site.folder / "strict.keras", "--config", site.config)
    assert done.returncode == 0
    assert done.stdout.startswith(f"0 rows read again with the model {strict}: {table}\n")
    assert "including 14 rows that it had read before:" in done.stdout
    assert lines(table) == found
    assert {one.cells[2] for one in final_rows(site.outbox)} == {"unsure", "error"}


def test_kills_leave_each_row_once(site: Site) -> None:
    site.configure(batch_size=2, workers=2)
    kill_at_random_moments(site, 3, random.Random(5))


def kill_at_random_moments(site: Site, kills: int, chance: random.Random) -> None:
    """Kill rereads, then let one end; each row must be in the table once."""
    fill(site, samples(FILES))
    model = make_model(site.folder / "strict.keras", unsure_below=1.0)
    table = table_of(site, model)
    arguments = ("--model", str(site.folder / "strict.keras"))
    for kill in range(kills):
        process = start(site, *arguments, start_new_session=True)
        # The moment depends on the progress, not on the speed of the machine.
        wanted = size(table) + chance.randrange(1, 22_000 // kills)
        until(
            lambda wanted=wanted, process=process: (  # type: ignore[misc]
                size(table) >= wanted or process.poll() is not None
            ),
            f"kill {kill}",
        )
        with suppress(ProcessLookupError):  # it may have ended
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if chance.random() < 0.5 and size(table) > 500:  # as after a power cut
            os.truncate(table, size(table) - chance.randrange(1, 200))
    done = digitd("reread", *arguments, "--config", site.config)
    assert done.returncode == 0, done.stderr
    assert sorted(row["id"] for row in lines(table)) == sorted(row["id"] for row in site.rows())
    assert find_discrepancies(config.load(site.config)).discrepancies == ()
    assert {one.cells[2] for one in final_rows(site.outbox)} == {"unsure"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_and_the_same_command_continues(site: Site, number: signal.Signals) -> None:
    site.configure(batch_size=1, workers=1)
    fill(site, samples(200))
    model = make_model(site.folder / "strict.keras", unsure_below=1.0)
    process = start(site, "--model", str(site.folder / "strict.keras"))
    until(lambda: size(table_of(site, model)) > 1000, "the first results")
    process.send_signal(number)
    out, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert (process.returncode, out) == (1, "")
    assert "of 200 rows: the same command continues where this one ended" in errors
    read = len(lines(table_of(site, model)))
    assert f"stopped after {read} of" in errors
    assert 0 < read < 200


def test_second_reread_into_the_same_table_is_refused(site: Site) -> None:
    site.configure(batch_size=1, workers=1)
    fill(site, samples(200))
    model = make_model(site.folder / "strict.keras", unsure_below=1.0)
    arguments = ("--model", str(site.folder / "strict.keras"))
    with start(site, *arguments) as process:
        until(lambda: size(table_of(site, model)) > 0, "the table")
        second = digitd("reread", *arguments, "--config", site.config)
        assert second.returncode == 75
        assert "another `digitd reread` is writing it: wait until it has ended" in second.stderr
        process.kill()


def test_terminal_shows_a_progress_bar(site: Site) -> None:
    fill(site, samples(3))
    with Terminal() as terminal:
        process = start(site, stderr=terminal.programs)
        process.communicate(timeout=DEADLINE_SECONDS)
        assert process.returncode == 0
    assert "reading again" in terminal.text
    assert "3/3" in terminal.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--status", "good"), "'good' is not one of ok, unsure, error."),
        (("--since", "yesterday"), "'yesterday' is no day: write it like 2026-11-24"),
        (("--model", "12ab"), "has no model whose id begins with '12ab'"),
        (("--model", "no/such.keras"), "no/such.keras: cannot be read"),
    ],
)
def test_wrong_option_is_refused(site: Site, arguments: tuple[str, ...], message: str) -> None:
    site.add("digit7.png")
    done = digitd("reread", *arguments, "--config", site.config)
    assert done.returncode > 0
    assert message in done.stderr
    assert not (site.outbox / "rereads").exists()


def settings_of(options: ReadOptions) -> WorkerSettings:
    return WorkerSettings(options, stand_in.read_as_model, stand_in.TIMEOUTS)


def reread(site: Site, **selection: object) -> Reread:
    """Read again with the stand-in reader, which executes the text in each file."""
    job = Reread(
        config.load(site.config),
        SHIPPED_MODEL,
        Selection(**selection),  # type: ignore[arg-type]
        settings_of,
    )
    try:
        job.count()
        job.run()
    finally:
        job.close()
    return job


def orders(site: Site, **by_name: str) -> None:
    for name, order in by_name.items():
        site.add(f"{name}.png", SURE, stand_in.png_like(f"{order} {name}"))


def test_file_that_takes_workers_down_is_an_error_and_its_neighbours_are_read(site: Site) -> None:
    orders(site, one="read", two="crash", three="read", four="sleep 60")
    found = {row["file"]: row for row in lines(reread(site).writer.path)}
    assert [found[f"{name}.png"]["status"] for name in ("one", "three")] == ["ok", "ok"]
    assert "took its worker process down 2 times: killed by SIGSEGV" in found["two.png"]["reason"]
    assert "took longer than" in found["four.png"]["reason"]
    assert {one.answer for one in final_rows(site.outbox)} == {"7"}  # errors replace nothing


def test_what_is_left_out_is_counted(site: Site) -> None:
    for name in ("deleted", "reused", "missing", "changed", "unpublished", "there"):
        orders(site, **{name: "read"})
    site.add("retried.png", BROKEN)
    originals, rows = site.outbox / "originals", {row["file"]: row for row in site.rows()}
    for name in ("deleted", "missing"):
        (originals / f"{name}.png").unlink()
    for name in ("changed", "reused"):
        (originals / f"{name}.png").write_bytes(b"other")
    (site.outbox / "failed" / "retried.png").unlink()
    site.work.mkdir()
    claimed = site.work / f"{rows['unpublished.png']['id']}-unpublished.png"
    (originals / "unpublished.png").rename(claimed)
    deleted_through = f"2026-01-01 {rows['reused.png']['id']}"
    (site.outbox / ".digitd.deleted-before").write_text(deleted_through)
    job = reread(site)
    left_out = job.originals.left_out
    assert [row["file"] for row in lines(job.writer.path)] == ["there.png"]
    assert (left_out.deleted, left_out.retried, left_out.unpublished) == (2, 1, 1)
    assert (left_out.missing, left_out.changed) == (["missing.png"], ["changed.png"])
    # What comes back is read.
    shutil.move(claimed, originals / "unpublished.png")
    assert len(lines(reread(site).writer.path)) == 2


def test_edited_path_leads_to_no_other_file(site: Site) -> None:
    orders(site, one="read", two="read")
    secret = site.folder / "secret"
    secret.write_bytes(stand_in.png_like("read"))
    text = site.table.read_text().replace("originals/one.png", "originals/../../secret")
    site.table.write_text(text)
    (site.outbox / "originals" / "two.png").unlink()
    (site.outbox / "originals" / "two.png").symlink_to(secret)
    job = reread(site)
    assert lines(job.writer.path) == []
    assert sorted(job.originals.left_out.missing) == ["one.png", "two.png"]


def test_rows_are_selected_by_the_status_that_they_have_now(site: Site) -> None:
    orders(site, one="read", two="read", three="read")
    site.reread("a" * 12, {"two.png": doubtful(3, 0.4)})
    job = reread(site, statuses=frozenset({Status.UNSURE}))
    assert [row["file"] for row in lines(job.writer.path)] == ["two.png"]
    again = reread(site, statuses=frozenset({Status.UNSURE}))  # its own results don't count
    assert (again.originals.wanted, again.done) == (1, 1)


def test_rows_are_selected_by_day(site: Site) -> None:
    orders(site, one="read", two="read")
    row = site.row("one.png")
    day = row["received_at"][:10]
    text = site.table.read_text().replace(row["received_at"], "2020-01-01T00:00:00.000Z", 1)
    site.table.write_text(text)
    done = digitd("reread", "--since", day, "--config", site.config)
    assert done.returncode == 0
    assert done.stdout.startswith("1 row read again")


def test_warning_before_numbers_are_read_as_digits(site: Site) -> None:
    orders(site, one="read", two="read")
    site.reread("a" * 12, {"two.png": number("0471")})
    again = digitd("reread", "--config", site.config)
    assert again.returncode == 0
    assert "warning: 1 row with a number of several characters" in again.stderr
    site.configure(reads="number")
    (line,) = digitd("reread", "--config", site.config).stderr.splitlines()
    assert line.startswith("reading again: ")
