"""Debian's Firefox, driven through WebDriver BiDi: https://w3c.github.io/webdriver-bidi/.

Playwright sends commands that Firefox ESR does not know.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self

from websockets.sync.client import ClientConnection, connect

from support.waiting import DEADLINE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Escape": "\ue00c"}
LEFT = 0  # the mouse button
TEXT = "() => document.body.innerText"
CALL = "async (given) => JSON.stringify(await (FUNCTION)(JSON.parse(given)) ?? null)"
PREFERENCES = """\
user_pref("browser.download.folderList", 2);
user_pref("browser.download.dir", {folder});
user_pref("browser.download.alwaysOpenPanel", false);
"""


class CommandError(Exception):
    """Firefox refused a command."""


class Firefox:
    """A running Firefox without a window; as a context manager it ends with the tests.

    ``downloads`` is the folder into which it stores files without asking.
    """

    def __init__(self, program: str, folder: Path) -> None:
        self.downloads = folder / "downloads"
        self.downloads.mkdir()
        profile = folder / "profile"
        profile.mkdir()
        preferences = PREFERENCES.format(folder=json.dumps(str(self.downloads)))
        (profile / "user.js").write_text(preferences, encoding="utf-8")
        self._log = folder / "firefox.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [program, "--headless", "--remote-debugging-port=0", "--profile", str(profile)],
                env={**os.environ, "HOME": str(folder)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._sent = 0
        self._faults: list[str] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self._kill)
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack) -> None:
        """Begin a session when Firefox listens."""
        listens = re.compile(r"WebDriver BiDi listening on (\S+)")

        def log() -> str:
            return self._log.read_text(errors="replace")

        until(lambda: bool(listens.search(log()) or self._process.poll()), log)
        (address,) = listens.findall(log())
        # Firefox does not answer pings while it is busy.
        self._socket: ClientConnection = stack.enter_context(
            connect(f"{address}/session", max_size=None, proxy=None, ping_interval=None)
        )
        self.command("session.new", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
        self.command("session.subscribe", events=["log.entryAdded"])

    def _kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(DEADLINE_SECONDS)

    def command(self, method: str, **params: object) -> Any:  # noqa: ANN401 - any JSON
        """Send a command; return its result."""
        self._sent += 1
        self._socket.send(json.dumps({"id": self._sent, "method": method, "params": params}))
        while True:
            reply = json.loads(self._socket.recv(DEADLINE_SECONDS))
            if reply.get("method") == "log.entryAdded":
                self._hear(reply["params"])
            if reply.get("id") == self._sent:
                break
        if reply["type"] == "error":
            raise CommandError(f"{method}: {reply['error']}: {reply['message']}")
        return reply["result"]

    def _hear(self, entry: dict[str, Any]) -> None:
        text = entry["text"] or ""
        is_error = entry["type"] == "javascript" and entry["level"] == "error"
        if is_error or "Content-Security-Policy" in text:
            self._faults.append(text)

    def downloaded(self) -> Path:
        """Return the file that was downloaded when it is complete."""

        def complete() -> list[Path]:
            files = list(self.downloads.iterdir())
            is_done = all(file.suffix != ".part" and file.stat().st_size for file in files)
            return files if is_done else []

        until(lambda: bool(complete()), "a download")
        (file,) = complete()
        return file

    @contextmanager
    def open(self, lost: str | None = None) -> Iterator[Tab]:
        """Yield a tab without cookies; check that its pages had no error.

        Firefox may say that the connection to the address in ``lost`` broke. Whether it does so
        after a server has ended depends on when it tries again.
        """
        user = self.command("browser.createUserContext")["userContext"]
        opened = self.command("browsingContext.create", type="tab", userContext=user)
        yield Tab(self, opened["context"])
        self.command("browser.removeUserContext", userContext=user)
        faults, self._faults = self._faults, []
        if lost is not None:
            faults = [one for one in faults if "connection to" not in one or lost not in one]
        assert not faults, faults


class Tab:
    """A tab of Firefox. What a person does is sent as input, not by scripts."""

    def __init__(self, firefox: Firefox, context: str) -> None:
        self._firefox = firefox
        self._context = context

    def _command(self, method: str, **params: object) -> Any:  # noqa: ANN401 - any JSON
        return self._firefox.command(method, context=self._context, **params)

    def goto(self, url: str) -> None:
        self._command("browsingContext.navigate", url=url, wait="complete")

    def evaluate(self, function: str, given: object = None) -> Any:  # noqa: ANN401 - any JSON
        """Call a function of JavaScript with a JSON value; return its result."""
        reply = self._firefox.command(
            "script.callFunction",
            functionDeclaration=CALL.replace("FUNCTION", function),
            arguments=[{"type": "string", "value": json.dumps(given)}],
            target={"context": self._context},
            awaitPromise=True,
        )
        if reply["type"] == "exception":
            raise CommandError(reply["exceptionDetails"]["text"])
        return json.loads(reply["result"]["value"])

    def wait_for(self, function: str, given: object = None) -> None:
        """Wait until a function of JavaScript returns something true."""

        def holds() -> bool:
            try:
                return bool(self.evaluate(function, given))
            except CommandError:  # while another page is being loaded
                return False

        until(holds, lambda: f"{function} with {given!r}\n{self.evaluate(TEXT)}")

    def shows(self, selector: str, text: str = "") -> None:
        """Wait until an element is visible and has a text."""
        self.wait_for(
            """([selector, text]) => [...document.querySelectorAll(selector)].some(
              (one) => one.checkVisibility() && one.textContent.includes(text))""",
            [selector, text],
        )

    def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        values = [KEYS.get(key, key) for key in keys]
        kinds = ("keyDown", "keyUp")
        actions = [{"type": kind, "value": value} for value in values for kind in kinds]
        self._act({"type": "key", "id": "keyboard", "actions": actions})

    def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        self.evaluate(
            "(one) => document.querySelector(one).scrollIntoView({ block: 'nearest' })", selector
        )
        origin = {"type": "element", "element": self._find(selector)}
        actions: list[dict[str, object]] = [
            {"type": "pointerMove", "x": 0, "y": 0, "origin": origin},
            {"type": "pointerDown", "button": LEFT},
            {"type": "pointerUp", "button": LEFT},
        ]
        self._act({"type": "pointer", "id": "mouse", "actions": actions})

    def choose(self, selector: str, *files: Path) -> None:
        """Choose files in a field."""
        names = [str(file) for file in files]
        self._command("input.setFiles", element=self._find(selector), files=names)

    def _find(self, selector: str) -> dict[str, str]:
        locator = {"type": "css", "value": selector}
        (node,) = self._command("browsingContext.locateNodes", locator=locator)["nodes"]
        return {"sharedId": node["sharedId"]}

    def _act(self, source: dict[str, object]) -> None:
        self._command("input.performActions", actions=[source])
