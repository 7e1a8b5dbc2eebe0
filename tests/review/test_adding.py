"""Files that are added on the page, with the real daemon and a real browser."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from support.daemon import DIGITD, SAMPLES, Daemon
from support.site import Server, Site, catch_choosers

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

# A name on the person's machine, and the digit in the file.
ADDED = [
    ("IMG_2031 (2).HEIC.jpg", 3),
    ("Foto 12.png", 8),
    ("Prüfung für Zoë.PNG", 4),
    ("🧮 ½.png", 3),
    ("scan", 8),
    (".hidden.png", 4),
    ("half \ud800 \\ and\nline.png", 3),
    ("same name.jpg", 4),
    ("same name.jpg", 8),
    ("same name.jpg", 8),  # the same file twice
]


def drop_all(page: Page, files: list[tuple[str, int]]) -> None:
    """Drop files at once."""
    data = [
        [[ord(letter) for letter in name], base64.b64encode(sample(digit)).decode()]
        for name, digit in files
    ]
    page.evaluate(
        """files => {
          const transfer = new DataTransfer();
          for (const [name, data] of files) {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            transfer.items.add(new File([bytes], String.fromCodePoint(...name)));
          }
          document.body.dispatchEvent(
            new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        data,
    )


def sample(digit: int) -> bytes:
    return (SAMPLES / f"digit{digit}.png").read_bytes()


def wait_for_answers(page: Page, count: int) -> list[str]:
    """Return the links to the rows of the files."""
    page.wait_for_function(
        "count => document.querySelectorAll('#dropped li a').length === count",
        arg=count,
        timeout=60_000,
    )
    links: list[str] = page.eval_on_selector_all(
        "#dropped li a", "links => links.map((link) => link.href)"
    )
    return links


def test_each_line_has_its_own_picture_and_answer(browser: Browser, site: Site) -> None:
    site.configure(workers=1, pattern='"box-*.png"')
    with Server(site) as server:
        page = browser.new_page()
        page.goto(server.url)
        drop_all(page, ADDED)
        page.wait_for_function(
            """count => [...document.querySelectorAll('#dropped li')].filter(
              (line) => line.textContent.includes('digitd is not running')).length === count""",
            arg=len(ADDED),
        )
        with Daemon(site, DIGITD):
            assert len(set(wait_for_answers(page, len(ADDED)))) == len(ADDED)
            # The same file twice while it is read: the first one may have been claimed.
            drop_all(page, [("twice.png", 4), ("twice.png", 4)])
            links = wait_for_answers(page, len(ADDED) + 2)
            assert len(set(links)) == len(ADDED) + 2
        lines = page.locator("#dropped li").all_inner_texts()
        digits = [digit for _, digit in ADDED] + [4, 4]
        assert [line.rpartition(": ")[2].split()[0] for line in lines] == list(map(str, digits))
        pictures = page.eval_on_selector_all(
            "#dropped li canvas", "all => all.map((canvas) => canvas.toDataURL())"
        )
        assert len(pictures) == len(digits)
        by_digit = dict(zip(digits, pictures, strict=True))
        assert [by_digit[digit] for digit in digits] == pictures
        assert len(set(pictures)) == len(by_digit)
        page.close()


def drop_folder(page: Page, folder: Path) -> None:
    """Drop a folder as a person does: a script cannot make one."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 9, "y": 200, "data": data})


def test_files_of_a_dropped_folder_are_added(
    browser: Browser, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("person") / "class 3b"
    (folder / "page 2").mkdir(parents=True)
    (folder / "empty").mkdir()
    names = ["box 2.png", "box 10.png", "page 2/box 11.png"]
    for name, digit in zip(names, (3, 8, 4), strict=True):
        (folder / name).write_bytes(sample(digit))
    for name in (".DS_Store", "page 2/Thumbs.db"):
        (folder / name).write_bytes(b"of the operating system")
    with Server(site) as server:
        page = browser.new_page()
        page.goto(server.url)
        drop_folder(page, folder)
        page.wait_for_selector("#dropped li:nth-child(3):has-text('in the inbox')")
        lines = page.locator("#dropped li").all_inner_texts()
        assert [line.partition(":")[0] for line in lines] == [
            name.rpartition("/")[2] for name in names
        ]
        drop_folder(page, folder / "empty")
        page.wait_for_selector("#dropped li.error:has-text('empty: not added: the folder has no')")
        page.close()
    added = {file.name: file.read_bytes() for file in site.inbox.iterdir()}
    assert added == {name.rpartition("/")[2]: (folder / name).read_bytes() for name in names}


def test_added_file_gets_a_name_of_the_pattern_that_came_with_a_reload(site: Site) -> None:
    site.configure(pattern='"old-*.png"')
    with Server(site) as server:
        assert server.request("/api/files?name=a.png", sample(3)).json["name"].startswith("old-")
        site.configure(pattern='"new-*.png"', max_file_mb=0.0001)
        assert server.request("/api/files?name=b.png", b"x" * 101).status == 413
        site.configure(max_file_mb=64)
        assert server.request("/api/files?name=b.png", sample(3)).json["name"].startswith("new-")
        site.configure(pattern='"other-*.png"', outbox="elsewhere")  # needs another page
        assert server.request("/api/files?name=c.png", sample(3)).json["name"].startswith("new-")


def test_photo_of_the_camera_is_added(browser: Browser, site: Site) -> None:
    with Server(site) as server:
        phone = browser.new_context(has_touch=True, is_mobile=True)
        page = phone.new_page()
        chooser = catch_choosers(page)
        page.goto(server.url)
        assert page.get_attribute("#camera", "capture") == "environment"
        page.click("label[for=camera]")
        photo = {"name": "image.jpg", "mimeType": "image/jpeg", "buffer": sample(4)}
        chooser().set_files(photo)  # type: ignore[arg-type]
        page.wait_for_selector("#dropped li canvas")
        page.wait_for_selector("#dropped li:has-text('in the inbox')")
        phone.close()
        assert [path.read_bytes() for path in site.inbox.iterdir()] == [sample(4)]
