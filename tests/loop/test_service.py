"""The daemon with a stand-in reader: signals, crashes, faults, restarts."""

from __future__ import annotations

import ctypes
import fcntl
import io
import json
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from support.daemon import SAMPLES, STAND_IN, Box, Daemon, digitd, run_once
from support.stand_in import png_like
from support.waiting import until


@pytest.fixture
def box(box: Box) -> Box:
    box.configure(model="model.keras")
    (box.folder / "model.keras").write_bytes(b"a model")
    return box


def status(box: Box) -> dict[str, object]:
    found: dict[str, object] = json.loads(digitd("status", "--json", "--config", box.config).stdout)
    return found


def drop_many(box: Box, count: int, order: str = "fine", start: int = 1) -> dict[str, bytes]:
    dropped = {f"digit{n}.png": png_like(f"{order} \x01{n}") for n in range(start, start + count)}
    for name, data in dropped.items():
        box.drop(name, data)
    return dropped


def test_files_present_at_start_get_rows_in_numeric_order(box: Box) -> None:
    dropped = drop_many(box, 23)
    with Daemon(box, STAND_IN):
        rows = box.wait_for_rows(23)
        assert [row["file"] for row in rows] == [f"digit{n}.png" for n in range(1, 24)]
        box.wait_until_settled()
    box.check_books(dropped)


def test_every_way_of_arriving_is_noticed_at_once(box: Box) -> None:
    box.configure(rescan_seconds=3600)
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        data = png_like("fine")
        (box.inbox / "digit1.png").write_bytes(data)  # written in place
        (box.inbox / "upload.tmp").write_bytes(data)
        (box.inbox / "upload.tmp").rename(box.inbox / "digit2.png")  # renamed within
        box.drop("digit3.png", data)  # moved in from elsewhere
        (box.folder / "kept").write_bytes(data)
        os.link(box.folder / "kept", box.inbox / "digit4.png")  # linked
        box.wait_for_rows(4)
        (box.inbox / "notes.txt").write_bytes(b"not ours")
        (box.inbox / ".digit5.png").write_bytes(data)
        box.drop("digit6.png", data)
        box.wait_for_rows(5)
        box.wait_until_settled()
    assert sorted(path.name for path in box.inbox.iterdir()) == [
        ".digit5.png",
        ".digitd",
        "notes.txt",
    ]
    box.check_books({f"digit{n}.png": data for n in (1, 2, 3, 4, 6)})


def test_slowly_growing_file_is_read_when_it_is_complete(box: Box) -> None:
    box.configure(incomplete_seconds=30)
    data = png_like("fine")
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        with (box.inbox / "digit1.png").open("wb") as upload:
            upload.write(data[:-6])
            upload.flush()
            box.drop("digit2.png", data)
            box.wait_for_rows(1)
            assert (box.inbox / "digit1.png").exists()
            upload.write(data[-6:])
        box.wait_for_rows(2)
        box.wait_until_settled()
    box.check_books({"digit1.png": data, "digit2.png": data})


def test_file_modified_while_being_read_is_read_again(box: Box) -> None:
    data = png_like("sleep 1")
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        box.drop("digit1.png", data)
        until(lambda: (box.work / "attempts").stat().st_size > 0, "a first try")
        with box.claimed()[0].open("ab") as writer:
            writer.write(b"more")
        box.wait_for_rows(1)
        box.wait_until_settled()
    box.check_books({"digit1.png": data + b"more"})


def test_file_that_changes_after_its_row_is_counted(box: Box) -> None:
    box.configure(metrics_file=box.folder / "digitd.prom")
    originals = box.outbox / "originals"
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        originals.rmdir()
        originals.touch()  # nothing can be published: ENOTDIR
        box.drop("digit1.png", png_like("fine"))
        (row,) = box.wait_for_rows(1)
        running.wait_for_log("Not a directory")  # it looks for a change before it publishes
        with box.claimed()[0].open("ab") as writer:
            writer.write(b"late")
        originals.unlink()
        box.wait_until_settled()
        assert (originals / "digit1.png").read_bytes() == png_like("fine") + b"late"
        until(lambda: status(box)["changed"] == 1, "the count in the status")
        running.stop()
        assert f"digit1.png changed after its row {row['id']} was written" in running.log
    assert "digitd_changed_files_total 1.0" in (box.folder / "digitd.prom").read_text()


