"""The daemon on a real Dask cluster with TLS, of which parts are killed, frozen and replaced."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from support import stand_in
from support.cluster import Cluster, certificates
from support.daemon import DIGITD, SAMPLES, STAND_IN, Box, Daemon, digitd
from support.waiting import DEADLINE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make certificates for all tests; it takes a second."""
    folder = tmp_path_factory.mktemp("certificates")
    certificates(folder, "node")
    return folder


@pytest.fixture
def cluster(tmp_path: Path, made: Path) -> Iterator[Cluster]:
    folder = tmp_path / "cluster"
    made_copy(made, folder)
    with Cluster(folder) as running:
        yield running


def made_copy(made: Path, folder: Path) -> None:
    folder.mkdir()
    for file in made.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())


@pytest.fixture
def box(box: Box, cluster: Cluster) -> Box:
    box.configure(batch_size=8, **cluster.settings)
    return box


def drop(box: Box, count: int, order: Callable[[int], str]) -> dict[str, bytes]:
    dropped = {f"digit{n}.png": stand_in.png_like(order(n)) for n in range(1, count + 1)}
    for name, data in dropped.items():
        box.drop(name, data)
    return dropped


def status_of(box: Box) -> dict[str, str]:
    found: dict[str, str] = json.loads(digitd("status", "--json", "--config", box.config).stdout)
    return found


def test_files_are_read_on_the_cluster_as_here(box: Box, cluster: Cluster) -> None:
    cluster.start_workers(2)
    dropped = {path.name: path.read_bytes() for path in SAMPLES.glob("*.png")}
    for name, data in dropped.items():
        box.drop(name, data)
    box.drop("digit99.png", b"my shopping list")
    dropped["digit99.png"] = b"my shopping list"
    with Daemon(box, DIGITD) as running:
        box.wait_for_rows(len(dropped))
        box.wait_until_settled()
        assert running.workers() == [], "a worker was started here"
        assert running.stop() == 0
    box.check_books(dropped)
    samples = [SAMPLES / name for name in dropped if name != "digit99.png"]
    here = digitd("predict", "--json", *samples)
    for line in here.stdout.splitlines():
        expected = json.loads(line)
        row = box.row(expected["file"])
        assert float(row["confidence"]) == expected["confidence"]
        assert (row["digit"], row["model"]) == (expected["digit"], expected["model"])
    assert box.row("digit99.png")["reason"] == "text, not an image"


def test_killed_machines_lose_no_file_and_blame_none(box: Box, cluster: Cluster) -> None:
    cluster.start_workers(3)
    chance = random.Random(1)
    dropped = drop(box, 400, lambda n: f"sleep 0.02 {n}")
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        for _ in range(4):
            rows = len(box.rows())
            until(lambda rows=rows: len(box.rows()) > rows, "some rows")  # type: ignore[misc]
            cluster.replace_worker(chance.randrange(3))
        box.wait_for_rows(len(dropped))
        box.wait_until_settled()
        assert running.stop() == 0
    assert {row["status"] for row in box.rows()} == {"ok"}
    box.check_books(dropped)
    assert "went down" not in running.log


def test_file_that_takes_workers_down_gets_the_only_error(box: Box, cluster: Cluster) -> None:
    box.configure(batch_size=64, **cluster.settings)
    cluster.start_workers(2)
    dropped = drop(box, 80, lambda n: f"crash {n}" if n == 7 else f"fine {n}")
    with Daemon(box, STAND_IN) as running:

        def all_read() -> bool:
            cluster.replace_ended_workers()
            return len(box.rows()) == len(dropped)

        # The others of its batch are read one by one, without a pause between two.
        until(all_read, "all rows", 60)
        box.wait_until_settled()
        assert running.stop() == 0
    box.check_books(dropped)
    (bad,) = (row for row in box.rows() if row["status"] != "ok")
    assert (bad["file"], bad["status"]) == ("digit7.png", "error")
    assert bad["reason"].startswith("took its worker process down 2 times")


def test_lost_scheduler_pauses_intake_and_work_resumes_by_itself(
    box: Box, cluster: Cluster
) -> None:
    cluster.start_workers(2)
    dropped = drop(box, 200, lambda n: f"sleep 0.02 {n}")
    with Daemon(box, STAND_IN) as running:
        box.wait_for_rows(8)
        cluster.kill_scheduler()
        running.wait_for_log("paused, files stay in the inbox: tls://")
        found = status_of(box)
        assert found["state"] == "paused"
        assert "cannot be reached" in found["why"]
        assert len(box.rows()) < len(dropped)
        cluster.start_scheduler()
        for number in range(2):
            cluster.replace_worker(number)
        box.wait_for_rows(len(dropped))
        box.wait_until_settled()
        assert running.stop() == 0
    assert {row["status"] for row in box.rows()} == {"ok"}
    box.check_books(dropped)


