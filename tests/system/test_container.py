"""The image and compose.yaml, in real containers: what the README's "In a container" promises."""

from __future__ import annotations

import csv
import http.client
import io
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import tarfile
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Self

import pytest

from daemon import __version__
from support.daemon import ROOT, SAMPLES
from support.waiting import until
from tests.system.engines import BUILT, IMAGE, SECONDS, docker, podman

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.engines import Engine

log = logging.getLogger(__name__)
pytestmark = pytest.mark.timeout(400)

PORT = 8383
OWNER = 4321
MOST_BYTES = 560_000_000
# Docker's daemon takes three failures, 30 seconds apart, for unhealthy.
MORE_OFTEN = """
services:
  digitd:
    healthcheck:
      interval: 2s
  review:
    healthcheck:
      interval: 2s
"""


class Compose:
    """compose.yaml in a folder of its own, brought up by an engine's compose."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.folder = folder
        self.digits = folder / "digits"
        self.dropped = 0
        self.engine = replace(engine, environment=engine.environment | {"UID": str(OWNER)})
        shutil.copy(ROOT / "compose.yaml", folder)
        (folder / "compose.override.yaml").write_text(MORE_OFTEN)

    def __enter__(self) -> Self:
        self.compose("up", "--detach", "--no-build")
        return self

    def __exit__(self, *_: object) -> None:
        self.compose("down")

    def compose(self, *arguments: str) -> str:
        return self.engine.run(*self.engine.compose, *arguments, folder=self.folder)

    def run(self, *arguments: str) -> str:
        return self.engine.run(self.engine.command, *arguments)

    def fails(self, *arguments: str) -> bool:
        return self.engine.fails(self.engine.command, *arguments)

    def name(self, service: str) -> str:
        (name,) = (
            line
            for line in self.run("ps", "--all", "--format", "{{.Names}}").split()
            if re.fullmatch(rf"{self.folder.name}[-_]{service}[-_]1", line)
        )
        return name

    def digitd(self, *arguments: str) -> str:
        return self.run("exec", self.name("digitd"), "digitd", *arguments)

    def drop(self, files: int) -> None:
        """Drop files as their owner does with a file manager."""
        for _ in range(files):
            self.dropped += 1
            part = self.digits / f".digit{self.dropped}.png"
            shutil.copy(SAMPLES / f"digit{1 + self.dropped % 12}.png", part)
            os.chown(part, OWNER, OWNER)
            part.rename(self.digits / "inbox" / f"digit{self.dropped}.png")

    def rows(self) -> list[dict[str, str]]:
        table = self.digits / "outbox" / "predictions.csv"
        text = table.read_text() if table.exists() else ""
        return list(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])))

    def has_more_rows_than(self, count: int) -> bool:
        return len(self.rows()) > count

    def check_all(self) -> None:
        """Check that each dropped file has one row, and run the audit."""
        until(lambda: len(self.rows()) >= self.dropped, "a row each", SECONDS)
        assert len({row["file"] for row in self.rows()}) == len(self.rows()) == self.dropped
        until(lambda: f"{self.dropped} files, 0 in work" in self.digitd("audit"), "all published")

    def request(self, path: str, host: str = f"127.0.0.1:{PORT}") -> tuple[int, str | None]:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
        try:
            connection.request("GET", path, headers={"Host": host})
            response = connection.getresponse()
            return response.status, response.headers["Set-Cookie"]
        finally:
            connection.close()


@pytest.fixture(scope="module", params=[podman, docker], ids=["podman", "docker"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Compose]:
    with request.param() as engine:
        compose = Compose(engine, tmp_path_factory.mktemp("digits"))
        began = time.monotonic()
        with compose:
            until((compose.digits / "inbox").is_dir, "the inbox", SECONDS)
            compose.drop(1)
            until(lambda: bool(compose.rows()), "a row", SECONDS)
            seconds = time.monotonic() - began
            log.info("%s: %.1f s from compose's `up` to the first row", engine.command, seconds)
            yield compose


def test_image_is_small_and_has_nothing_of_the_machine_that_built_it(running: Compose) -> None:
    size = int(running.run("image", "inspect", "--format", "{{.Size}}", IMAGE))
    log.info("the image has %.0f MB", size / 1e6)
    assert size <= MOST_BYTES
    name = running.name("digitd")
    assert running.fails("exec", name, "/opt/digitd/bin/python", "-c", "import tensorflow")
    # The mount points of the build are empty.
    assert running.run("exec", name, "sh", "-c", "cat /etc/pip.conf /run/pip.crt || true") == ""
    assert "PIP_" not in running.run("image", "inspect", IMAGE)


def test_dropped_files_are_read_as_the_owner_of_the_folder(running: Compose) -> None:
    running.drop(20)
    running.check_all()
    assert {row["status"] for row in running.rows()} == {"ok"}
    found = [running.digits, *running.digits.rglob("*")]
    assert {path.stat().st_uid for path in found} == {OWNER}


def test_container_can_write_its_folder_only(running: Compose) -> None:
    name = running.name("digitd")
    assert not running.fails("exec", f"--user={OWNER}", name, "touch", "/digits/x")
    for place in ("/x", "/opt/digitd/x", "/usr/x"):
        assert running.fails("exec", name, "touch", place), place
    state = running.run("exec", name, "cat", "/proc/1/status")
    assert f"Uid:\t{OWNER}\t{OWNER}\t{OWNER}\t{OWNER}\n" in state
    assert "CapEff:\t0000000000000000\n" in state
    assert "NoNewPrivs:\t1\n" in state


def test_page_answers_on_the_loopback_address(running: Compose) -> None:
    def url() -> str:
        found = re.search(r"http://\S+", running.run("logs", running.name("review")))
        return found[0] if found else ""

    until(lambda: bool(url()), "the URL", SECONDS)
    assert url().startswith(f"http://127.0.0.1:{PORT}/?token=")
    status, cookie = running.request(url().partition(str(PORT))[2])
    assert status == 303
    assert cookie is not None
    assert "SameSite=strict" in cookie
    assert running.request("/")[0] == 401
    assert running.request("/", host="digits.example.org")[0] == 403
    assert running.request("/healthz")[0] == 200
    other = ("127.0.0.2", PORT)
    with pytest.raises(ConnectionRefusedError), socket.create_connection(other, timeout=30):
        pass


@pytest.mark.parametrize("service", ["digitd", "review"])
def test_health_check_tells_whether_the_service_runs(running: Compose, service: str) -> None:
    name = running.name(service)
    until(lambda: running.engine.is_healthy(name), "healthy", SECONDS)
    running.run("stop", name)
    assert not running.engine.is_healthy(name)
    if service == "digitd":
        assert running.request("/healthz")[0] == 503
    running.run("start", name)
    until(lambda: running.engine.is_healthy(name), "healthy again", SECONDS)


def test_health_check_fails_while_digitd_hangs(running: Compose) -> None:
    name = running.name("digitd")
    until(lambda: running.engine.is_healthy(name), "healthy", SECONDS)
    running.run("kill", "--signal=STOP", name)
    until(lambda: not running.engine.is_healthy(name), "unhealthy", SECONDS)
    assert running.request("/healthz")[0] == 503
    running.run("kill", "--signal=CONT", name)
    until(lambda: running.engine.is_healthy(name), "healthy again", SECONDS)


def test_health_check_fails_while_digitd_is_not_running(running: Compose) -> None:
    """The container runs, but another process than digitd is in it."""
    image = ("--volume", f"{running.digits}:/digits", IMAGE)
    running.run("stop", running.name("digitd"))
    check = ("run", "--rm", "--network=none", *image, "status")
    assert running.fails(*check)
    running.run("start", running.name("digitd"))
    until(lambda: not running.fails(*check), "running again", SECONDS)


def test_kill_and_restart_lose_nothing(running: Compose) -> None:
    name = running.name("digitd")
    for stop in (("kill", "--signal=KILL"), ("restart",), ("kill", "--signal=KILL")):
        already = len(running.rows())
        running.drop(60)
        until(partial(running.has_more_rows_than, already), "the first rows", SECONDS)
        running.run(*stop, name)
        running.drop(20)
        if stop[0] == "kill":
            running.run("start", name)
    running.check_all()


@pytest.mark.parametrize("service", ["digitd", "review"])
def test_service_starts_again_after_a_boot(running: Compose, service: str) -> None:
    # Podman's podman-restart.service starts the containers that this filter finds.
    policy = running.run(
        "inspect", "--format={{.HostConfig.RestartPolicy.Name}}", running.name(service)
    )
    assert policy.strip() == "always"


def test_release_has_the_wheel_the_image_and_the_notes() -> None:
    # build_image.sh makes them with `make artefacts`, as `make release` does after the tests.
    dist = BUILT / "dist"
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=dist, check=True)
    wheel, image = f"digitd-{__version__}-py3-none-any.whl", f"digitd-{__version__}-image.tar"
    assert {file.name for file in dist.iterdir()} == {wheel, image, "notes.md", "SHA256SUMS"}
    assert (dist / "notes.md").read_text().strip()
    with tarfile.open(dist / image) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        (entry,) = json.load(manifest)
    assert set(entry["RepoTags"]) == {f"{IMAGE}:{__version__}", f"{IMAGE}:latest"}