def test_constantly_modified_file_does_not_block_others(box: Box) -> None:
    data = png_like("sleep 0.1")
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        box.drop("digit1.png", data)
        until(lambda: bool(box.claimed()), "a claimed file")
        upload = box.claimed()[0].open("ab", buffering=0)
        done = threading.Event()

        def write_on() -> None:
            while not done.wait(0.001):
                upload.write(b".")

        writing = threading.Thread(target=write_on)
        writing.start()
        try:
            box.drop("digit2.png", data)
            rows = box.wait_for_rows(2)
        finally:
            done.set()
            writing.join()
            upload.close()
        box.wait_until_settled()
    assert {row["file"]: row["status"] for row in rows} == {"digit1.png": "ok", "digit2.png": "ok"}
    assert (box.outbox / "originals" / "digit1.png").read_bytes().startswith(data)


def test_same_name_again_is_a_new_file(box: Box) -> None:
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        for n in range(3):
            box.drop("digit7.png", png_like(f"fine {n}"))
            box.wait_for_rows(n + 1)
        box.wait_until_settled()
        rows = box.rows()
    assert rows[0]["original"] == "originals/digit7.png"
    assert rows[1]["original"] == f"originals/digit7-{rows[1]['id']}.png"
    assert rows[1]["picture"] == f"annotated/digit7-{rows[1]['id']}.png"
    for n, row in enumerate(rows):
        assert (box.outbox / row["original"]).read_bytes() == png_like(f"fine {n}")


def test_sigterm_finishes_the_batches_in_flight(box: Box) -> None:
    box.drop("digit1.png", png_like("sleep 1.5"))
    with Daemon(box, STAND_IN) as running:
        until(lambda: bool(list(box.work.glob("d*-digit1.png"))), "a claim")
        running.wait_for_log("is ready")
        assert running.stop() == 0
    assert "stopped after 1 file: 1 ok" in running.log
    box.check_books({"digit1.png": png_like("sleep 1.5")})


def test_sigterm_while_the_model_loads_stops_at_once(box: Box) -> None:
    del box.settings["model"]  # the shipped model takes seconds to load
    box.configure()
    with Daemon(box) as running:
        until(lambda: bool(running.workers()), "a worker")
        assert running.stop(seconds=10) == 0


def test_second_digitd_on_the_same_outbox_exits_75_and_changes_nothing(box: Box) -> None:
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        before = status(box)
        second = digitd("run", "--config", box.config)
        assert second.returncode == 75
        assert "another digitd holds" in second.stderr
        assert status(box) == before
        box.drop("digit1.png", png_like("fine"))
        box.wait_for_rows(1)


def test_ten_kills_under_load_lose_no_file_and_read_none_twice(box: Box) -> None:
    chance = random.Random(7)
    dropped: dict[str, bytes] = {}
    for _ in range(10):
        dropped |= drop_many(box, 40, "sleep 0.002", start=len(dropped) + 1)
        with Daemon(box, STAND_IN) as running:
            running.wait_for_log("is ready", times=running.log.count("is ready") + 1)
            time.sleep(chance.uniform(0, 0.25))
            running.kill()
    with Daemon(box, STAND_IN) as running:
        box.wait_for_rows(len(dropped))
        box.wait_until_settled()
        assert running.stop() == 0
    assert {row["status"] for row in box.rows()} == {"ok"}
    box.check_books(dropped)


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ("crash", "killed by SIGSEGV"),
        ("raise", "exit status 1: RuntimeError: told to raise"),
        ("sleep 1000", "took longer than 3 s"),
    ],
)
def test_file_that_kills_its_worker_twice_gets_an_error_and_the_others_are_read(
    box: Box, order: str, why: str
) -> None:
    dropped = drop_many(box, 5)
    dropped |= drop_many(box, 1, order, start=6)
    dropped |= drop_many(box, 5, start=7)
    with Daemon(box, STAND_IN) as running:
        box.wait_for_rows(11)
        box.wait_until_settled()
        assert running.log.count("a worker went down") == 2
    assert box.row("digit6.png")["status"] == "error"
    assert box.row("digit6.png")["reason"] == f"took its worker process down 2 times: {why}"
    assert sum(row["status"] == "ok" for row in box.rows()) == 10
    box.check_books(dropped)


