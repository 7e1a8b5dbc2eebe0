"""digitd under a real systemd, installed as in the README: what the unit promises."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from daemon.assets import CONFIG_TEMPLATE
from daemon.text import count
from support.daemon import ROOT, SAMPLES, Box
from support.waiting import until
from tests.system.machine import CommandError, Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)
# Booting, installing and each start count against the first test that needs them.
pytestmark = pytest.mark.timeout(300)

BUILT = ROOT / "build" / "system-test"
DIGITS = Path("/srv/digits")
DIGITD = "/opt/digitd/bin/digitd"
INIT_MADE = ("inbox", "outbox", "config.yaml")
DROP_INS = "/run/systemd/system/digitd.service.d"
WATCHDOG_SECONDS = 10
# Many times the start on two busy cores.
START_SECONDS = 180.0
STRANGER = 65534
PRIORITY_WARNING, PRIORITY_INFO = "4", "6"


def readme_commands(title: str, page: str = "README.md") -> str:
    """Return the commands in a section of a page, verbatim."""
    text = (ROOT / page).read_text(encoding="utf-8")
    section = text.partition(f"# {title}\n")[2].partition("\n#")[0]
    commands = re.search(r"```(?:sh)?\n(.*?)```", section, re.DOTALL)
    assert commands is not None
    return commands[1]


def run_script(machine: Machine, commands: str) -> str:
    """Run commands in the copy of the checkout, and return their output."""
    return machine.run(
        *("bash", "-euxo", "pipefail"),
        env={"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels", "HOME": "/root"},
        given=f"cd /source\n{commands}",
        seconds=START_SECONDS,
    )


class Site(Box):
    """/srv/digits, which is the same folder in the container and on the host."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self.dropped: dict[str, bytes] = {}
        super().__init__(folder)

    def __post_init__(self) -> None:
        """Restore the folder to the state after `digitd init`."""

    def drop(self, name: str, data: bytes) -> None:
        self.dropped[name] = data
        super().drop(name, data)

    def drop_samples(self, numbers: range) -> None:
        for number in numbers:
            self.drop(f"digit{number}.png", sample(number))

    def check_all(self) -> None:
        """Check that every dropped file has exactly one row, and run the audit."""
        until(lambda: len(self.rows()) >= len(self.dropped), "a row each", START_SECONDS)
        self.wait_until_settled()
        self.check_books(self.dropped)
        audit = self.machine.run(DIGITD, "audit", "--config", DIGITS / "config.yaml")
        rows, files = (count(len(self.dropped), each) for each in ("row", "file"))
        assert f"{rows}, {files}, 0 in work, 0 discrepancies" in audit
        log.info("digitd audit: %s", audit.strip())

    def undisturbed(self) -> bool:
        """Return whether the service runs with its original settings and nothing left to read."""
        return (
            self.state() == "active"
            and not self.machine.succeeds("test", "-e", DROP_INS)
            and self.config.is_file()
            and self.config.read_bytes() == CONFIG_TEMPLATE.read_bytes()
            and len(self.rows()) == len(self.dropped)
        )

    def begin_anew(self) -> None:
        self.machine.run("systemctl", "stop", "digitd")
        self.machine.run("rm", "-rf", DROP_INS, *(DIGITS / name for name in INIT_MADE))
        self.machine.run(DIGITD, "init", DIGITS)
        self.machine.run("chown", "-R", "digitd:digitd", DIGITS)
        self.machine.run("systemctl", "daemon-reload")
        self.machine.run("systemctl", "reset-failed")
        self.systemctl("start")
        self.dropped.clear()

    def state(self) -> str:
        return self.machine.show("digitd", "ActiveState")

    def main_pid(self) -> int:
        return int(self.machine.show("digitd", "MainPID"))

    def restarts(self) -> int:
        return int(self.machine.show("digitd", "NRestarts"))

    def signal(self, name: str) -> None:
        """Send the main process a signal."""
        self.machine.run("sh", "-c", f"kill -{name} {self.main_pid()}")

    def systemctl(self, verb: str) -> None:
        self.machine.run("systemctl", verb, "digitd", seconds=START_SECONDS)

    def messages(self, priority: str | None = None) -> list[str]:
        return [
            str(line["MESSAGE"])
            for line in self.machine.journal("digitd")
            if priority in {None, line["PRIORITY"]}
        ]

    def wait_for_message(self, text: str, times: int = 1) -> None:
        def said() -> bool:
            return sum(text in message for message in self.messages()) >= times

        until(said, f"{text!r} in the journal", START_SECONDS)

    def wait_for_restart(self, before: int) -> None:
        def again() -> bool:
            return self.restarts() > before and self.state() == "active"

        until(again, "a restart", START_SECONDS)


