"""Boot a root file system with its own systemd, run commands in it, power it off."""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping

_BOOT_SECONDS = 60.0
_COMMAND_SECONDS = 120.0
# The container inherits nothing from this machine's environment.
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class CommandError(Exception):
    """A command in the container failed; the text is its whole output."""


class Machine:
    """A container; what it writes is discarded at power-off, except in bound folders."""

    def __init__(self, root: Path, binds: Mapping[Path, str], log: Path) -> None:
        """Boot a temporary copy of ``root`` with ``binds``; the console goes to ``log``."""
        self._binds = binds
        self._log = log
        with log.open("wb") as console:
            self._nspawn = subprocess.Popen(
                [
                    # The container ends with the tests, however they end.
                    *("setpriv", "--pdeathsig", "KILL"),
                    *("systemd-nspawn", "--boot", "--volatile=overlay", "--console=pipe"),
                    *(f"--directory={root}", "--machine=digitd-system-test", "--private-network"),
                    "--register=no",
                    # Without systemd on the host, nspawn cannot create a unit for the container.
                    *(() if Path("/run/systemd/system").exists() else ("--keep-unit",)),
                    *(f"--bind={source}:{target}" for source, target in binds.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )

    def __enter__(self) -> Self:
        until(self._booted, f"a booted system; see {self._log}", _BOOT_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(CommandError, subprocess.TimeoutExpired):
            self.run("systemctl", "poweroff")
            self._nspawn.wait(_BOOT_SECONDS)
        self._nspawn.kill()
        self._nspawn.wait()

    def run(
        self,
        *command: str | Path,
        user: str = "root",
        env: Mapping[str, str] | None = None,
        given: str | None = None,
        seconds: float = _COMMAND_SECONDS,
    ) -> str:
        """Run a command and return its output.

        Raises:
            CommandError: it failed.
        """
        done = self._run(command, user, env or {}, given, seconds)
        if done.returncode != 0:
            shown = " ".join(map(str, command))
            raise CommandError(f"{shown}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def outside(self, bound: str) -> Path:
        """Return the host's path of a bound folder."""
        return next(source for source, target in self._binds.items() if target == bound)

    def succeeds(self, *command: str | Path, user: str = "root") -> bool:
        """Return whether a command exits with 0."""
        return self._run(command, user, {}, None, _COMMAND_SECONDS).returncode == 0

    def show(self, unit: str, key: str) -> str:
        """Return one of ``systemctl show``'s values."""
        return self.run("systemctl", "show", "--value", f"--property={key}", unit).strip()

    def journal(self, unit: str, *fields: str) -> list[dict[str, Any]]:
        """Return the unit's own lines (not systemd's about it) since the boot."""
        of_unit = f"_SYSTEMD_UNIT={unit}.service"
        lines = self.run("journalctl", "--output=json", of_unit, *fields)
        return [json.loads(line) for line in lines.splitlines()]

    def children(self, parent: int) -> set[tuple[int, int]]:
        """Return the process ids and start times of a process's children."""
        return {(pid, began) for pid, (of, began) in self._processes().items() if of == parent}

    def alive(self, processes: set[tuple[int, int]]) -> set[tuple[int, int]]:
        """Return those of the given processes that still exist."""
        return processes & {(pid, began) for pid, (_, began) in self._processes().items()}

    def _processes(self) -> dict[int, tuple[int, int]]:
        """Return each process's parent and start time."""
        found = {}
        for line in self.run("sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null; true").splitlines():
            pid, _, _ = line.partition(" ")
            fields = line.rpartition(")")[2].split()  # the name before it may contain anything
            found[int(pid)] = (int(fields[1]), int(fields[19]))
        return found

    def _booted(self) -> bool:
        assert self._nspawn.poll() is None, f"systemd-nspawn ended:\n{self._log.read_text()}"
        return bool(self._leader()) and (
            self._run(("systemctl", "is-system-running"), "root", {}, None, 10).stdout.strip()
            in {"running", "degraded"}
        )

    def _leader(self) -> str:
        """Return the host's process id of the container's process 1."""
        pid = self._nspawn.pid
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()

    def _run(
        self,
        command: tuple[str | Path, ...],
        user: str,
        env: Mapping[str, str],
        given: str | None,
        seconds: float,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *("nsenter", "--target", self._leader(), "--all"),
                *("env", "--ignore-environment", "--chdir=/", _PATH),
                *(f"{key}={value}" for key, value in env.items()),
                *(() if user == "root" else ("runuser", "-u", user, "--")),
                *command,
            ],
            input=given,
            stdin=None if given is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
