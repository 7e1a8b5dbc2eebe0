"""The page of the models: reports, promoting and going back; in a real browser, too."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from daemon.models.current import shipped_id
from daemon.models.folder import ModelsFolder
from daemon.models.report import Comparison, Report
from support.barriers import check, context
from support.daemon import SAMPLES, bytes_read
from support.factories import SURE, doubtful
from support.models import MADE, add_model
from support.site import Server, Site
from tests.review.test_browser import PHONE, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

GOOD = Report(
    MADE,
    "learn",
    shipped_id(),
    (
        Comparison("held-out answers", 10, 3, 10, 7, 0),
        Comparison("digits", 2000, 1990, 1989, 2, 3),
    ),
    facts=(("answers", "50 by <Ada>"),),
    notes=("3 answers contradict the model and wait for a second one",),
)
BAD = Report(
    "2026-11-29T11:00:00.000Z",
    "learn",
    shipped_id(),
    (Comparison("digits", 2000, 1990, 1970, 0, 20),),
    refusals=("30 % of the answers contradict each other",),
    pictures=("changed.png",),
)


@pytest.fixture
def models(site: Site) -> ModelsFolder:
    return ModelsFolder(site.folder / "models")


@pytest.fixture
def good(models: ModelsFolder) -> str:
    return add_model(models, "good", GOOD)


@pytest.fixture
def bad(site: Site, models: ModelsFolder) -> str:
    shutil.copy(SAMPLES / "digit1.png", site.folder / "changed.png")
    return add_model(models, "bad", BAD)


@pytest.fixture
def server(site: Site, good: str, bad: str) -> Iterator[Server]:
    assert good != bad
    with Server(site) as running:
        yield running


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    for page in opened(browser, server):
        page.goto(f"{server.base}/models")
        yield page


def model(page: Page, model_id: str) -> Any:  # noqa: ANN401 - a locator
    return page.locator(f"article[aria-labelledby=model-{model_id}]")


def press(page: Page, selector: str) -> None:
    """Press a button with the keyboard, and confirm the question."""
    page.focus(selector)
    page.keyboard.press("Enter")
    page.wait_for_selector("#models-sure[open]")
    assert page.evaluate("() => document.activeElement.id") == "models-yes"
    page.keyboard.press("Enter")
    page.wait_for_selector("#models-sure", state="hidden")


def test_model_is_promoted_and_taken_back_by_keyboard(
    page: Page, models: ModelsFolder, good: str, bad: str
) -> None:
    page.get_by_role("link", name="Models").wait_for()
    assert "in use" in model(page, shipped_id()).inner_text()
    assert page.locator("[data-rollback]").count() == 0
    shown = model(page, good).inner_text()
    for text in ("held-out answers", "3 (30.0%)", "10 (100.0%)", "better", "not clearly worse"):
        assert text in shown
    assert "50 by <Ada>" in shown
    assert "3 answers contradict the model" in shown
    press(page, f"[data-promote='{good}']")
    page.wait_for_selector(f"#models-said:has-text('From now on {good} is in use.')")
    model(page, good).get_by_text("in use", exact=True).wait_for()
    assert models.current() == good
    press(page, "[data-rollback]")
    page.wait_for_selector("#models-said:has-text('the shipped model is in use')")
    assert models.current() is None
    assert model(page, bad).locator("button").count() == 0


def test_question_can_be_cancelled(page: Page, models: ModelsFolder, good: str) -> None:
    page.click(f"[data-promote='{good}']")
    page.click("#models-no")
    page.wait_for_selector("#models-sure", state="hidden")
    assert models.current() is None


def test_refused_model_says_why_and_shows_its_pictures(page: Page, bad: str) -> None:
    shown = model(page, bad)
    assert "It must not be used" in shown.inner_text()
    assert BAD.refusals[0] in shown.inner_text()
    assert "it is worse on digits: 20 cases of 2000" in shown.inner_text()
    shown.locator("summary").click()
    page.wait_for_function("() => document.querySelector('.model img').naturalWidth > 0")
    assert shown.locator("img").get_attribute("alt") == "changed"


def test_failure_is_shown(page: Page, models: ModelsFolder, good: str) -> None:
    models.path_of(good).write_bytes(b"damaged")
    press(page, f"[data-promote='{good}']")
    page.wait_for_selector(f"#models-problem:has-text('{good}.keras is broken')")
    assert models.current() is None


def test_page_has_no_barrier_and_fits_a_phone(browser: Browser, server: Server, good: str) -> None:
    with context(browser, viewport=PHONE) as made:
        page = made.new_page()
        page.goto(server.url)
        page.goto(f"{server.base}/models")
        page.click("summary")
        check(page)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
        button = page.locator(f"[data-promote='{good}']")
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 44
        button.click()
        page.wait_for_selector("#models-sure[open]")
        check(page)


def test_broken_model_says_so_and_has_no_button(
    page: Page, models: ModelsFolder, good: str
) -> None:
    assert page.locator(f"[data-promote='{good}']").count() == 1
    models.path_of(good).write_bytes(b"spoilt")
    page.reload()
    assert f"{good}.keras is broken, or was changed" in model(page, good).inner_text()
    assert page.locator(f"[data-promote='{good}']").count() == 0


def test_requests_from_elsewhere_and_wrong_ones_are_refused(
    site: Site, server: Server, models: ModelsFolder, good: str, bad: str
) -> None:
    path = "/api/models/promote"
    assert server.post(path, {"id": good}, cookie=None).status == 401
    assert server.post(path, {"id": good}, origin="http://evil.example").status == 403
    assert server.post(path, {"id": good}, content_type="text/plain").status == 415
    assert server.request(path).status == 405
    for data in ({}, {"id": 7}, {"id": ""}):
        assert server.post(path, data).status == 400
    for model_id, why in ((bad, "was not promoted"), ("../x", "has no model whose id begins")):
        refused = server.post(path, {"id": model_id})
        assert refused.status == 409
        assert why in refused.json["error"]
    assert models.current() is None
    assert server.post(path, {"id": good}).json == {"now": good}
    back = "/api/models/rollback"
    assert server.post(back, {}).status == 400
    assert server.post(back, {"seen": bad}).status == 409
    assert server.post(back, {"seen": good}).json["now"] == "the shipped model"
    # Its response was lost, and the page repeats it.
    assert server.post(back, {"seen": good}).status == 409
    site.configure(model="mine.keras")
    refused = server.post(path, {"id": good})
    assert refused.status == 409
    assert f"{site.config}: line " in refused.json["error"]
    shown = server.request("/models").text
    assert "line 4: `model:" in shown
    assert "<button" not in shown.partition('id="models-list"')[2].partition("<dialog")[0]


def test_only_pictures_of_reports_are_served(
    server: Server, models: ModelsFolder, bad: str
) -> None:
    reply = server.request(f"/models/pictures/{bad}-changed.png")
    assert (reply.status, reply.headers["content-type"]) == (200, "image/png")
    assert reply.headers["x-content-type-options"] == "nosniff"
    (models.path / f"{bad}-other.png").write_bytes(b"x")
    for name in (f"{bad}-other.png", f"{bad}.keras", "current", "..%2fconfig.yaml", "a%00b"):
        assert server.request(f"/models/pictures/{name}").status == 404, name
    (models.path / f"{bad}-changed.png").unlink()
    (models.path / f"{bad}-changed.png").symlink_to("current")
    assert server.request(f"/models/pictures/{bad}-changed.png").status == 404


def test_broken_current_is_named_on_the_page(server: Server, models: ModelsFolder) -> None:
    (models.path / "current").write_text("what")
    shown = server.request("/models").text
    assert "current: must be the id of a model" in shown
    assert "data-rollback" in shown
    assert server.post("/api/models/rollback", {"seen": "broken"}).status == 200
    assert models.current() is None


def test_what_a_reread_changed_is_shown(browser: Browser, site: Site) -> None:
    site.add("was <4>.png", doubtful(4, 0.4))
    site.add("same.png", SURE)
    table = site.reread("a" * 12, {"was <4>.png": SURE, "same.png": SURE})
    with Server(site) as server:
        server.wait_for_rows(2)
        for page in opened(browser, server, viewport=PHONE):
            page.goto(f"{server.base}/models")
            page.click("text=What aaaaaaaaaaaa changed (digits)")
            page.wait_for_url(f"{server.base}/models/rereads/{table.name}")
            shown = " ".join(page.inner_text("main").split())
            assert "doubtful before, sure now 1 as before 1" in shown
            assert "was <4>.png: unsure: 4 (40.0%)" in shown
            assert "ok: 7 (99.0%)" in shown
            assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
        for name in ("b" * 12 + "-digit.csv", "..%2fpredictions.csv"):
            assert server.request(f"/models/rereads/{name}").status == 404


def test_what_a_reread_changed_is_compared_once(site: Site) -> None:
    site.write_rows(5000)
    size = site.table.stat().st_size
    table = site.reread("a" * 12, {"1.png": SURE})
    with Server(site) as server:
        server.wait_for_rows(5000)
        path = f"/models/rereads/{table.name}"
        assert "doubtful before, sure now" in server.request(path).text
        before = bytes_read(server.process.pid)
        assert "<dd>1</dd>" in server.request(path).text
        assert bytes_read(server.process.pid) - before < size / 10
        site.reread("a" * 12, {"2.png": SURE})
        assert "<dd>2</dd>" in server.request(path).text