def sample(number: int) -> bytes:
    return (SAMPLES / f"digit{1 + (number - 1) % 12}.png").read_bytes()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    assert (BUILT / "wheels").is_dir(), "run `make system-test`, which builds what this boots"
    folder = tmp_path_factory.mktemp("machine")
    (folder / "srv").mkdir()
    source = folder / "source"  # what git knows: a build in the checkout itself would leave files
    shutil.copytree(
        ROOT / "daemon", source / "daemon", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "requirements.lock", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "docs" / "man", source / "docs" / "man")
    shutil.copy(ROOT / "docs" / "logrotate.conf", source / "docs")
    binds = {
        folder / "srv": "/srv",
        BUILT / "wheels": "/wheels",
        SAMPLES: "/samples",
        source: "/source",
    }
    with Machine(BUILT / "root", binds, folder / "console") as booted:
        yield booted


@pytest.fixture(scope="module")
def installed(machine: Machine) -> Site:
    """Run the README's commands in a copy of the checkout; the index is a folder of wheels."""
    run_script(machine, readme_commands("As a service"))
    return Site(machine, machine.outside("/srv") / "digits")


@pytest.fixture
def site(machine: Machine, installed: Site) -> Iterator[Site]:
    """Return digitd running with default settings, whatever state the previous test left."""
    if not installed.undisturbed():
        installed.begin_anew()
    yield installed
    # pytest shows this if the test failed.
    log.debug("%s", machine.run("journalctl", "--unit=digitd", "--no-pager", "--lines=80"))


def test_readme_commands_start_a_service_that_reads_files(site: Site) -> None:
    machine = site.machine
    assert machine.succeeds("systemctl", "is-active", "digitd")
    assert machine.succeeds("systemctl", "is-enabled", "digitd")
    # With Type=notify, active means that READY=1 arrived; STATUS= arrived the same way.
    assert machine.show("digitd", "Type") == "notify"
    assert str(DIGITS / "inbox") in machine.show("digitd", "StatusText")
    site.drop("digit1.png", sample(1))
    until(lambda: bool(site.rows()), "a row")
    row = site.row("digit1.png")
    assert (row["status"], row["digit"]) == ("ok", "1"), row
    site.check_all()
    assert (site.outbox / "annotated" / "digit1.png").read_bytes().startswith(b"\x89PNG")


def test_sandbox_is_in_effect(site: Site) -> None:
    machine, pid = site.machine, site.main_pid()
    about = dict(
        re.findall(r"^(\w+):\s*(.*)$", machine.run("cat", f"/proc/{pid}/status"), re.MULTILINE)
    )
    assert about["Uid"].split() == [machine.run("id", "-u", "digitd").strip()] * 4
    assert about["NoNewPrivs"] == "1"
    assert about["Seccomp"] == "2"
    assert machine.show("digitd", "MemoryDenyWriteExecute") == "yes"
    assert int(about["CapBnd"], 16) == int(about["CapEff"], 16) == 0
    for namespace in ("net", "user", "ipc", "mnt", "uts"):
        ours, theirs = (machine.run("readlink", f"/proc/{p}/ns/{namespace}") for p in (1, pid))
        assert ours != theirs, f"no {namespace} namespace of its own"
    inside = ("nsenter", "--target", str(pid), "--mount")
    assert machine.succeeds(*inside, "touch", DIGITS / "outbox")
    for place in ("/opt/digitd", "/etc/hostname", "/home", "/srv"):
        assert not machine.succeeds(*inside, "touch", place), f"{place} can be written"
    assert "hidepid=invisible" in machine.run("cat", f"/proc/{pid}/mountinfo")


def test_systemd_restarts_a_killed_service_and_nothing_is_lost(site: Site) -> None:
    restarts = site.restarts()
    site.drop_samples(range(100, 140))
    until(lambda: len(site.rows()) > 1, "the first rows")
    site.signal("KILL")
    site.drop_samples(range(140, 180))
    site.wait_for_restart(restarts)
    site.drop_samples(range(180, 200))
    site.check_all()
    assert site.restarts() == restarts + 1


