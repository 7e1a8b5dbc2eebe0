"""The commands of docs/operating.md, in its order, under a real systemd."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.waiting import until
from tests.system.test_system import (
    DIGITD,
    DIGITS,
    START_SECONDS,
    Site,
    installed,
    machine,
    readme_commands,
    run_script,
    sample,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "installed",
    "machine",
]  # fixtures: a machine of its own, which the last test leaves bare

log = logging.getLogger(__name__)
pytestmark = pytest.mark.timeout(600)
PAGE = "docs/operating.md"
MOVED = Path("/data/digits")


def run(site: Site, title: str) -> str:
    return run_script(site.machine, readme_commands(title, PAGE))


@pytest.fixture
def site(installed: Site) -> Iterator[Site]:
    yield installed
    log.debug("%s", installed.machine.run("journalctl", "--unit=digitd", "--no-pager", "-n80"))


def test_install_is_checked(site: Site) -> None:
    said = run(site, "Install")
    assert "WRONG" not in said
    assert "state:       running" in said


def test_upgrade_and_downgrade_lose_nothing(site: Site) -> None:
    source = site.machine.outside("/source") / "daemon" / "__init__.py"
    old = source.read_text()
    before = site.machine.run(DIGITD, "--version")
    source.write_text(old.replace('__version__ = "', '__version__ = "9.'))
    site.drop_samples(range(1, 40))
    run(site, "Upgrade")
    assert site.machine.run(DIGITD, "--version") == before.replace("version ", "version 9.")
    site.drop_samples(range(40, 80))
    site.check_all()
    site.drop_samples(range(80, 120))
    source.write_text(old)
    run(site, "Downgrade")
    assert site.machine.run(DIGITD, "--version") == before
    site.check_all()


def test_backup_of_a_running_digitd_is_restored_whole(site: Site) -> None:
    before = dict(site.dropped)
    has_ended = threading.Event()

    def go_on_dropping() -> None:
        number = 1000
        while not has_ended.wait(0.02):
            number += 1
            Site.drop(site, f"digit{number}.png", sample(number))

    dropper = threading.Thread(target=go_on_dropping)
    dropper.start()
    try:
        until(lambda: len(site.rows()) > len(before) + 10, "rows meanwhile", START_SECONDS)
        before = dict(site.dropped)
        run(site, "Back up")
    finally:
        has_ended.set()
        dropper.join()
    until(lambda: len(site.rows()) >= len(site.dropped), "a row each", START_SECONDS)
    site.machine.run("rm", "-r", DIGITS / "outbox" / "originals")
    assert "0 discrepancies" in run(site, "Restore")
    site.wait_until_settled()
    rows = site.rows()
    names = {row["file"] for row in rows}
    assert set(before) <= names
    assert len(names) == len(rows), "a file was read twice"
    log.info("%d of %d files in the backup", len(names), len(site.dropped))
    for row in rows:
        original = site.outbox / row["original"]
        assert original.read_bytes() == site.dropped[row["file"]]
    site.machine.run("rm", "-r", "/srv/digits.broken")


def test_rotated_table_is_still_read(site: Site) -> None:
    rows = len(site.rows())
    assert "0 discrepancies" in run(site, "Rotate")
    assert not site.rows()
    site.drop("digit5000.png", sample(5))
    until(lambda: len(site.rows()) == 1, "a row in a new table", START_SECONDS)
    said = site.machine.run(DIGITD, "audit", "--config", DIGITS / "config.yaml")
    assert f"{rows + 1} rows" in said


def test_service_moves_to_another_disk(site: Site) -> None:
    moved = site.machine
    moved.run("mkdir", "/data")
    assert "0 discrepancies" in run(site, "Move to another disk")
    moved.run("cp", "/samples/digit7.png", MOVED / "inbox" / "digit6000.png")

    def is_read() -> bool:
        return moved.succeeds("grep", "digit6000.png,ok,7", MOVED / "outbox" / "predictions.csv")

    until(is_read, "a row on the other disk", START_SECONDS)


def test_removal_leaves_the_results_only(site: Site) -> None:
    run(site, "Remove")
    bare = site.machine
    assert not bare.succeeds("systemctl", "cat", "digitd")
    assert not bare.succeeds("id", "digitd")
    for place in ("/opt/digitd", "/var/cache/digitd", "/etc/logrotate.d/digitd"):
        assert not bare.succeeds("test", "-e", place), place
    assert bare.succeeds("test", "-e", MOVED / "outbox" / "predictions.csv")
