"""The real server on a real outbox: the queue, answers, the gallery, files, the index."""

from __future__ import annotations

import asyncio
import csv
import http.client
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import cv2
import numpy as np
import pytest
from PIL import Image

from daemon import ids
from daemon.errors import UnreadableError
from daemon.layout import LABELS, REVIEW_INDEX, TABLE
from daemon.outbox import labels
from daemon.outbox.rows import csv_line
from daemon.reading import image
from daemon.review.address import Address
from support.daemon import DIGITD, STAND_IN, Daemon, digitd
from support.factories import BLANK, BROKEN, SURE, doubtful, own_labels
from support.site import Server, Site, png
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOW_DISK = [sys.executable, "-P", "-m", "support.slow_disk"]
PAGES = [f"page{number:03}.png" for number in range(130)]


def add_rows(site: Site) -> list[str]:
    """Add three doubtful rows and two others; return the three ids in the order of the queue."""
    second = site.add("digit2.png", doubtful(2, 0.6))
    third = site.add("digit3.png", doubtful(3, 0.7))
    first = site.add("digit1.png", BLANK)
    site.add("digit9.png", SURE)
    site.add("digit8.png", BROKEN, b"my shopping list")
    return [first, second, third]


@pytest.fixture
def three(site: Site) -> list[str]:
    """Return the ids of three doubtful rows in the order of the queue."""
    return add_rows(site)


@pytest.fixture
def server(site: Site, three: list[str]) -> Iterator[Server]:
    with Server(site) as running:
        running.wait_for_rows(len(three) + 2)
        yield running


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server for tests that change nothing."""
    site = Site(tmp_path_factory.mktemp("unchanged"))
    add_rows(site)
    with Server(site) as running:
        running.wait_for_rows(5)
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server with more rows than a page of the gallery shows."""
    site = Site(tmp_path_factory.mktemp("pages"))
    verdicts = [doubtful(1, 0.3 + number % 3 / 10) for number in range(len(PAGES))]
    site.add_all(list(zip(PAGES, verdicts, strict=True)), b"")
    with Server(site) as running:
        running.wait_for_rows(len(PAGES))
        yield running


def queue(server: Server, after: str = "") -> list[str]:
    """Return the ids of the doubtful rows in the queue, without the sample and the errors."""
    items = server.request(f"/api/queue?after={after}").json["items"]
    return [item["id"] for item in items if item["status"] == "unsure"]


def files(server: Server, query: str) -> list[str]:
    page = server.request(f"/gallery?{query}").text
    return [line.split(">")[1].split("<")[0] for line in page.splitlines() if '"name">' in line]


def test_queue_shows_the_least_confident_rows_first(server: Server, three: list[str]) -> None:
    reply = server.request("/api/queue").json
    names = ["digit1.png", "digit2.png", "digit3.png", "digit9.png", "digit8.png"]
    assert [item["file"] for item in reply["items"]] == names
    assert [item["id"] for item in reply["items"][:3]] == three
    assert [item["is_sample"] for item in reply["items"]] == [False, False, False, True, False]
    assert reply["is_last"] is True
    blank, second, *_ = reply["items"]
    assert (blank["digit"], blank["confidence"], blank["reason"]) == ("", None, "no ink")
    assert (second["digit"], second["confidence"]) == ("2", 0.6)
    assert second["probabilities"][2] == 0.6
    assert 0 <= reply["state"].pop("per_minute") <= 5  # a slow test takes longer
    notice = reply["state"].pop("notice")
    assert notice.startswith("digitd has stopped: start it with `digitd run --config ")
    assert reply["state"] | {"indexing": 0} == {
        "rows": 5,
        "ok": 1,
        "unsure": 3,
        "error": 1,
        "to_check": 3,
        "sample": 1,
        "to_retry": 1,
        "unanswered": 4,
        "answered": 0,
        "indexing": 0,
        "daemon": "stopped",
        "waiting": 0,
        "reads": "digit",
    }
    assert queue(server, after=blank["place"]) == three[1:]