def test_reload_applies_a_changed_setting(site: Site) -> None:
    pid = site.main_pid()
    site.drop("scan200.scan", sample(1))  # does not match the pattern yet
    site.drop("digit200.png", sample(1))
    until(lambda: len(site.rows()) == len(site.dropped) - 1, "a row")
    assert not [row for row in site.rows() if row["file"] == "scan200.scan"]
    site.configure(pattern="s*.scan")
    site.systemctl("reload")
    until(lambda: len(site.rows()) == len(site.dropped), "a row", START_SECONDS)
    site.check_all()
    assert site.main_pid() == pid
    # Invalid settings change nothing.
    site.config.write_text("pattern: 7\n")
    site.systemctl("reload")
    site.wait_for_message("not reloaded, the settings stay unchanged")
    site.drop("scan201.scan", sample(2))
    until(lambda: len(site.rows()) == len(site.dropped), "a row")
    site.configure(pattern="s*.scan")
    site.check_all()
    assert site.main_pid() == pid


def hang_the_process(site: Site) -> None:
    """Stop the whole process, threads and all."""
    site.signal("STOP")


def hang_the_loop(site: Site) -> None:
    """Hang only the loop: the config is a FIFO that nobody writes to."""
    config = site.config.read_bytes()
    site.config.unlink()
    os.mkfifo(site.config)
    site.systemctl("reload")
    where = f"/proc/{site.main_pid()}/wchan"
    until(lambda: site.machine.run("cat", where) == "wait_for_partner", "hung on the FIFO")
    site.config.unlink()
    site.config.write_bytes(config)


@pytest.mark.parametrize("hang", [hang_the_process, hang_the_loop])
def test_watchdog_restarts_a_hung_service(site: Site, hang: Callable[[Site], None]) -> None:
    machine = site.machine
    machine.run("mkdir", "-p", DROP_INS)
    drop_in = f"[Service]\nWatchdogSec={WATCHDOG_SECONDS}\n"
    machine.run("tee", f"{DROP_INS}/watchdog.conf", given=drop_in)
    machine.run("systemctl", "daemon-reload")
    site.systemctl("restart")
    # The watchdog does not restart it while its loop runs, even if it is idle.
    pid, restarts = site.main_pid(), site.restarts()
    idle = time.monotonic() + 1.5 * WATCHDOG_SECONDS
    while time.monotonic() < idle:
        assert (site.main_pid(), site.state()) == (pid, "active")
        time.sleep(0.5)
    workers = machine.children(pid)
    assert len(workers) >= 2, workers
    hang(site)
    began = time.monotonic()
    site.drop(f"digit{300 + len(site.dropped)}.png", sample(3))
    site.wait_for_restart(restarts)
    log.info("active again %.1f s after it hung", time.monotonic() - began)
    assert "Failed with result 'watchdog'" in machine.run("journalctl", "--unit=digitd", "_PID=1")
    # The end of its log shows where it hung.
    assert any(message.endswith(" in _loop") for message in site.messages())
    assert machine.alive(workers) == set()
    site.check_all()


def test_stop_finishes_the_batches_in_flight_in_time(site: Site) -> None:
    already = len(site.rows())
    workers = site.machine.children(site.main_pid())
    site.drop_samples(range(1000, 1600))
    until(lambda: len(site.rows()) > already, "the first rows")
    began = time.monotonic()
    site.systemctl("stop")
    took = time.monotonic() - began
    rows = len(site.rows())
    log.info("stopped in %.1f s, %d of 600 files read", took, rows - already)
    assert already < rows < already + 600, "it was stopped in the midst"
    assert took < 10
    assert site.machine.show("digitd", "Result") == "success"
    assert site.machine.alive(workers) == set()
    # Each file that was given to a worker has a row and is at the path in that row.
    lines = (site.work / "attempts").read_text().splitlines()
    begun = {line.split()[0] for line in lines if line.endswith((" begun", " alone"))}
    assert begun <= {row["id"] for row in site.rows()}
    left = {path.name.split("-")[0] for path in site.work.glob("d*-*")}
    assert not left & {row["id"] for row in site.rows()}
    site.systemctl("start")
    site.check_all()


