"""Depths, alpha and frames: each program's way to store a drawing gives the same digit."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from daemon.errors import UnreadableError
from daemon.reading import image
from support.drawn import Pixels, alike, large, painted, png, read
from tests.reading.test_hostile import chunk

INK = large(5)
PAGE = painted(INK)
GREY = cv2.cvtColor(PAGE, cv2.COLOR_BGR2GRAY)
SHARE = GREY.astype(float) / 255


def tiff(pixels: Pixels) -> bytes:
    data: bytes = cv2.imencode(".tiff", pixels)[1].tobytes()
    return data


def pillow(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def shown(pixels: Pixels = PAGE) -> Image.Image:
    return Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def bits(depth: int, *channels: Pixels) -> Pixels:
    """Return values of so many bits in 16 bits."""
    values = [np.rint(channel * (2**depth - 1)).astype(np.uint16) for channel in channels]
    merged: Pixels = values[0] if len(values) == 1 else cv2.merge(values)
    return merged


def levels(value: float, alpha: float) -> Pixels:
    """Return ink of one grey level with this alpha on nothing."""
    pixels = np.full((*INK.shape, 4), value, np.uint8)
    pixels[..., 3] = np.rint(INK * alpha)
    return pixels


def over(alpha: int) -> Pixels:
    """Return a page with this alpha everywhere."""
    return cv2.merge((*cv2.split(PAGE), np.full(INK.shape, alpha, np.uint8)))


def trimmed() -> Pixels:
    """Return a bold 1, white on nothing, cut to its box as drawing programs do."""
    pixels = np.full((240, 90, 4), 255, np.uint8)
    pixels[..., 3] = 0
    cv2.line(pixels, (60, 5), (50, 235), (255, 255, 255, 255), 55)
    cv2.line(pixels, (55, 15), (10, 60), (255, 255, 255, 255), 30)
    return pixels


def bmp(header: int, alpha: int) -> bytes:
    """Return a BMP of 32 bits with masks for its channels, as BITMAPV4HEADER (108) or V5 (124)."""
    height, width = INK.shape
    pixels = over(alpha)[::-1].tobytes()
    fields = struct.pack(
        "<IiiHHIIiiII", header, width, height, 1, 32, 3, len(pixels), 2835, 2835, 0, 0
    ) + struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    fields += b"BGRs" + bytes(header - len(fields) - 4) if header > 56 else b""
    start = 14 + len(fields)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + fields + pixels


def grey_alpha_png() -> bytes:
    """Return a PNG of 16 bits with black ink in its alpha."""
    height, width = INK.shape
    pixels = np.stack([np.zeros_like(INK), INK * 65535], axis=2).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 4, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def planar_tiff() -> bytes:
    """Return a TIFF of 16 bits whose channels are stored one after the other."""
    height, width = INK.shape
    channels = [bits(16, channel / 255).tobytes() for channel in cv2.split(PAGE)[::-1]]
    size = len(channels[0])
    strips = 8 + 3 * size
    fields = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 3, strips),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 3, strips + 8),
        (277, 3, 1, 3),
        (278, 4, 1, height),
        (279, 4, 3, strips + 20),
        (284, 3, 1, 2),
    ]
    values = struct.pack("<HHHxx", 16, 16, 16)
    values += struct.pack("<III", 8, 8 + size, 8 + 2 * size) + struct.pack("<III", *[size] * 3)
    directory = struct.pack("<H", len(fields))
    directory += b"".join(struct.pack("<HHII", *field) for field in fields) + bytes(4)
    start = strips + len(values)
    return b"II*\0" + struct.pack("<I", start) + b"".join(channels) + values + directory


def with_value(value: float, dtype: type = np.float32) -> Pixels:
    pixels: Pixels = SHARE.astype(dtype)
    pixels[3:6, 3:6] = value
    return pixels


def frames(kind: str, *pictures: Image.Image, **options: object) -> bytes:
    first, *others = pictures
    return pillow(first, kind, save_all=True, append_images=others, **options)


def paged(
    alpha: int | None, *channels: Pixels, dtype: str = "u1", whole: int | None = 255
) -> bytes:
    """Return a TIFF with these channels, the last one alpha.

    Args:
        alpha: what the alpha is (TIFF 6.0, ExtraSamples); ``None`` to leave it out.
        channels: with values from 0 to 1.
        dtype: of the values.
        whole: the value of 1; ``None`` for a float.
    """
    scaled = np.stack(channels, axis=2) * (whole or 1)
    values = (np.rint(scaled) if whole else scaled).astype(f"<{dtype}")
    depth, count = 8 * values.itemsize, len(channels)
    start = 8 + values.nbytes
    depths = struct.pack(f"<{count}H", *[depth] * count)
    kinds = struct.pack(f"<{count}H", *[1 if whole else 3] * count)
    # Two values fit into the field itself.
    place = [start, start + len(depths)] if count > 2 else [depth | depth << 16, 1 | 1 << 16]
    extra = b"" if count <= 2 else depths + kinds
    fields = [
        (256, 4, 1, values.shape[1]),
        (257, 4, 1, values.shape[0]),
        (258, 3, count, place[0]),
        (259, 3, 1, 1),
        (262, 3, 1, 2 if count > 2 else 1),
        (273, 4, 1, 8),
        (277, 3, 1, count),
        (278, 4, 1, values.shape[0]),
        (279, 4, 1, values.nbytes),
        *([] if alpha is None else [(338, 3, 1, alpha)]),
        (339, 3, count, place[1]),
    ]
    directory = struct.pack("<H", len(fields))
    directory += b"".join(struct.pack("<HHII", *field) for field in fields) + bytes(4)
    header = b"II*\0" + struct.pack("<I", start + len(extra))
    return header + values.tobytes() + extra + directory


def mostly(value: float) -> Pixels:
    """Return a float page whose paper has this value."""
    pixels = SHARE.astype(np.float32)
    pixels[SHARE > 0.9] = value
    return pixels


NOTHING, EVERYTHING = np.zeros_like(SHARE), np.ones_like(SHARE)
HIDDEN = Image.new("RGBA", INK.shape, (255, 255, 255, 0))
BLANK, CLEAR = Image.new("RGB", INK.shape, "white"), Image.new("RGBA", INK.shape, (0, 0, 0, 0))

SAME = {
    "8 of 16 bits": png(bits(8, SHARE)),
    "10 of 16 bits": png(bits(10, SHARE)),
    "12 of 16 bits": png(bits(12, SHARE)),
    "12 of 16 bits, colour": png(bits(12, SHARE, SHARE, SHARE)),
    "12 of 16 bits, alpha": png(bits(12, SHARE, SHARE, SHARE, np.ones_like(SHARE))),
    "12 of 16 bits, ink in alpha": png(bits(12, *[np.zeros_like(INK)] * 3, INK)),
    "8 of 16 bits, tiff": tiff(bits(8, SHARE)),
    "10 of 16 bits, tiff": tiff(bits(10, SHARE)),
    "12 of 16 bits, tiff": tiff(bits(12, SHARE, SHARE, SHARE)),
    "14 bits": png(bits(14, SHARE)),
    "16 bits": png(bits(16, SHARE)),
    "16 bits, in planes": planar_tiff(),
    "16 bits, grey and alpha": grey_alpha_png(),
    "grey and alpha, tiff": pillow(Image.fromarray(levels(0, 255)[..., 2:], "LA"), "TIFF"),
    "grey and multiplied alpha, tiff": paged(1, NOTHING, INK),
    "grey and opaque, 16 bits, tiff": paged(2, SHARE, EVERYTHING, dtype="u2", whole=65535),
    "grey and an unnamed channel, tiff": paged(None, SHARE, EVERYTHING),
    "colour and straight alpha of 0, tiff": paged(2, SHARE, SHARE, SHARE, NOTHING),
    "pale white ink with straight alpha, tiff": paged(2, *[EVERYTHING] * 3, INK / 5),
    "white ink with multiplied alpha, tiff": paged(1, INK, INK, INK, INK),
    "float, black ink in alpha": paged(2, *[NOTHING] * 3, INK, dtype="f4", whole=None),
    "float, infinite paper": tiff(mostly(np.inf)),
    "float, paper without values": tiff(mostly(np.nan)),
    "float": tiff(SHARE.astype(np.float32)),
    "float, infinity": tiff(with_value(np.inf)),
    "float, minus infinity": tiff(with_value(-np.inf)),
    "float, nan": tiff(with_value(np.nan)),
    "float, largest": tiff(with_value(float(np.finfo(np.float32).max))),
    "float, lowest": tiff(with_value(float(np.finfo(np.float32).min))),
    "float, an outlier": tiff(with_value(1e6)),
    "float, a negative outlier": tiff(with_value(-1e6)),
    "float, negative": tiff((SHARE * 2 - 1).astype(np.float32)),
    "float, all negative": tiff((SHARE - 5).astype(np.float32)),
    "float, large": tiff((SHARE * 1e9).astype(np.float32)),
    "float, colour, nan": tiff(cv2.merge([with_value(np.nan)] * 3)),
    "double, infinity": tiff(with_value(np.inf, np.float64)),
    "double, large": tiff(SHARE * 1e200 * 1e-180),
    "int16": tiff((SHARE * 30000).astype(np.int16)),
    "int16, negative": tiff((SHARE * 30000 - 15000).astype(np.int16)),
    "int32": tiff((SHARE * 1e6).astype(np.int32)),
    "uint32": tiff((SHARE * 1e6).astype(np.uint32)),
    "int8": tiff((SHARE * 200 - 100).astype(np.int8)),
    "bmp v3, alpha 0": bmp(56, 0),
    "bmp v4, alpha 0": bmp(108, 0),
    "bmp v5, alpha 0": bmp(124, 0),
    "bmp v5, alpha 255": bmp(124, 255),
    "png, alpha 0": png(over(0)),
    "png, alpha 1": png(over(1)),
    "png, alpha 90": png(over(90)),
    "tiff, alpha 0": tiff(over(0)),
    "webp, alpha 0": pillow(
        Image.fromarray(cv2.cvtColor(over(0), cv2.COLOR_BGRA2RGBA)),
        "WEBP", lossless=True, exact=True,
    ),
    "black ink": png(levels(0, 255)),
    "white ink": png(levels(255, 255)),
    "pale black ink": png(levels(0, 60)),
    "pale white ink": png(levels(255, 60)),
    "faint white ink": png(levels(255, 12)),
    "half-transparent white ink": png(levels(255, 127)),
    "half-transparent light ink": png(levels(200, 100)),
    "half-transparent dark ink": png(levels(60, 100)),
    "1 bit": pillow(shown().convert("1", dither=Image.Dither.NONE), "PNG"),
    "1 bit, tiff": pillow(
        shown().convert("1", dither=Image.Dither.NONE), "TIFF", compression="group4"
    ),
    "1 bit, bmp": pillow(shown().convert("1", dither=Image.Dither.NONE), "BMP"),
    "palette": pillow(shown().quantize(8), "PNG"),
    "palette, a clear colour": pillow(shown().quantize(2), "PNG", transparency=0),
    "palette, half-clear colours": pillow(
        shown().quantize(4), "PNG", transparency=bytes([255, 200, 90, 40])
    ),
    "tiff, zstd": pillow(shown(), "TIFF", compression="zstd"),
    "tiff, lzma": pillow(shown(), "TIFF", compression="lzma"),
    "gif, blank first": frames("GIF", BLANK, BLANK, shown(), shown().rotate(90), duration=50),
    "gif, clear first": frames("GIF", CLEAR, shown().convert("RGBA"), duration=50, disposal=2),
    "png, blank first": frames("PNG", BLANK, shown(), shown().rotate(90), duration=50),
    "png, clear first": frames("PNG", CLEAR, shown().convert("RGBA"), duration=50),
    "webp, blank first": frames("WEBP", BLANK, shown(), duration=50, quality=80),
    "webp, clear first": frames("WEBP", CLEAR, shown().convert("RGBA"), duration=50),
    "webp, hidden colour first": frames("WEBP", HIDDEN, shown().convert("RGBA"), duration=50),
    "gif, digit first": frames("GIF", shown(), shown().rotate(90), BLANK, duration=50),
    "png, digit first": frames("PNG", shown(), BLANK, duration=50),
    "webp, digit first": frames("WEBP", shown(), BLANK, duration=50),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_each_way_to_store_a_drawing_gives_the_same_glyph(name: str) -> None:
    page = read(SAME[name])
    assert page.doubt is None
    assert alike(page.detection.glyph, read(png(PAGE)).detection.glyph) > 0.9


def test_bold_digit_cut_to_its_box_does_not_vanish() -> None:
    decoded = image.decode(png(trimmed()), max_megapixels=50)
    assert np.ptp(decoded) == 255


def test_picture_of_16_bits_that_is_dark_stays_dark() -> None:
    dark = np.rint(SHARE * 0.12 * 65535).astype(np.uint16)
    assert image.decode(png(dark), max_megapixels=50).max() == int(0.12 * GREY.max())


def test_transparent_corners_of_a_photo_get_its_colour() -> None:
    photo: Pixels = cv2.cvtColor(PAGE // 2, cv2.COLOR_BGR2BGRA)
    photo[:30, :30] = 0
    decoded = image.decode(png(photo), max_megapixels=50)
    assert abs(int(decoded[5, 5, 0]) - int(decoded[100, 5, 0])) <= 2


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_file_with_blank_frames_only_is_blank(kind: str) -> None:
    decoded = image.decode(frames(kind, BLANK, BLANK.copy()), max_megapixels=50)
    assert decoded.min() == 255


def test_frames_are_searched_within_the_memory_limit_only() -> None:
    # Different greys keep Pillow from merging equal frames.
    pictures = [Image.new("L", (400, 400), 255 - n % 2) for n in range(30)]
    ImageDraw.Draw(pictures[-1]).line((200, 80, 200, 320), fill=0, width=24)
    data = frames("WEBP", *pictures, lossless=True, method=0)
    assert image.decode(data, max_megapixels=50).min() < 50
    assert image.decode(data, max_megapixels=0.3).min() >= 254


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "BMP"])
def test_cut_file_is_refused(kind: str) -> None:
    whole = pillow(shown(), kind)
    animated = frames(kind, shown(), shown().rotate(90)) if kind != "BMP" else whole
    for data in (whole, animated[: len(whole)]):
        for part in range(1, 8):
            with pytest.raises(UnreadableError):
                image.decode(data[: len(data) * part // 10], max_megapixels=50)


def test_tiff_never_shows_memory_that_was_not_written() -> None:
    # Decoders that return what malloc gave them show the bytes of other people's files.
    data = bytearray(tiff(cv2.merge([bits(16, SHARE)] * 3)))
    for tag, value in ((284, 2), (277, 3)):
        place = data.index(struct.pack("<HH", tag, 3)) + 8
        data[place : place + 2] = struct.pack("<H", value)
    secret = np.full(6_000_000, 0xA7, np.uint8)
    del secret
    try:
        first = image.decode(bytes(data), max_megapixels=50)
    except UnreadableError:
        return
    junk = [np.full(size, 0x31, np.uint8) for size in range(1000, 600_000, 5000)]
    del junk
    np.testing.assert_array_equal(first, image.decode(bytes(data), max_megapixels=50))