def test_answer_is_stored_before_it_is_acknowledged_and_leaves_the_queue(
    site: Site, server: Server, three: list[str]
) -> None:
    reply = server.answer(three[1], "5", by="Ana")
    assert (reply.status, reply.json["label"], reply.json["by"]) == (200, "5", "Ana")
    (stored,) = labels.read(site.outbox)
    assert (stored.id, stored.label, stored.by, stored.source) == (three[1], "5", "Ana", "queue")
    assert (stored.sha256, stored.model) == (site.row("digit2.png")["sha256"], "model1")
    assert (stored.digit, stored.confidence) == ("2", "0.600000")
    assert queue(server) == [three[0], three[2]]


def test_undo_puts_the_row_back_into_the_queue(server: Server, three: list[str]) -> None:
    assert server.answer(three[0], "5").status == 200
    assert server.answer(three[0], "undo", seen="5").status == 200
    until(lambda: queue(server) == three, "the row in the queue again")


def test_answer_of_somebody_else_is_not_overruled_silently(
    site: Site, server: Server, three: list[str]
) -> None:
    assert server.answer(three[0], "5", by="Ana").status == 200
    reply = server.answer(three[0], "6", by="Ben")
    assert (reply.status, reply.json["item"]["label"], reply.json["item"]["by"]) == (
        409,
        "5",
        "Ana",
    )
    assert len(site.answers()) == 1
    assert server.answer(three[0], "6", by="Ben", seen="5").status == 200
    assert site.answers()[-1] == (three[0], "6", "queue")


def test_answer_of_another_program_is_seen(site: Site, server: Server, three: list[str]) -> None:
    given = labels.Answer(three[0], "", "5", "Ana", "now", "m", "", "", "import")
    labels.append(site.outbox, given)
    until(lambda: queue(server) == three[1:], "the answer in the index")
    assert server.request(f"/api/rows/{three[0]}").json["label"] == "5"


@pytest.mark.parametrize(
    "change",
    [
        {"label": "x"},
        {"label": "=1+1"},
        {"label": 7},
        {"label": None},
        {"id": "d000000000000"},
        {"id": "../../etc/passwd"},
        {"id": ["d"]},
        {"seen": 5},
        {"in_queue": "yes"},
    ],
    ids=str,
)
def test_malformed_answer_is_refused(unchanged: Server, change: dict[str, object]) -> None:
    given = {"id": queue(unchanged)[0], "label": "5"}
    reply = unchanged.post("/api/answers", given | change)
    assert reply.status in {400, 404}
    assert reply.json["error"]
    assert list(labels.read(unchanged.box.outbox)) == []


def test_answer_that_cannot_be_stored_is_not_acknowledged(
    site: Site, server: Server, three: list[str]
) -> None:
    (site.outbox / LABELS).write_text("mine\n")
    reply = server.answer(three[0], "5")
    assert reply.status == 507
    assert "does not begin with digitd's columns" in reply.json["error"]
    (site.outbox / LABELS).unlink()
    assert server.answer(three[0], "5").status == 200


def test_killed_server_loses_no_acknowledged_answer(site: Site, server: Server) -> None:
    """SIGKILL at a random moment while two clients answer as fast as they can."""
    rows = site.add_all([(f"digit{number}.png", doubtful(1, 0.5)) for number in range(100, 130)])
    server.wait_for_rows(5 + len(rows))
    acknowledged: dict[str, str] = {}

    def give(mine: list[str], digit: str) -> None:
        for job_id in mine:
            try:
                if server.answer(job_id, digit).status == 200:
                    acknowledged[job_id] = digit
            except (OSError, http.client.HTTPException):
                return

    threads = [
        threading.Thread(target=give, args=(rows[start::2], str(start))) for start in range(2)
    ]
    for thread in threads:
        thread.start()
    until(lambda: len(acknowledged) > 8, "some answers")
    server.process.send_signal(signal.SIGKILL)
    for thread in threads:
        thread.join()
    found = own_labels(site.outbox)
    assert acknowledged.items() <= found.items()
    assert len(found) <= len(acknowledged) + 2
    with Server(site) as again:
        again.wait_for_rows(5 + len(rows))
        assert again.request(f"/api/rows/{rows[0]}").json["label"] == acknowledged[rows[0]]


