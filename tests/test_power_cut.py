"""Power cuts: what the disk has stored is mounted again, and digitd continues there.

`make system-test` runs the same on XFS and btrfs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from support.daemon import STAND_IN, Box, Daemon, digitd, run_once
from support.disk import Disk, cut_power, disks
from support.stand_in import png_like
from support.waiting import until

FILES = 12
BOOTS = 5


def drop_durably(box: Box, name: str, data: bytes) -> None:
    """Write a file like a careful producer: fsync, rename, fsync of the folder."""
    part = box.inbox / f".{name}"
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.rename(box.inbox / name)
    folder = os.open(box.inbox, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def check_rows_survive(folder: Path, kind: str, *, two: bool, durable: bool) -> None:
    """Cut the power a second after the rows of some files.

    Args:
        folder: for the disks.
        kind: of file system.
        two: whether the outbox is on another file system than the inbox.
        durable: whether the files are made durable before they are dropped.
    """
    with disks(folder, kind, *(["outbox"] if two else [])) as made:
        box = Box(made[0].folder)
        box.configure(model="model.keras")
        (box.folder / "model.keras").write_bytes(b"a model")
        dropped = {f"digit{n}.png": png_like(f"fine {n}") for n in range(FILES)}
        for disk in made:
            disk.sync()
        with Daemon(box, STAND_IN) as running:
            running.wait_for_log("is ready")
            for name, data in dropped.items():
                if durable:
                    drop_durably(box, name, data)
                else:
                    box.drop(name, data)
            box.wait_for_rows(FILES)
            time.sleep(1)
            cut_power(made, running)
        run_once(box)
        box.check_books(dropped)
        assert "0 discrepancies" in digitd("audit", "--config", box.config).stdout


def is_frozen(running: Daemon) -> bool:
    stat = Path(f"/proc/{running.process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"


def check_machine_killer_is_given_up(folder: Path, kind: str) -> None:
    """Cut the power each time a worker gets one of four files."""
    with disks(folder, kind) as made:
        (disk,) = made
        box = Box(disk.folder)
        box.configure(model="model.keras", workers=2)
        (box.folder / "model.keras").write_bytes(b"a model")
        dropped = {f"digit{n}.png": png_like(f"fine {n}") for n in (1, 3, 4)}
        killer = png_like("freeze 60")
        for name, data in {**dropped, "digit2.png": killer}.items():
            box.drop(name, data)
        disk.sync()
        for _ in range(BOOTS):
            with Daemon(box, STAND_IN) as running:
                until(partial(is_frozen, running), "a file that kills the machine")
                cut_power(made, running)
        run_once(box)
        box.check_books({**dropped, "digit2.png": killer})
        rows = {row["file"]: row for row in box.rows()}
        assert {rows[name]["status"] for name in dropped} == {"ok"}
        assert rows["digit2.png"]["status"] == "error"
        assert rows["digit2.png"]["reason"] == "digitd itself died 5 times while reading it"


@pytest.mark.serial
@pytest.mark.parametrize("two", [False, True], ids=["one disk", "two disks"])
@pytest.mark.parametrize("durable", [False, True], ids=["by cp", "durably"])
def test_every_row_has_its_files_after_a_power_cut(
    tmp_path: Path, *, two: bool, durable: bool
) -> None:
    check_rows_survive(tmp_path, "ext4", two=two, durable=durable)


@pytest.mark.serial
def test_file_that_kills_the_machine_is_given_up_after_five_boots(tmp_path: Path) -> None:
    check_machine_killer_is_given_up(tmp_path, "ext4")


@pytest.mark.serial
def test_file_whose_data_the_disk_refused_is_written_again(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=100m", "digitd-test", str(store)]
    if os.geteuid() != 0 or subprocess.run(mounting, check=False).returncode:
        pytest.skip("only root can mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    # The blocks in use have space in the store, so that only new data can lack it.
    (store / "img").write_bytes(bytes(64 << 20))
    disk = Disk(store / "img", "ext4", folder, "-E", "nodiscard,lazy_journal_init=1")
    subprocess.run(["fstrim", folder], check=True)
    try:
        box = Box(folder)
        box.configure(model="model.keras")
        (folder / "model.keras").write_bytes(b"a model")
        dropped = {f"digit{n}.png": png_like(f"fine {n}" + 300_000 * "x") for n in range(5)}
        with Daemon(box, STAND_IN) as running:
            running.wait_for_log("is ready")
            disk.sync()
            running.send(signal.SIGSTOP)
            with (store / "filler").open("wb", buffering=0) as filler, suppress(OSError):
                while filler.write(bytes(4096)):
                    pass
            for name, data in dropped.items():
                box.drop(name, data)
            refused = subprocess.run(["sync", "--file-system", folder], check=False)
            assert refused.returncode, "the disk took everything"
            (store / "filler").unlink()
            running.send(signal.SIGCONT)
            box.wait_for_rows(len(dropped))
            box.wait_until_settled()
            assert running.stop() == 0
            assert "paused, files stay in the inbox" in running.log
            assert "writing it again" in running.log
        # What the disk has, not what is in memory.
        disk.unmount()
        disk.mount()
        box.check_books(dropped)
    finally:
        disk.unmount()
        subprocess.run(["umount", store], check=True)


SLOW_SYNC = [sys.executable, "-m", "support.slow_sync"]


def count(box: Box, what: str) -> int:
    return len([*box.work.glob(what)])


def test_rows_wait_for_a_slow_disk_while_workers_read_on(box: Box) -> None:
    box.configure(model="model.keras", batch_size=4)
    (box.folder / "model.keras").write_bytes(b"a model")
    slow = box.folder / "slow"
    slow.touch()
    dropped = {f"digit{n}.png": png_like(f"fine {n}") for n in range(100)}
    with Daemon(box, SLOW_SYNC) as running:
        running.wait_for_log("is ready")
        for name, data in dropped.items():
            box.drop(name, data)
        until(lambda: count(box, "*.picture") == len(dropped), "a picture of each file")
        assert box.rows() == []
        slow.unlink()
        box.wait_for_rows(len(dropped))
        box.wait_until_settled()
        assert running.stop() == 0
    box.check_books(dropped)


def test_stop_does_not_wait_for_a_slow_disk(box: Box) -> None:
    box.configure(model="model.keras")
    (box.folder / "model.keras").write_bytes(b"a model")
    (box.folder / "slow").touch()
    box.drop("digit1.png", png_like("fine"))
    with Daemon(box, SLOW_SYNC) as running:
        until(lambda: count(box, "*.picture") == 1, "a picture")
        assert running.stop(60) == 0
        assert "1 files have no row yet: the next start reads them again" in running.log
    assert box.rows() == []
    # It is not to blame, so it need not be read alone.
    assert "alone" not in (box.work / "attempts").read_text()
    assert "1 to read, 0 to publish" in run_once(box)
    assert "alone" not in (box.work / "attempts").read_text()
    box.check_books({"digit1.png": png_like("fine")})


def test_leftover_that_lost_its_content_is_published_with_an_error(box: Box) -> None:
    box.configure(model="model.keras")
    (box.folder / "model.keras").write_bytes(b"a model")
    for number in (1, 2):
        box.drop(f"digit{number}.png", png_like(f"fine {number}"))
    run_once(box)
    # As after a power cut that undid the publication and lost what had not been synced.
    row = box.row("digit1.png")
    (box.outbox / row["original"]).rename(box.work / f"{row['id']}-digit1.png")
    (box.outbox / row["picture"]).rename(box.work / f"{row['id']}.picture")
    os.truncate(box.work / f"{row['id']}-digit1.png", 0)
    os.truncate(box.work / f"{row['id']}.picture", 0)
    row = box.row("digit2.png")
    (box.outbox / row["original"]).rename(box.work / f"{row['id']}-digit2.png")
    log = run_once(box)
    errors = [line for line in log.splitlines() if " ERROR " in line]
    assert len(errors) == 2, log
    assert "digit1.png is not the file that was read: it has 0 bytes" in errors[0]
    assert ".picture is empty: not published" in errors[1]
    assert len(box.rows()) == 2
    assert (box.outbox / "originals" / "digit1.png").read_bytes() == b""
    assert not (box.outbox / "annotated" / "digit1.png").exists()
    assert (box.outbox / "originals" / "digit2.png").read_bytes() == png_like("fine 2")
    found = digitd("audit", "--config", box.config)
    assert found.returncode == 1
    assert "originals/digit1.png is not the file that was read" in found.stdout
    assert "annotated/digit1.png is missing or empty" in found.stdout