def test_file_whose_error_picture_crashes_gets_a_row_without_a_picture(box: Box) -> None:
    dropped = drop_many(box, 3)
    box.drop("digit9-cursed.png", png_like("fine"))
    with Daemon(box, STAND_IN) as running:
        box.wait_for_rows(4)
        box.wait_until_settled()
        assert running.stop() == 0
    row = box.row("digit9-cursed.png")
    assert (row["status"], row["picture"]) == ("error", "")
    assert (box.outbox / row["original"]).read_bytes() == png_like("fine")
    assert sum(row["status"] == "ok" for row in box.rows()) == len(dropped)


def test_foreign_table_pauses_intake_until_it_is_removed(box: Box) -> None:
    table = box.outbox / "predictions.csv"
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        table.write_text("somebody,else's\n1,2\n")
        table.rename(box.folder / "aside")
        table.write_text("somebody,else's\n1,2\n")
        box.drop("digit1.png", png_like("fine"))
        running.wait_for_log("paused, files stay in the inbox")
        assert running.process.poll() is None
        table.unlink()
        box.wait_for_rows(1)
        assert running.stop() == 0


def test_workers_die_with_the_daemon(box: Box) -> None:
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        workers = running.workers()
        assert len(workers) == 2
        running.process.kill()
        running.process.wait()
        until(
            lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers),
            "the workers' end",
        )


def test_missing_outbox_pauses_intake_until_it_returns(box: Box) -> None:
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        box.outbox.rename(box.folder / "elsewhere")
        running.wait_for_log("paused, files stay in the inbox")
        dropped = drop_many(box, 3)
        until(lambda: "outbox" in str(status(box)["why"]), "a status that says why")
        (box.folder / "elsewhere").rename(box.outbox)
        box.wait_for_rows(3)
        box.wait_until_settled()
        running.wait_for_log("resumed")
    box.check_books(dropped)


def test_recreated_inbox_is_watched_again(box: Box) -> None:
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        box.inbox.rename(box.folder / "old")
        running.wait_for_log("paused")
        box.inbox.mkdir()
        running.wait_for_log("resumed")
        dropped = drop_many(box, 3)
        box.wait_for_rows(3)
        box.wait_until_settled()
    box.check_books(dropped)


def test_new_table_is_started_after_logrotate(box: Box) -> None:
    table = box.outbox / "predictions.csv"
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        box.drop("digit1.png", png_like("fine"))
        box.wait_for_rows(1)
        table.rename(box.outbox / "predictions.csv.1")
        box.drop("digit2.png", png_like("fine"))
        until(lambda: table.exists() and len(box.rows()) == 1, "a row in the new table")
    assert table.read_text().startswith("id,file,status,")
    assert [row["file"] for row in box.rows()] == ["digit2.png"]