def test_service_has_started_before_there_is_a_worker(
    box: Box, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped = drop(box, 8, str)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(box.folder / "notify"))
        systemd.settimeout(DEADLINE_SECONDS)
        monkeypatch.setenv("NOTIFY_SOCKET", str(box.folder / "notify"))
        with Daemon(box, STAND_IN) as running:
            while b"READY=1" not in systemd.recv(4096):
                pass
            assert box.rows() == []
            running.wait_for_log("paused, files stay in the inbox: tls://")
            cluster.start_workers(1)
            box.wait_for_rows(len(dropped))
            assert running.stop() == 0
    box.check_books(dropped)


def test_frozen_worker_does_not_stop_the_others(box: Box, cluster: Cluster) -> None:
    cluster.start_workers(3)
    dropped = drop(box, 100, lambda n: f"sleep 0.02 {n}")
    with Daemon(box, STAND_IN) as running:
        box.wait_for_rows(8)
        os.killpg(cluster.workers[0].pid, signal.SIGSTOP)
        try:
            box.wait_for_rows(len(dropped))
        finally:
            os.killpg(cluster.workers[0].pid, signal.SIGCONT)
        box.wait_until_settled()
        assert running.stop() == 0
    assert {row["status"] for row in box.rows()} == {"ok"}
    box.check_books(dropped)


def test_workers_of_another_version_get_no_file(box: Box, cluster: Cluster) -> None:
    cluster.start_workers(1, preload="support.other_version")
    dropped = drop(box, 5, lambda n: f"fine {n}")
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("no worker has digitd-")
        assert "(digitd-0.0.9)" in running.log
        assert status_of(box)["state"] == "paused"
        assert box.rows() == []
        cluster.start_workers(1)
        box.wait_for_rows(len(dropped))
        box.wait_until_settled()
        assert running.stop() == 0
    box.check_books(dropped)


def test_daemon_without_the_right_certificate_is_refused(
    box: Box, cluster: Cluster, tmp_path: Path
) -> None:
    cluster.start_workers(1)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    certificates(foreign, "node")
    box.configure(cluster_tls=cluster.tls_settings(foreign))
    drop(box, 1, lambda n: f"fine {n}")
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("cannot be reached")
        assert status_of(box)["state"] == "paused"
        assert running.stop() == 0
    assert box.rows() == []
    assert list((box.inbox).glob("digit1.png"))


def test_worker_without_the_right_certificate_is_refused(
    box: Box, cluster: Cluster, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    certificates(foreign, "node")
    cluster.start_workers(1, certificates=foreign)
    until(lambda: "TLS handshake failed" in cluster.log, "a refusal")
    done = digitd("check", "--config", box.config)
    assert f"WRONG cluster: {cluster.address}: the scheduler has no workers" in done.stdout


def test_cluster_without_workers_is_named(box: Box, cluster: Cluster) -> None:
    done = digitd("check", "--config", box.config)
    assert done.returncode == 1
    assert f"WRONG cluster: {cluster.address}: the scheduler has no workers" in done.stdout


def test_scheduler_that_does_not_exist_is_named(box: Box, cluster: Cluster) -> None:
    cluster.kill_scheduler()
    done = digitd("check", "--config", box.config)
    assert done.returncode == 1
    assert f"WRONG cluster: {cluster.address}: the scheduler cannot be reached" in done.stdout


def test_missing_certificate_is_named(box: Box, cluster: Cluster) -> None:
    (cluster.folder / "node.pem").unlink()
    done = digitd("check", "--config", box.config)
    assert done.returncode == 1
    assert "node.pem: No such file or directory" in done.stdout


def test_workers_get_the_expected_numbers_once(box: Box, cluster: Cluster) -> None:
    ids = box.folder / "ids.txt"
    ids.write_text("".join(f"{n}\n" for n in range(1_000_000, 1_100_000)), encoding="ascii")
    box.configure(reads="number", expect_file="ids.txt")
    cluster.start_workers()

    def read(*numbers: str) -> dict[str, tuple[str, str, str]]:
        rows = len(box.rows())
        for number in numbers:
            box.drop(f"{number}.png", stand_in.png_like(f"number {number}"))
        box.wait_for_rows(rows + len(numbers))
        new = box.rows()[rows:]
        return {row["file"]: (row["status"], row["digit"], row["reason"]) for row in new}

    with Daemon(box, STAND_IN) as running:
        assert read("1000007", "9000007", "55") == {
            "1000007.png": ("ok", "1000007", ""),
            "9000007.png": ("unsure", "1000007", "not expected: read 9000007"),
            "55.png": ("unsure", "55", "not expected"),
        }
        cluster.replace_worker(0)
        assert read("1000008", "56") == {
            "1000008.png": ("ok", "1000008", ""),
            "56.png": ("unsure", "56", "not expected"),
        }
        (sent,) = (cluster.folder / "worker0").rglob("digitd-*.txt")
        assert len(sent.read_text(encoding="ascii").split()) == 100_000
        ids.write_text("57\n", encoding="ascii")
        running.send(signal.SIGHUP)
        running.wait_for_log("is ready", times=2)
        assert read("57", "1000009") == {
            "57.png": ("ok", "57", ""),
            "1000009.png": ("unsure", "1000009", "not expected"),
        }
        assert running.stop() == 0
