"""What every page says about the daemon, with the real daemon and a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.daemon import DIGITD, Daemon
from support.factories import doubtful
from support.site import Server, Site, catch_choosers, png

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def shows(page: Page, word: str, notice: str = "") -> None:
    page.wait_for_function(
        """([word, notice]) => {
          const text = document.getElementById('notice').checkVisibility()
            ? document.getElementById('notice').innerText : '';
          return document.getElementById('daemon').innerText === word
            && (notice ? text.includes(notice) : text === '');
        }""",
        arg=[word, notice],
    )


def counts(page: Page, name: str, number: int) -> None:
    page.wait_for_function(
        "([name, n]) => document.querySelector(`#state [data-count=${name}]`).innerText === `${n}`",
        arg=[name, number],
    )


def test_open_page_follows_the_daemon(browser: Browser, site: Site) -> None:
    site.configure(workers=1)
    with Server(site) as server:
        page = browser.new_page()
        page.goto(server.url)
        shows(page, "stopped", "digitd run")
        page.evaluate("() => { window.isLoadedOnce = true; }")
        for number in range(3):
            site.drop(f"digit{number}.png", png(str(number)))
        counts(page, "waiting", 3)
        with Daemon(site, DIGITD) as running:
            counts(page, "per_minute", 3)
            counts(page, "waiting", 0)
            shows(page, "reading")
            site.outbox.rename(site.folder / "away")
            shows(page, "paused", str(site.outbox))
            (site.folder / "away").rename(site.outbox)
            shows(page, "reading")
            running.process.kill()  # its workers live for a moment
            shows(page, "stopped", "digitd run")
        with Daemon(site, DIGITD) as running:
            shows(page, "reading")
            assert server.stop() == 0
            shows(page, "unknown")
            assert running.stop() == 0
        assert page.evaluate("() => window.isLoadedOnce")
        page.close()


def test_state_is_on_every_page_without_scripts(browser: Browser, site: Site) -> None:
    row = site.add("digit1.png", doubtful(1, 0.3))
    with Server(site) as server:
        server.wait_for_rows(1)
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(server.url)
        for path in ("/", "/gallery", "/live", f"/row/{row}"):
            page.goto(server.base + path)
            assert page.inner_text("#daemon") == "stopped"
            assert "start it with digitd run" in page.inner_text("#notice")
            assert "files waiting: 0" in page.inner_text("#state")
        context.close()


def test_page_without_files_says_what_to_do(browser: Browser, site: Site) -> None:
    with Server(site) as server:
        page = browser.new_page()
        chooser = catch_choosers(page)
        page.goto(server.url)
        for path in ("/", "/gallery", "/live"):
            page.goto(server.base + path)
            page.wait_for_selector("#empty:not([hidden])")
            assert str(site.inbox) in page.inner_text("#empty")
            assert not page.is_visible("main")
        page.click("#empty label")
        chooser().set_files({"name": "a.png", "mimeType": "image/png", "buffer": png()})
        page.wait_for_selector("#dropped li")
        site.add("digit1.png", doubtful(1, 0.3))
        page.wait_for_selector("main:visible")
        assert not page.is_visible("#empty")
        page.close()