def test_torn_last_row_is_cut_off_at_start_and_its_file_read_again(box: Box) -> None:
    dropped = drop_many(box, 3)
    run_once(box)
    table = box.outbox / "predictions.csv"
    *whole, last = table.read_bytes().splitlines(keepends=True)
    # As after a power failure: half of the last row, and its file still claimed.
    row = box.row("digit3.png")
    (box.outbox / row["original"]).rename(box.work / f"{row['id']}-digit3.png")
    (box.outbox / row["picture"]).unlink()
    table.write_bytes(b"".join(whole) + last[: len(last) // 2])
    log = run_once(box)
    assert "cut a torn row" in log
    box.check_books(dropped)


def test_sighup_applies_valid_settings_and_rejects_invalid_ones(box: Box) -> None:
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        box.configure(batch_size=0)
        running.send(signal.SIGHUP)
        running.wait_for_log("not reloaded")
        assert "batch_size: 0 is not allowed" in running.log
        (box.folder / "model.keras").write_bytes(b"garbage")
        box.configure(batch_size=8)
        running.send(signal.SIGHUP)
        running.wait_for_log("not reloaded", times=2)
        assert "is garbage" in running.log
        (box.folder / "model.keras").write_bytes(b"a model")
        box.configure(pattern="'*.png'")
        running.send(signal.SIGHUP)
        running.wait_for_log("is ready", times=2)
        box.drop("seven.png", png_like("fine"))
        box.wait_for_rows(1)
        assert running.stop() == 0


def test_reload_finishes_the_batches_in_flight_and_loses_nothing(box: Box) -> None:
    dropped = drop_many(box, 100, "sleep 0.01")
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        for batch_size in (8, 16, 32):
            until(lambda: bool(box.claimed()), "a batch in flight")
            box.configure(batch_size=batch_size)
            before = running.log.count("is ready")
            running.send(signal.SIGHUP)
            running.wait_for_log("is ready", times=before + 1)
            dropped |= drop_many(box, 50, "sleep 0.01", start=len(dropped) + 1)
        box.wait_for_rows(len(dropped))
        box.wait_until_settled()
        assert running.stop() == 0
        assert "went down" not in running.log
    assert {row["status"] for row in box.rows()} == {"ok"}
    box.check_books(dropped)


def test_reload_switches_to_other_folders(box: Box) -> None:
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        box.drop("digit1.png", png_like("fine"))
        box.wait_for_rows(1)
        box.configure(outbox="other")
        running.send(signal.SIGHUP)
        running.wait_for_log("is ready", times=2)
        box.drop("digit2.png", png_like("fine"))
        table = box.folder / "other" / "predictions.csv"
        until(lambda: table.read_text().count("\n") == 2, "a row in the other outbox")
        assert len(box.rows()) == 1
        assert running.stop() == 0


def test_reload_works_with_a_file_that_cannot_be_published(box: Box) -> None:
    box.drop("digit1.png", png_like("fine"))
    run_once(box)
    # As after a kill between commit and publish, with another file at the target.
    (row,) = box.rows()
    original = box.outbox / row["original"]
    original.rename(box.work / f"{row['id']}-digit1.png")
    original.write_bytes(b"a stranger's")
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("cannot be published yet")
        running.wait_for_log("is ready", times=2)
        running.send(signal.SIGHUP)
        running.wait_for_log("is ready", times=3)
        box.drop("digit2.png", png_like("fine"))
        box.wait_for_rows(2)
        assert original.read_bytes() == b"a stranger's"
        original.unlink()
        running.send(signal.SIGHUP)
        box.wait_until_settled()
        assert running.stop() == 0
    box.check_books({"digit1.png": png_like("fine"), "digit2.png": png_like("fine")})


@pytest.mark.parametrize("fault", ["a foreign table", "a file", "held", "no parent"])
def test_reload_with_an_unusable_outbox_keeps_the_old_settings(
    box: Box, tmp_path: Path, fault: str
) -> None:
    other = tmp_path / "other"
    lock = -1
    match fault:
        case "a foreign table":
            other.mkdir()
            (other / "predictions.csv").write_text("name,price\nmilk,1\n")
        case "a file":
            other.write_text("not a folder")
        case "held":
            other.mkdir()
            lock = os.open(other / ".digitd.lock", os.O_RDWR | os.O_CREAT)
            fcntl.flock(lock, fcntl.LOCK_EX)
        case "no parent":
            other = tmp_path / "missing" / "other"
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        box.configure(outbox=other)
        running.send(signal.SIGHUP)
        running.wait_for_log("not reloaded, the settings stay unchanged")
        box.drop("digit1.png", png_like("fine"))
        box.wait_for_rows(1)
        assert str(other) in running.log
        assert running.stop() == 0
    if lock >= 0:
        os.close(lock)


def test_unfinished_file_does_not_keep_the_loop_spinning(box: Box) -> None:
    box.configure(incomplete_seconds=60, batch_size=1)
    drop_many(box, 12, "sleep 1.5")
    (box.inbox / "digit100.png").write_bytes(png_like("fine")[:-4])
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        box.wait_for_rows(1)  # by now every worker is busy
        before = cpu_seconds(running.process.pid)
        box.wait_for_rows(5)
        used = cpu_seconds(running.process.pid) - before
        running.kill()
    assert used < 0.3  # of the 3 seconds or more that two workers need for four such files


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_folder_with_the_name_of_an_image_is_logged_when_it_arrives(box: Box) -> None:
    box.configure(rescan_seconds=3600)
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        (box.inbox / "digit9.png").mkdir()
        running.wait_for_log("'digit9.png' in the inbox is not a regular file: left alone")


def test_dropped_folder_and_link_are_counted(box: Box) -> None:
    box.configure(rescan_seconds=1)
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        (box.inbox / "scans").mkdir()
        (box.inbox / "scans" / "digit1.png").write_bytes(png_like("fine"))
        (box.inbox / ".sync").mkdir()
        (box.inbox / "digit2.png").mkdir()
        (box.inbox / "digit3.png").symlink_to(SAMPLES / "digit3.png")
        running.wait_for_log(
            "'scans' in the inbox is a folder: left alone; move its files into the inbox itself"
        )
        found = json.loads(digitd("status", "--json", "--config", box.config).stdout)
        assert (found["folders"], found["ignored"], found["waiting"]) == (2, 1, 0)
        (box.inbox / "scans" / "digit1.png").rename(box.inbox / "digit1.png")
        box.wait_for_rows(1)


def test_run_once_creates_a_missing_inbox_and_finds_nothing(box: Box) -> None:
    box.inbox.rmdir()
    run_once(box)
    assert box.rows() == []
    assert box.inbox.is_dir()


def test_garbage_model_at_start_exits_78(box: Box) -> None:
    (box.folder / "model.keras").write_bytes(b"garbage")
    box.drop("digit1.png", png_like("fine"))
    with Daemon(box, STAND_IN) as running:
        assert running.process.wait(30) == 78
    assert (box.inbox / "digit1.png").exists()


def test_non_regular_files_are_left_alone_and_block_nothing(box: Box) -> None:
    (box.folder / "secret").write_bytes(png_like("fine"))
    (box.inbox / "digit1.png").symlink_to(box.folder / "secret")
    (box.inbox / "digit2.png").symlink_to("/dev/zero")
    os.mkfifo(box.inbox / "digit3.png")
    (box.inbox / "digit4.png").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        # A short path, because a socket's path is limited to 107 bytes.
        here = os.open(box.inbox, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/digit6.png")
        os.close(here)
    strange = 5
    if os.geteuid() == 0:  # only root can create devices
        os.mknod(box.inbox / "digit7.png", stat.S_IFCHR | 0o600, os.makedev(1, 5))
        strange = 6
    box.drop("digit5.png", png_like("fine"))
    with Daemon(box, STAND_IN) as running:
        box.wait_for_rows(1)
        running.wait_for_log("left alone", times=strange)
        assert json.loads(digitd("status", "--json", "--config", box.config).stdout)["waiting"] == 0
        assert running.stop() == 0
    assert [row["file"] for row in box.rows()] == ["digit5.png"]
    assert len(list(box.inbox.iterdir())) == strange + 1


def test_status_of_a_broken_config_says_whether_digitd_is_running(box: Box) -> None:
    with Daemon(box, STAND_IN) as running:
        running.until(lambda: status(box)["state"] == "running", "a running digitd")
        box.configure(reds="digit")
        said = digitd("status", "--json", "--config", box.config)
        assert said.returncode == 78
        found = json.loads(said.stdout)
        assert "reds: no such key; did you mean reads?" in found["config_fault"]
        assert (found["running"], found["state"], found["waiting"]) == (True, "running", None)
        assert "reds: no such key; did you mean reads?" in said.stderr
        assert said.stderr.endswith("\ndigitd is running; it keeps its earlier settings\n")
        assert running.stop() == 0
    said = digitd("status", "--config", box.config)
    assert said.stderr.endswith("\ndigitd is not running\n")
    box.config.write_text("workers: [")
    said = digitd("status", "--config", box.config)
    assert said.stderr.endswith("\nwhether digitd is running is not known without the config\n")
    assert said.stdout == ""
    said = digitd("status", "--json", "--config", box.config)
    assert said.returncode == 78
    found = json.loads(said.stdout)
    assert "is not valid YAML: line 1" in found.pop("config_fault")
    assert found == {"running": None, "state": None}


def test_names_cannot_break_the_table_or_leave_the_outbox(box: Box) -> None:
    box.configure(pattern="'*'")
    names = [
        "=1+1.png",
        "a,b.png",
        'quo"te.png',
        "new\nline.png",
        os.fsdecode(b"bytes\xff.png"),
        "n" * 251 + ".png",
        "-x.jpg",
        "-x.jpg.png",
    ]
    for name in names:
        (box.inbox / name).write_bytes(png_like(f"fine {name!a}"))
    run_once(box)
    rows = box.rows()
    assert len(rows) == len(names)
    assert (box.outbox / "predictions.csv").read_bytes().count(b"\n") == len(names) + 1
    for row in rows:
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row.values())
        original = (box.outbox / row["original"]).resolve()
        assert original.parent == (box.outbox / "originals").resolve()
        assert (box.outbox / row["picture"]).exists()
    assert digitd("audit", "--config", box.config).returncode == 0


def test_table_read_live_has_whole_rows_up_to_the_last_newline(box: Box) -> None:
    box.configure(batch_size=7)
    dropped = drop_many(box, 400)
    looks = 0
    with Daemon(box, STAND_IN) as running:
        table = box.outbox / "predictions.csv"
        until(table.exists, "the table")
        seen = 0
        while seen < len(dropped):
            assert running.process.poll() is None, running.log
            # As the README says.
            complete = table.read_bytes().rpartition(b"\n")[0]
            frame = pd.read_csv(io.BytesIO(complete), dtype=str, keep_default_na=False)
            assert frame["processed_at"].str.fullmatch(r".{23}Z").all()
            assert len(frame) >= seen
            seen = len(frame)
            looks += 1
        box.wait_until_settled()
    assert looks > 10
    box.check_books(dropped)


@pytest.mark.serial
def test_exhausted_inotify_falls_back_to_polling_and_is_logged(box: Box) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    if limit > 1000:
        pytest.skip("the inotify limit is so high that exhausting it would harm other programs")
    libc = ctypes.CDLL(None)
    taken = []
    try:
        while (fd := libc.inotify_init()) >= 0:
            taken.append(fd)
        with Daemon(box, STAND_IN) as running:
            running.wait_for_log("inotify is exhausted")
            running.wait_for_log("watching by polling")
            box.drop("digit1.png", png_like("fine"))
            box.wait_for_rows(1)
            assert running.stop() == 0
    finally:
        for fd in taken:
            os.close(fd)


def mount(*arguments: str | Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    done = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"this machine lets nobody mount: {done.stderr}")


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.serial
def test_full_disk_pauses_intake_and_no_file_is_blamed(box: Box) -> None:
    mount("-t", "tmpfs", "-o", "size=1m", "digitd-test", box.outbox)
    try:
        with Daemon(box, STAND_IN) as running:
            running.wait_for_log("is ready")
            with (box.outbox / "filler").open("wb", buffering=0) as filler, suppress(OSError):
                while filler.write(bytes(4096)):
                    pass
            dropped = drop_many(box, 3)
            running.wait_for_log(f"paused, files stay in the inbox: {box.outbox}")
            running.wait_for_log("No space left on device")
            dropped |= drop_many(box, 3, start=4)
            until(lambda: status(box)["state"] == "paused", "a status that says paused")
            (box.outbox / "filler").unlink()
            box.wait_for_rows(6)
            box.wait_until_settled()
            assert running.stop() == 0
        assert {row["status"] for row in box.rows()} == {"ok"}
        box.check_books(dropped)
    finally:
        unmount(box.outbox)


@pytest.mark.serial
def test_read_only_outbox_pauses_intake_and_no_file_is_blamed(box: Box) -> None:
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        mount("--bind", box.outbox, box.outbox)
        try:
            mount("-o", "remount,bind,ro", box.outbox)
            dropped = drop_many(box, 3)
            running.wait_for_log("Read-only file system")
        finally:
            unmount(box.outbox)
        box.wait_for_rows(3)
        box.wait_until_settled()
        assert running.stop() == 0
    box.check_books(dropped)


@pytest.mark.serial
def test_unmounted_inbox_pauses_intake_until_it_returns(box: Box) -> None:
    kept = box.folder / "kept"
    kept.mkdir()
    mount("--bind", kept, box.inbox)
    with Daemon(box, STAND_IN) as running:
        try:
            running.wait_for_log("is ready")
            unmount(box.inbox)
            box.inbox.rename(box.folder / "mount point")
            running.wait_for_log("paused")
            (box.folder / "mount point").rename(box.inbox)
            mount("--bind", kept, box.inbox)
            running.wait_for_log("resumed")
            dropped = {f"digit{n}.png": png_like(f"fine {n}") for n in range(3)}
            for name, data in dropped.items():
                (box.inbox / name).write_bytes(data)
            box.wait_for_rows(3)
            box.wait_until_settled()
            assert running.stop() == 0
        finally:
            unmount(box.inbox)
    assert sorted(row["file"] for row in box.rows()) == sorted(dropped)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_unlistable_inbox_pauses_intake_until_it_can_be_listed(box: Box) -> None:
    box.configure(rescan_seconds=1)
    command = STAND_IN
    if os.geteuid() == 0:  # root can read everything, unless these capabilities are dropped
        command = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", *STAND_IN]
    with Daemon(box, command) as running:
        running.wait_for_log("is ready")
        box.inbox.chmod(0o300)
        running.wait_for_log("Permission denied")
        assert running.process.poll() is None
        box.inbox.chmod(0o700)
        running.wait_for_log("resumed")
        dropped = drop_many(box, 3)
        box.wait_for_rows(3)
        box.wait_until_settled()
        assert running.stop() == 0
    box.check_books(dropped)