def test_rows_wait_for_a_busy_disk_without_a_restart(site: Site) -> None:
    """Write 4 GB to the disk of the inbox, and drop files meanwhile."""
    machine, pid, restarts = site.machine, site.main_pid(), site.restarts()
    dirty = site.folder / "dirty"
    with dirty.open("wb", buffering=0) as file:
        block = os.urandom(1 << 20)
        for number in range(4096):
            file.write(block)
            if number % 64 == 0:
                site.drop(f"digit{6001 + number // 64}.png", sample(number // 64))
    site.check_all()
    assert (site.main_pid(), site.restarts()) == (pid, restarts)
    with dirty.open("r+b", buffering=0) as file:
        for number in range(4096):
            file.write(block)
            if number % 64 == 0:
                site.drop(f"digit{6101 + number // 64}.png", sample(number // 64))
    began = time.monotonic()
    site.systemctl("stop")
    log.info("stopped in %.1f s", time.monotonic() - began)
    assert machine.show("digitd", "Result") == "success"
    dirty.unlink()
    site.systemctl("start")
    site.check_all()


def test_group_member_can_drop_files_and_read_the_answers(site: Site) -> None:
    machine = site.machine
    # As the README says.
    machine.run("chmod", "2770", DIGITS / "inbox")
    machine.run("useradd", "--groups", "digitd", "alice")
    machine.run("useradd", "bob")
    target = DIGITS / "inbox" / "digit2001.png"
    assert not machine.succeeds("cp", "/samples/digit3.png", target, user="bob")
    machine.run("cp", "/samples/digit3.png", target, user="alice")
    site.dropped["digit2001.png"] = sample(3)
    site.check_all()
    assert (site.row("digit2001.png")["status"], site.row("digit2001.png")["digit"]) == ("ok", "3")
    table = DIGITS / "outbox" / "predictions.csv"
    assert "digit2001.png" in machine.run("cat", table, user="alice")


def test_another_users_file_waits_while_it_is_open(site: Site) -> None:
    def status() -> dict[str, Any]:
        said = site.machine.run(DIGITD, "status", "--json", "--config", DIGITS / "config.yaml")
        found: dict[str, Any] = json.loads(said)
        return found

    pixels = cv2.imread(str(SAMPLES / "digit3.png"))
    assert pixels is not None
    photo = cv2.imencode(".bmp", pixels)[1].tobytes()
    half = len(photo) // 2
    with (site.inbox / "digit3001.bmp").open("wb", buffering=0) as writer:
        os.fchown(writer.fileno(), STRANGER, STRANGER)
        os.fchmod(writer.fileno(), 0o644)
        writer.write(photo[:half])
        # Of this one nothing is known: its writer may still have it open elsewhere.
        site.drop("digit3002.bmp", photo)
        until(
            lambda: any(row["file"] == "digit3002.bmp" for row in site.rows()),
            "a row after incomplete_seconds",
            START_SECONDS,
        )
        assert all(row["file"] != "digit3001.bmp" for row in site.rows())
        until(lambda: status()["open"] == ["digit3001.bmp"], "the open file in the status")
        writer.write(photo[half:])
    site.dropped["digit3001.bmp"] = photo
    site.check_all()
    assert site.row("digit3001.bmp")["status"] == "ok"
    (site.inbox / "digit3003.bmp").touch()
    until(lambda: status()["empty"] == 1, "the empty file in the status")


def test_bad_config_exits_78_without_a_restart(site: Site) -> None:
    site.config.write_text("workers: many\n")
    with pytest.raises(CommandError):
        site.systemctl("restart")
    machine = site.machine
    assert machine.show("digitd", "ExecMainStatus") == "78"
    watched = time.monotonic() + 6  # three times RestartSec
    while time.monotonic() < watched:
        state = [machine.show("digitd", k) for k in ("ActiveState", "SubState", "NRestarts")]
        assert state == ["failed", "failed", "0"]
        time.sleep(0.5)
    assert any("workers: many is not allowed" in message for message in site.messages())


def test_journal_has_the_priority_and_the_fields_of_each_line(site: Site) -> None:
    site.drop("digit3001.png", b"my shopping list: milk, bread\n")
    site.drop("digit3002.png", sample(1))
    site.check_all()
    row = site.row("digit3001.png")
    assert row["status"] == "error"
    warning = f"digit3001.png: error: {row['reason']}; it is now failed/digit3001.png"
    assert warning in site.messages(PRIORITY_WARNING)
    assert any(m.startswith("digit3002.png: ") for m in site.messages(PRIORITY_INFO))
    (entry,) = site.machine.journal("digitd", "DIGITD_STATUS=error", "DIGITD_FILE=digit3001.png")
    assert (entry["DIGITD_ID"], entry["DIGITD_REASON"]) == (row["id"], row["reason"])


# In the container: ask the page at argv[1] for its queue, and answer its first item.
ANSWER = """
import json, sys, urllib.parse, urllib.request
url = urllib.parse.urlsplit(sys.argv[1])
cookie = f"digitd-{url.port}={urllib.parse.parse_qs(url.query)['token'][0]}"
def ask(path, data=None):
    headers = {"cookie": cookie, "content-type": "application/json"}
    return json.load(urllib.request.urlopen(urllib.request.Request(
        f"http://{url.netloc}{path}", data and json.dumps(data).encode(), headers)))
item = ask("/api/queue")["items"][0]
ask("/api/answers", {"id": item["id"], "label": "none", "in_queue": True})
print(item["file"])
"""


def test_review_page_runs_as_a_service_and_stores_answers(site: Site) -> None:
    machine = site.machine
    blank = cv2.imencode(".png", np.full((60, 60), 255, np.uint8))[1].tobytes()
    site.drop("digit4001.png", blank)
    site.check_all()
    start, _, look = readme_commands("The review page as a service").rpartition("journalctl")
    run_script(machine, start)

    def urls() -> list[str]:
        found = machine.journal("digitd-review")
        return re.findall(r"http://\S+", "\n".join(str(line["MESSAGE"]) for line in found))

    until(lambda: len(urls()) == 1, "the URL in the journal", START_SECONDS)
    assert urls()[0] in run_script(machine, f"journalctl{look}")
    ask = ("/opt/digitd/bin/python", "-c", ANSWER)
    assert machine.run(*ask, urls()[0]).strip() == "digit4001.png"
    _, answer = (site.outbox / "labels.csv").read_text().splitlines()
    assert answer.startswith(site.row("digit4001.png")["id"])
    assert ",none," in answer

    pid = int(machine.show("digitd-review", "MainPID"))
    inside = ("nsenter", "--target", str(pid), "--mount")
    assert machine.succeeds(*inside, "touch", DIGITS / "outbox")
    assert not machine.succeeds(*inside, "touch", "/opt/digitd"), "/opt/digitd can be written"
    machine.run("systemctl", "kill", "--signal=KILL", "digitd-review")
    until(lambda: len(urls()) == 2, "a restart", START_SECONDS)
    assert len(set(urls())) == 1, "another URL after a restart"
    machine.run("systemctl", "disable", "--now", "digitd-review")
    assert machine.show("digitd-review", "Result") == "success"


WORKERS = ("digitd-worker@1", "digitd-worker@2")


def cluster_steps() -> list[str]:
    """Return the commands and settings of docs/cluster.md's steps, verbatim."""
    text = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```\w+\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for block in blocks]


def test_cluster_runs_as_services(site: Site) -> None:
    """Run the steps of docs/cluster.md, with both machines in one, and lose each of the units."""
    machine = site.machine
    install, certificates, settings, first, second = cluster_steps()
    machine.run("sh", "-c", "echo 127.0.0.1 first second >> /etc/hosts")
    site.begin_anew()  # with no rows of other tests
    site.systemctl("stop")
    # The user exists already.
    run_script(
        machine, "\n".join(line for line in install.splitlines() if not line.startswith("useradd"))
    )
    run_script(machine, certificates)
    with site.config.open("a") as config:
        config.write(settings)
    try:
        run_script(machine, first)
        site.wait_for_message("the scheduler has no workers")
        run_script(machine, second)
        site.wait_for_message("resumed")
        status = machine.run(DIGITD, "status", "--config", DIGITS / "config.yaml")
        assert "state:       running" in status
        site.drop_samples(range(5001, 5013))
        site.check_all()
        assert {row["status"] for row in site.rows()} == {"ok"}

        for unit in ("digitd-scheduler", *WORKERS):
            pid = machine.show(unit, "MainPID")
            inside = ("nsenter", "--target", pid, "--mount")
            for place in (DIGITS / "outbox", "/opt/digitd", "/etc/hostname"):
                assert not machine.succeeds(*inside, "touch", place), f"{unit} can write {place}"

        machine.run("systemctl", "stop", *WORKERS)
        site.wait_for_message("the scheduler has no workers", times=2)
        site.drop("digit5013.png", sample(1))
        machine.run("systemctl", "start", *WORKERS)
        site.check_all()
        for unit in ("digitd-scheduler", *WORKERS):
            machine.run("systemctl", "kill", "--signal=KILL", unit)
        site.drop_samples(range(5014, 5030))
        site.check_all()
        assert {machine.show(unit, "NRestarts") for unit in WORKERS} != {"0"}
    finally:
        machine.run("systemctl", "disable", "--now", "digitd-scheduler", *WORKERS)
