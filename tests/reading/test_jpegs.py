"""JPEGs as phones, scanners and broken programs write them, and those that are cut short."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from daemon.errors import UnreadableError
from daemon.reading import image
from support.drawn import Pixels, alike, large, painted, png, read


def drawn(side: int = 300) -> Image.Image:
    return Image.fromarray(cv2.cvtColor(painted(large(5, side)), cv2.COLOR_BGR2RGB))


def jpeg(picture: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", **({"quality": 85} | options))
    return stream.getvalue()


PLAIN = jpeg(drawn())
TABLES = PLAIN.index(b"\xff\xdb")  # the first segment behind JFIF
ENTROPY = PLAIN.index(b"\xff\xda") + 14


def inserted(what: bytes, at: int = TABLES) -> bytes:
    return PLAIN[:at] + what + PLAIN[at:]


def with_exif(order: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = jpeg(drawn().transpose(Image.Transpose.ROTATE_90), exif=exif)
    start = data.index(b"\xff\xe1")
    stop = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    jfif = PLAIN[2:TABLES]
    parts = {"exif": data[start:stop], "jfif": jfif, "odd": b"\xff\xed\0\6abcd"}
    return data[:2] + b"".join(parts[name] for name in order.split()) + data[stop:]


def multi_picture() -> bytes:
    stream = io.BytesIO()
    drawn().save(stream, "MPO", save_all=True, append_images=[drawn().rotate(90)])
    return stream.getvalue()


def in_single_scans() -> bytes:
    """Return a grey baseline JPEG whose frame header announces its only component in one scan."""
    return jpeg(drawn().convert("L"))


ODD = {
    "plain": PLAIN,
    "fill bytes": inserted(b"\xff" * 9),
    "zeros": inserted(b"\0" * 9),
    "zeros behind the start": inserted(b"\0\0", 2),
    "text": inserted(b"camera v1.2\n"),
    "zeros before the frame": inserted(b"\0" * 3, PLAIN.index(b"\xff\xc0")),
    "many zeros": inserted(bytes(20_000)),
    "a length that is short": inserted(b"\xff\xe5\0\4abcdefgh"),
    "a length of zero": inserted(b"\xff\xe5\0\0abcdefgh"),
    "an unknown marker": inserted(b"\xff\xf0\0\4ab"),
    "another unknown marker": inserted(b"\xff\x02\0\4ab"),
    "an unknown marker without a length": inserted(b"\xff\x7f"),
    "a restart marker": inserted(b"\xff\xd0"),
    "a second start": inserted(b"\xff\xd8", 2),
    "no end": PLAIN[:-2],
    "half an end": PLAIN[:-1],
    "no end, zeros": PLAIN[:-2] + bytes(500),
    "no end, restart markers": jpeg(drawn(), restart_marker_rows=1)[:-2],
    "no end, progressive": jpeg(drawn(), progressive=True)[:-2],
    "no end, stray bytes": inserted(b"\0" * 9)[:-2],
    "restart markers": jpeg(drawn(), restart_marker_blocks=3),
    "progressive": jpeg(drawn(), progressive=True),
    "cmyk": jpeg(drawn().convert("CMYK")),
    "cmyk, progressive": jpeg(drawn().convert("CMYK"), progressive=True),
    "4:1:1": jpeg(drawn(), subsampling="4:1:1"),
    "4:4:4": jpeg(drawn(), subsampling="4:4:4"),
    "several pictures": multi_picture(),
    "several pictures, one cut": multi_picture()[:-400],
    "JFIF, Exif": with_exif("jfif exif"),
    "Exif, JFIF": with_exif("exif jfif"),
    "Exif behind others": with_exif("odd odd exif"),
    "trailer": PLAIN + b"\0\0\0\x18ftypmp42" + bytes(3000),
    "large": jpeg(drawn(2400)),
    "large, no end": jpeg(drawn(2400))[:-2],
    "large, Exif and stray bytes": with_exif("jfif exif").replace(b"\xff\xdb", b"\0\xff\xdb", 1),
}


@pytest.mark.parametrize("name", ODD)
def test_jpeg_that_viewers_open_is_read(name: str) -> None:
    page = read(ODD[name])
    assert page.doubt is None
    assert alike(page.detection.glyph, read(png(painted(large(5)))).detection.glyph) > 0.9


def cuts(data: bytes, *, ended: bool) -> list[bytes]:
    start = data.index(b"\xff\xda") + 14
    end = b"\xff\xd9" if ended else b""
    return [data[: start + (len(data) - start) * part // 10] + end for part in range(1, 10)]


@pytest.mark.parametrize("ended", [False, True], ids=["no end", "an end that was added"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"subsampling": "4:4:4"},
        {"restart_marker_rows": 1},
        {"quality": 20},
        {"optimize": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("side", [300, 1200])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_that_lacks_a_part_is_refused(
    options: dict[str, object], side: int, mode: str, *, ended: bool
) -> None:
    for cut in cuts(jpeg(drawn(side).convert(mode), **options), ended=ended):
        with pytest.raises(UnreadableError, match="truncated JPEG"):
            image.decode(cut, max_megapixels=50)


def test_progressive_jpeg_that_lacks_a_scan_is_refused() -> None:
    data = jpeg(drawn(), progressive=True)
    for cut in cuts(data, ended=False):
        with pytest.raises(UnreadableError, match="truncated JPEG"):
            image.decode(cut, max_megapixels=50)
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    for scan in scans[1:]:
        with pytest.raises(UnreadableError, match="truncated JPEG"):
            image.decode(data[:scan], max_megapixels=50)


def test_grey_picture_is_not_taken_for_a_truncated_one() -> None:
    page: Pixels = np.full((320, 320, 3), 128, np.uint8)
    page[60:260, 150:170] = 20
    assert read(cv2.imencode(".jpg", page)[1].tobytes()).doubt is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (PLAIN[:200], "header is cut short"),
        (b"\xff\xd8" + bytes(3000), "header is cut short"),
        (PLAIN[:TABLES] + b"\xff\xda\0\2", "header is cut short"),
        (PLAIN.replace(b"\xff\xc0", b"\xff\xc3"), r"a JPEG of a rare kind \(8 bits, SOF3\): save"),
        (
            PLAIN.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"),
            r"a JPEG of a rare kind \(12 bits, SOF1\): save it as an ordinary JPEG or PNG",
        ),
        (PLAIN[:-2] + PLAIN[PLAIN.index(b"\xff\xda") : -2] * 300, "header is cut short or broken"),
    ],
    ids=["cut", "zeros", "an empty scan", "lossless", "12 bits", "too many scans"],
)
def test_jpeg_that_cannot_be_read_gets_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        image.decode(data, max_megapixels=50)


def pages(width: int, height: int, **options: object) -> bytes:
    """Return a JPEG of any size, blank except for a small 1."""
    page = Image.new("L", (width, height), 235)
    high = height // 8
    page.paste(20, (width // 2, height // 3, width // 2 + high // 8, height // 3 + high))
    return jpeg(page, **options)


def test_reason_for_a_large_jpeg_names_the_limit() -> None:
    baseline, progressive = pages(2000, 1000), pages(2000, 1000, progressive=True)
    for limit in (1.9, 0.5, 0.1, 0.04):
        decoded = image.decode(baseline, max_megapixels=limit)
        assert decoded.shape[0] * decoded.shape[1] <= limit * 1e6
        assert decoded.shape[1] == min(504, max(250, decoded.shape[1]))
    with pytest.raises(
        UnreadableError,
        match=r"too large: 2000x1000 is 2\.0 megapixels, 0\.0 if decoded at an eighth, the limit "
        r"is 0\.03: make it smaller, or raise max_megapixels",
    ):
        image.decode(baseline, max_megapixels=0.03)
    with pytest.raises(
        UnreadableError,
        match=r"too large: 2000x1000 is 2\.0 megapixels, all of which the decoder holds in memory, "
        r"because it is a progressive JPEG, the limit is 1\.9: save it as a baseline JPEG",
    ):
        image.decode(progressive, max_megapixels=1.9)
    assert image.decode(progressive, max_megapixels=2).shape == (252, 504, 3)


def test_components_in_separate_scans_count_as_held_in_memory() -> None:
    # A scan of one of three components; decoders need the others before they can show a pixel.
    header = PLAIN.index(b"\xff\xda")
    assert PLAIN[header + 4] == 3
    scan = b"\xff\xda" + struct.pack(">HB", 8, 1) + PLAIN[header + 5 : header + 7] + b"\0\x3f\0"
    separate = PLAIN[:header] + scan + PLAIN[ENTROPY:]
    with pytest.raises(UnreadableError, match="all of which the decoder holds in memory"):
        image.decode(separate, max_megapixels=0.05)