def test_two_answers_at_once_do_not_overrule_each_other_on_a_slow_disk(site: Site) -> None:
    rows = site.add_all([(f"digit{number}.png", BLANK) for number in range(8)], b"")
    with Server(site, program=SLOW_DISK) as server, ThreadPoolExecutor() as pool:
        server.wait_for_rows(len(rows))
        for row in rows:
            given = [pool.submit(server.answer, row, label) for label in "35"]
            assert sorted(one.result().status for one in given) == [200, 409]
    assert sorted(row for row, _, _ in site.answers()) == rows


def test_answer_that_is_not_indexed_yet_is_not_overruled(site: Site) -> None:
    # Each batch of rows used to be indexed with a batch of answers, and so without its own answers.
    rows = site.add_all([(f"digit{number}.png", BLANK) for number in range(20)], b"")
    ana = labels.Answer(rows[0], "", "5", "Ana", "now", "m", "", "", "queue")
    others = [replace(ana, id=ids.encode(number)) for number in range(10_000)]
    given = [*others, *(replace(ana, id=row) for row in rows)]
    lines = (csv_line(astuple(one)) for one in given)
    (site.outbox / LABELS).write_text(labels.HEADER + "".join(lines))
    with Server(site) as server:
        for row in rows:
            reply = server.answer(row, "6")
            while reply.status in {404, 503}:  # not indexed yet
                reply = server.answer(row, "6")
            assert (reply.status, reply.json["item"]["by"]) == (409, "Ana")
    assert len(site.answers()) == len(given)


def test_second_server_on_the_outbox_exits_with_75(site: Site, server: Server) -> None:
    done = digitd("review", "--no-browser", "--port", "0", "--config", site.config)
    assert done.returncode == 75
    assert "another `digitd review` serves it" in done.stderr
    assert server.request("/").status == 200


def test_sigterm_ends_it_with_0_even_if_a_page_is_open(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(
            f"GET /events HTTP/1.1\r\nhost: localhost\r\ncookie: {server.cookie}\r\n\r\n".encode()
        )
        assert client.recv(10) == b"HTTP/1.1 2"
        assert server.stop() == 0


def test_open_page_survives_a_restart(site: Site, server: Server) -> None:
    cookie, port = server.cookie, server.port
    assert server.stop() == 0
    with Server(site, port=port) as again:
        assert again.cookie == cookie


def test_address_in_use_is_reported(site: Site, server: Server, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Site(tmp_path / "other")
    done = digitd("review", "--no-browser", "--port", str(server.port), "--config", other.config)
    assert done.returncode == 1
    assert f"127.0.0.1 port {server.port}: cannot be used" in done.stderr
    assert "name others with --host and --port" in done.stderr
    assert site.outbox.exists()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["digit8.png", "digit9.png", "digit1.png", "digit3.png", "digit2.png"]),
        ("sort=oldest", ["digit2.png", "digit3.png", "digit1.png", "digit9.png", "digit8.png"]),
        ("sort=most&status=unsure", ["digit3.png", "digit2.png", "digit1.png"]),
        ("sort=least&status=unsure", ["digit1.png", "digit2.png", "digit3.png"]),
        ("status=error", ["digit8.png"]),
        ("value=3", ["digit3.png"]),
        ("value=7&status=ok", ["digit9.png"]),
        ("value=", ["digit8.png", "digit1.png"]),
        ("name=DIGIT2", ["digit2.png"]),
        ("name=digit&sort=most&status=unsure", ["digit3.png", "digit2.png", "digit1.png"]),
        ("name=GIT9.p", ["digit9.png"]),
        ("name=igitt", []),
        ("number=3", ["digit3.png"]),
        ("number=+3+&value=7", ["digit3.png"]),
        ("number=&status=error", ["digit8.png"]),
        ("number=33", []),
        ("name=%25", []),
        ("answered=yes", []),
        ("answered=no&status=ok", ["digit9.png"]),
        ("since=2099-01-01", []),
        ("until=2020-01-01", []),
        ("since=2020-01-01&until=2099-01-01&status=ok", ["digit9.png"]),
        ("status=x&value=x&sort=x&since=x&after=x", None),
    ],
)
def test_gallery_filters_and_sorts(
    unchanged: Server, query: str, expected: list[str] | None
) -> None:
    everything = ["digit8.png", "digit9.png", "digit1.png", "digit3.png", "digit2.png"]
    assert files(unchanged, query) == (everything if expected is None else expected)


def test_gallery_shows_a_persons_answer_first(server: Server, three: list[str]) -> None:
    assert server.answer(three[1], "5").status == 200
    until(lambda: files(server, "value=5") == ["digit2.png"], "the answer in the gallery")
    assert files(server, "value=2") == []
    assert files(server, "answered=yes") == ["digit2.png"]


@pytest.mark.parametrize("sort", ["newest", "oldest", "least", "most"])
@pytest.mark.parametrize("name", ["", "page"])
def test_pages_of_the_gallery_have_each_row_once(pages: Server, sort: str, name: str) -> None:
    path, shown = f"/gallery?sort={sort}&name={name}", list[str]()
    while path:
        page = pages.request(path).text
        shown += files(pages, path.partition("?")[2])
        link = re.search(r'rel="next" href="([^"]+)"', page)
        path = link[1].replace("&amp;", "&") if link else ""
    assert sorted(shown) == PAGES
    if sort in {"newest", "oldest"}:
        assert shown == (PAGES[::-1] if sort == "newest" else PAGES)


def test_row_page_leads_to_its_neighbours(server: Server, three: list[str]) -> None:
    page = server.request(f"/row/{three[1]}?sort=least&status=unsure").text
    given = json.loads(page.split('id="given">')[1].split("</script>")[0])
    assert given["neighbours"] == {"previous": three[0], "next": three[2]}


def test_images_are_encoded_again(site: Site, server: Server) -> None:
    side = 1000
    colour = np.random.default_rng(1).integers(0, 255, (side, side, 3), np.uint8)
    for name, extension in (("photo.jpg", ".jpg"), ("scan.tif", ".tiff"), ("old.bmp", ".bmp")):
        data = cv2.imencode(extension, colour)[1].tobytes()
        job_id = site.add(name, SURE, data)
        server.wait_for_rows(len(site.rows()))
        reply = server.request(f"/image/{job_id}/large")
        assert reply.headers["content-type"] == "image/jpeg"
        assert reply.body != data
        shown = cv2.imdecode(np.frombuffer(reply.body, np.uint8), cv2.IMREAD_COLOR)
        assert shown is not None
        assert shown.shape == (side, side, 3)
        small = server.request(f"/image/{job_id}/small")
        assert small.headers["content-type"] == "image/png"


@pytest.mark.parametrize("what", ["large", "small", "seen"])
def test_original_and_picture_are_shown(unchanged: Server, what: str) -> None:
    reply = unchanged.request(f"/image/{queue(unchanged)[0]}/{what}")
    assert (reply.status, reply.headers["content-type"]) == (200, "image/png")


def test_row_whose_file_is_gone_can_be_answered(
    site: Site, server: Server, three: list[str]
) -> None:
    (site.outbox / "originals" / "digit1.png").unlink()
    reply = server.request(f"/image/{three[0]}/large")
    assert (reply.status, reply.json["error"]) == (404, "the file is gone")
    assert server.answer(three[0], "none").status == 200


@pytest.mark.parametrize("kind", ["16 bit", "palette", "alpha", "grey alpha", "exif"])
def test_every_kind_of_png_is_shown(site: Site, kind: str) -> None:
    image = Image.open(io.BytesIO(png()))
    made = {
        "16 bit": Image.fromarray(np.full((60, 60), 30_000, np.uint16)),
        "palette": image.convert("P"),
        "alpha": image.convert("RGBA"),
        "grey alpha": image.convert("LA"),
        "exif": image,
    }[kind]
    out = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6
    made.save(out, "PNG", **({"exif": exif} if kind == "exif" else {}))
    job_id = site.add("digit1.png", SURE, out.getvalue())
    with Server(site) as server:
        server.wait_for_rows(1)
        reply = server.request(f"/image/{job_id}/large")
        assert reply.status == 200, reply.text
        shown = cv2.imdecode(np.frombuffer(reply.body, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert shown is not None
        assert shown.shape == (60, 60)
        if kind == "16 bit":
            assert abs(int(shown.mean()) - 30_000 // 256) < 3


def test_page_shows_what_the_reader_sees(site: Site, server: Server) -> None:
    pale = Image.new("RGBA", (60, 60), (255, 255, 255, 0))
    pale.paste((255, 255, 255, 60), (25, 10, 35, 50))
    unused = Image.new("RGBA", (60, 60), (90, 160, 230, 0))
    wide = Image.new("L", (9000, 6000), 230)
    wide.paste(30, (4000, 1000, 4600, 5000))
    deep = np.full((60, 60), 900, np.uint16)
    deep[10:50, 28:34] = 90
    blank = Image.new("L", (60, 60), 255)
    files = {
        "pale.png": saved(pale, "PNG"),
        "unused.png": saved(unused, "PNG"),
        "wide.jpg": saved(wide, "JPEG"),
        "deep.png": cv2.imencode(".png", deep)[1].tobytes(),
        "noend.jpg": saved(unused.convert("RGB"), "JPEG")[:-2],
        "float.tif": cv2.imencode(".tiff", np.where(deep > 90, np.inf, 0.5).astype(np.float32))[1],
        "late.gif": saved(blank, "GIF", save_all=True, append_images=[pale.convert("L")]),
    }
    for name, data in files.items():
        job_id = site.add(name, SURE, bytes(data))
        server.wait_for_rows(len(site.rows()))
        reply = server.request(f"/image/{job_id}/large")
        assert reply.status == 200, (name, reply.text)
        shown = cv2.imdecode(np.frombuffer(reply.body, np.uint8), cv2.IMREAD_COLOR)
        seen = image.decode(bytes(data), max_megapixels=50, side=2000)
        assert shown is not None
        assert shown.shape == seen.shape
        assert np.abs(shown.astype(int) - seen).mean() < 1, name


def test_page_names_the_reasons_of_the_reader(site: Site, server: Server) -> None:
    whole = saved(Image.new("L", (600, 600), 255), "JPEG")
    small = saved(Image.new("L", (5, 5)), "PNG")
    files = {
        "photo.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40),
        "form.pdf": b"%PDF-1.7\n",
        "half.jpg": whole[: len(whole) // 2],
        "page.jpg": b"<!doctype html><title>Log in</title>",
        "huge.png": small[:16] + struct.pack(">II", 30000, 30000) + small[24:],
        "small.png": small,
    }
    for name, data in files.items():
        job_id = site.add(name, BROKEN, data)
        server.wait_for_rows(len(site.rows()))
        reply = server.request(f"/image/{job_id}/large")
        with pytest.raises(UnreadableError) as raised:
            image.decode(data, max_megapixels=50)
        assert (reply.status, reply.json["error"]) == (404, str(raised.value))


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def test_dead_decoder_is_replaced(server: Server, three: list[str]) -> None:
    assert server.request(f"/image/{three[0]}/large").status == 200
    children = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    decoders = [
        int(pid)
        for file in children
        for pid in file.read_text().split()
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    for pid in decoders:
        os.kill(pid, signal.SIGKILL)
    until(lambda: server.request(f"/image/{three[1]}/large").status == 200, "a new decoder", 20)


def test_results_are_downloaded(server: Server, three: list[str]) -> None:
    assert server.answer(three[0], "none").status == 200
    reply = server.request("/results.csv")
    assert "attachment" in reply.headers["content-disposition"]
    found = {row["file"]: row for row in csv.DictReader(io.StringIO(reply.text))}
    assert (found["digit1.png"]["answer"], found["digit1.png"]["answered_by"]) == ("none", "person")
    assert (found["digit9.png"]["answer"], found["digit9.png"]["answered_by"]) == ("7", "model")
    assert found["digit2.png"]["answer"] == ""


def test_dropped_file_goes_into_the_inbox(site: Site, server: Server) -> None:
    data = png()
    assert server.request("/api/files?name=digit5.png", data).status == 201
    assert (site.inbox / "digit5.png").read_bytes() == data
    assert [path.name for path in site.inbox.iterdir()] == ["digit5.png"]


def test_photos_with_one_name_are_all_taken(site: Site, server: Server) -> None:
    photos = [png(str(digit)) for digit in range(8)]
    with ThreadPoolExecutor(4) as browsers:  # at the same moment
        replies = list(
            browsers.map(lambda data: server.request("/api/files?name=image.jpg", data), photos)
        )
    assert [reply.status for reply in replies] == [201] * 8
    for reply, data in zip(replies, photos, strict=True):
        assert (site.inbox / reply.json["name"]).read_bytes() == data
    assert {reply.json["name"] for reply in replies} == {
        "image.jpg",
        *(f"image_{number}.jpg" for number in range(2, 9)),
    }


def test_upload_is_found_by_its_content(site: Site, server: Server) -> None:
    earlier = server.request("/api/files?name=image.jpg", png("1")).json["id"]
    site.add("image.jpg", SURE, png("2"))  # the same name, but another file
    uploads = [server.request("/api/files?name=image.jpg", png(n)).json for n in "345"]
    rows = {
        upload["id"]: site.add(upload["name"], SURE, png(n))
        for upload, n in zip(uploads, "345", strict=True)
    }
    query = urlencode([("id", upload) for upload in (earlier, *rows)])

    def found() -> dict[str, str]:
        reply = server.request(f"/api/files?{query}")
        return {upload: row["id"] for upload, row in reply.json["rows"].items()}

    until(lambda: found() == rows, "the rows of three uploads")
    assert server.request("/api/files?id=image.jpg").status == 400


@pytest.mark.parametrize(
    ("pattern", "name", "stored"),
    [
        ("digit[0-9]*.png", "scan.png", ["digit0scan.png", "digit0scan_2.png"]),
        ("digit[0-9].png", "scan.png", ["digit0.png", "digit1.png"]),
        ("digit[0-9][ab].png", "scan.png", ["digit0a.png", "digit0b.png"]),
        ("digit[0-9].png", "digit7.png", ["digit7.png", "digit1.png"]),
        ("[!a]?-*", "x.png", ["00-x", "00-x_2"]),
        ("images", "photo", ["photo.png", "photo_2.png"]),
        ("images", "scan.2026", ["scan.png", "scan_2.png"]),
        ("images", "x" * 300 + ".png", ["x" * 251 + ".png", "x" * 223 + "_2.png"]),
        (
            "images",
            "é\u202f写真 🧑‍🚀;=1.PNG",
            ["é\u202f写真 🧑‍🚀;=1.PNG", "é\u202f写真 🧑‍🚀;=1_2.PNG"],
        ),
    ],
)
def test_image_gets_a_name_that_is_read(
    site: Site, pattern: str, name: str, stored: list[str]
) -> None:
    site.configure(pattern=f'"{pattern}"')
    with Server(site) as server:
        path = f"/api/files?name={quote(name)}"
        assert [server.request(path, png(n)).json["name"] for n in "12"] == stored
    assert sorted(file.name for file in site.inbox.iterdir()) == sorted(stored)


def test_upload_is_refused_when_all_names_are_taken(site: Site) -> None:
    site.configure(pattern="digit[12].png")
    with Server(site) as server:
        replies = [server.request("/api/files?name=digit1.png", png()) for _ in range(3)]
    assert [reply.status for reply in replies] == [201, 201, 409]


def test_what_is_no_image_is_refused_if_its_name_is_ignored(site: Site, server: Server) -> None:
    reply = server.request("/api/files?name=list.txt", b"milk")
    assert reply.status == 422
    assert "rename it to match images (.png, .jpg and so on)" in reply.json["error"]
    empty = server.request("/api/files?name=image.jpg", b"")
    assert empty.status == 400
    assert "the file is empty" in empty.json["error"]
    assert list(site.inbox.iterdir()) == []


def test_error_row_is_put_back_into_the_inbox(site: Site, server: Server) -> None:
    (row,) = (row for row in site.rows() if row["status"] == "error")
    assert server.post("/api/retries", {"id": row["id"]}).json == {"name": "digit8.png"}
    assert (site.inbox / "digit8.png").read_bytes() == b"my shopping list"
    again = server.post("/api/retries", {"id": row["id"]})
    assert again.status == 409
    assert "is not in" in again.json["error"]


def test_only_a_failed_file_is_put_back(site: Site, server: Server, three: list[str]) -> None:
    assert server.post("/api/retries", {"id": three[0]}).status == 409
    assert list(site.inbox.iterdir()) == []


def test_live_page_has_counts_charts_and_errors(server: Server) -> None:
    page = server.request("/live").text
    assert page.count("<svg") == 3
    assert "text, not an image" in page
    assert "Not measured yet" in page


def test_new_row_is_announced(site: Site, server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(
            f"GET /events HTTP/1.1\r\nhost: localhost\r\ncookie: {server.cookie}\r\n\r\n".encode()
        )
        received = client.makefile("rb")
        for line in received:
            if b'"state"' in line:
                break
        site.add("digit77.png", SURE)
        for line in received:
            # The state may be announced alone, when the files of a minute are counted anew.
            if line.startswith(b"data:") and (data := json.loads(line[5:]))["rows"]:
                break
    assert [row["file"] for row in data["rows"]] == ["digit77.png"]
    assert data["rows"][0]["new"] is True
    assert data["state"]["rows"] == 6


# The index.


def test_index_is_kept_and_may_be_deleted_or_damaged(site: Site, three: list[str]) -> None:
    index = site.outbox / REVIEW_INDEX
    for prepare in (lambda: None, index.unlink, lambda: index.write_bytes(b"junk" * 5000)):
        if index.exists():
            prepare()
        with Server(site) as server:
            server.wait_for_rows(5)
            assert queue(server) == three
            server.process.kill()
            server.process.wait()


def test_rotated_table_stays_in_the_index(site: Site, server: Server, three: list[str]) -> None:
    (site.outbox / TABLE).rename(site.outbox / f"{TABLE}.1")
    site.add("digit10.png", doubtful(4, 0.1))
    server.wait_for_rows(6)
    assert server.answer(three[0], "5").status == 200


def test_copy_of_the_table_adds_no_rows(site: Site, server: Server) -> None:
    (site.outbox / f"{TABLE}.bak").write_bytes((site.outbox / TABLE).read_bytes())
    site.add("digit10.png", SURE)
    server.wait_for_rows(6)
    assert len(files(server, "")) == 6


def test_edited_table_is_indexed_again(site: Site, server: Server, three: list[str]) -> None:
    table = site.outbox / TABLE
    lines = table.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(three[0])]
    new = table.with_suffix(".new")
    new.write_text("".join(kept))
    new.rename(table)
    server.wait_for_rows(4)
    assert queue(server) == three[1:]
    assert server.answer(three[0], "5").status == 404


def test_outbox_that_was_away_is_followed_again(
    site: Site, server: Server, three: list[str]
) -> None:
    away = site.outbox.with_name("away")
    site.outbox.rename(away)
    until(lambda: "the index cannot be updated" in server.log, "a warning")
    away.rename(site.outbox)
    server.wait_for_rows(5)
    assert queue(server) == three
    site.add("digit10.png", SURE)
    server.wait_for_rows(6)
    assert server.answer(three[0], "5").status == 200
    until(lambda: queue(server) == three[1:], "an answer in the index")
    assert server.log.count("the index cannot be updated") <= 3


def test_no_response_says_that_an_outbox_that_is_away_is_being_indexed(
    site: Site, server: Server, three: list[str]
) -> None:
    away = site.outbox.with_name("away")
    for _ in range(10):
        site.outbox.rename(away)
        with ThreadPoolExecutor(20) as threads:  # the server needs threads that it did not have yet
            paths = ["/api/queue", f"/api/rows/{three[0]}"] * 20
            replies = list(threads.map(server.request, paths))
        for reply in replies:  # open files can still be read
            assert reply.status == 200 or str(site.outbox) in reply.json["error"], reply
        away.rename(site.outbox)
        until(lambda: server.request("/api/queue").status == 200, "the queue again")
        assert queue(server) == three
    # It was not taken for edited.
    assert "a table was edited or removed" not in server.log


def test_torn_last_row_waits_until_it_is_whole(site: Site, server: Server) -> None:
    table = site.outbox / TABLE
    before = table.read_bytes()
    site.add("digit10.png", SURE)
    added = table.read_bytes()[len(before) :]
    table.write_bytes(before + added[:30])
    server.wait_for_rows(5)
    with table.open("ab") as file:
        file.write(added[30:])
    server.wait_for_rows(6)


def test_answers_before_their_rows_count(site: Site, three: list[str]) -> None:
    given = labels.Answer(three[0], "", "5", "Ana", "now", "m", "", "", "queue")
    labels.append(site.outbox, given)
    with Server(site) as server:
        server.wait_for_rows(5)
        assert queue(server) == three[1:]


def test_outbox_without_a_table_can_be_served(site: Site) -> None:
    with Server(site) as server:
        assert server.request("/api/queue").json["items"] == []
        job_id = site.add("digit1.png", BLANK)
        server.wait_for_rows(1)
        assert queue(server) == [job_id]


def test_health_and_metrics_are_those_of_the_daemon(site: Site) -> None:
    site.configure(metrics_file="digitd.prom")
    with Server(site) as server:
        health = server.request("/healthz", headers={"cookie": None})
        assert (health.status, health.text) == (503, "stopped\n")
        assert server.request("/metrics").status == 503
        with Daemon(site, STAND_IN) as running:
            running.wait_for_log("is ready")
            until(lambda: server.request("/healthz").status == 200, "good health")
            until(lambda: server.request("/metrics").status == 200, "metrics")
            reply = server.request("/metrics")
            assert 'digitd_files_total{status="ok"} 0.0' in reply.text
            assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
            site.outbox.rename(site.folder / "away")
            until(lambda: "paused: " in server.request("/healthz").text, "a pause")
            assert server.request("/healthz").status == 503


def test_missing_metrics_say_which_setting_to_use(server: Server) -> None:
    reply = server.request("/metrics")
    assert reply.status == 404
    assert "metrics_file" in reply.text


def test_page_is_served_by_a_user_without_a_name(site: Site) -> None:
    nobody = ("unshare", "--user", "--map-user=54321")
    if subprocess.run([*nobody, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no user namespaces")
    unnamed = ("env", *(f"--unset={name}" for name in ("LOGNAME", "USER", "LNAME", "USERNAME")))
    job_id = site.add("digit1.png", BLANK)
    with Server(site, program=(*nobody, *unnamed, *DIGITD)) as server:
        server.wait_for_rows(1)
        assert server.answer(job_id, "1").status == 200
    assert [answer.by for answer in labels.read(site.outbox)] == ["54321"]


def test_responses_are_sent_at_once() -> None:
    """A response has two parts; Nagle's algorithm holds the second for up to 40 ms."""

    async def accept() -> int:
        options = asyncio.get_running_loop().create_future()

        class Accepted(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                accepted = transport.get_extra_info("socket")
                options.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

        with Address().listen() as listening:
            server = await asyncio.get_running_loop().create_server(Accepted, sock=listening)
            async with server:
                _, writer = await asyncio.open_connection(*listening.getsockname())
                found: int = await options
                writer.close()
        return found

    assert asyncio.run(accept())
