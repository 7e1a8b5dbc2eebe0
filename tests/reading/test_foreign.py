"""What a file is that is no image: the row says so, and what to do."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest

from daemon.errors import UnreadableError
from daemon.reading import image
from support.drawn import DIGITS, png

_ODT = "application/vnd.oasis.opendocument.text"


def brand(main: bytes, *others: bytes) -> bytes:
    size = struct.pack(">I", 16 + 4 * len(others))
    return size + b"ftyp" + main + b"\0\0\0\0" + b"".join(others) + bytes(200)


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, _ODT if name == "mimetype" else "")
    return stream.getvalue()


def apple_png() -> bytes:
    whole = png(DIGITS[3])
    return whole[:8] + b"\0\0\0\4CgBI\x50\0\x20\2\x2b\xd5\xb3\x7f" + whole[8:]


def tiff(*fields: tuple[int, int], head: bytes = b"") -> bytes:
    """Return a TIFF's first directory with these long fields and the size 100x100."""
    every = sorted([(256, 100), (257, 100), *fields])
    start = 8 + len(head)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in every)
    return b"II*\0" + struct.pack("<I", start) + head + struct.pack("<H", len(every)) + entries


FOREIGN = {
    "jpeg xl": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50), "a JPEG XL image: export it"),
    "jpeg xl, bare": (b"\xff\x0a" + bytes(range(50)), "a JPEG XL"),
    "jpeg 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(50), "a JPEG 2000"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\n", "a PDF document: save each page as a PNG"),
    "pdf behind a line": (b"\n%PDF-1.4\n%\xe2\xe3\n", "a PDF"),
    "pdf in a tar archive": (bytes(257) + b"ustar" + bytes(250) + b"%PDF-1.4\n", "a tar archive"),
    "bigtiff": (b"II+\0\x08\0\0\0" + bytes(50), "a BigTIFF: save it as an ordinary TIFF"),
    "bigtiff, big endian": (b"MM\0+\0\x08\0\0" + bytes(50), "a BigTIFF"),
    "cgbi": (apple_png(), r"a PNG for Apple's programs only \(CgBI"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'>", "an SVG drawing: export it as PNG"),
    "svg with a header": (
        b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- by hand -->\n<!DOCTYPE svg>\n<svg>',
        "an SVG",
    ),
    "svg in utf-16": ("<svg width='28'>".encode("utf-16"), "an SVG"),
    "canon": (tiff(head=b"CR\2\0" + bytes(8)), "a camera's RAW photo: export it"),
    "dng": (tiff((50706, 0x401)), "a camera's RAW photo"),
    "nikon": (tiff((254, 1), (330, 400)), "a camera's RAW photo"),
    "fuji": (b"FUJIFILMCCD-RAW 0201" + bytes(80), "a camera's RAW photo"),
    "canon, newer": (brand(b"crx ", b"crx ", b"isom"), "a camera's RAW photo"),
    "mp4": (brand(b"isom", b"iso2", b"mp41"), "a video: take a photo"),
    "iphone video": (brand(b"qt  ", b"qt  "), "a video"),
    "webm": (b"\x1aE\xdf\xa3" + bytes(50), "a video"),
    "avi": (b"RIFF\0\0\1\0AVI LIST", "a video"),
    "wav": (b"RIFF\0\0\1\0WAVEfmt ", "a sound file"),
    "zip": (zipped("digit1.png"), "a ZIP archive: unpack it"),
    "docx": (zipped("[Content_Types].xml", "word/document.xml"), "a Word document"),
    "xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel document"),
    "odt": (zipped("mimetype"), "an OpenDocument document"),
    "doc": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an old Office"),
    "html": (b"\n<!DOCTYPE html>\n<html><title>Log in", r"a web page \(HTML\), not an image"),
    "html without a type": (b"<html lang='de'>", "a web page"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
    "annex": (b"/annex/objects/SHA256E-s1--0.png\n", "text"),
    "annex pointer": (b"../.git/annex/objects/xx/SHA256E-s1--0.png\n", "a git-annex pointer"),
    "data url": (b"data:image/png;base64,iVBORw0KGgo=", "an image as a data URL"),
    "shortcut": (b"[InternetShortcut]\r\nURL=https://example.org\r\n", "a link: drop the file"),
    "photoshop": (b"8BPS\0\1" + bytes(50), "a Photoshop document"),
    "gimp": (b"gimp xcf v011\0", "a GIMP document"),
    "gzip": (b"\x1f\x8b\x08" + bytes(50), "a gzip archive"),
    "dicom": (bytes(128) + b"DICM" + bytes(50), "a DICOM image"),
    "apple double": (b"\0\5\x16\7\0\2\0\0Mac OS X", "AppleDouble"),
    "zeros": (bytes(5000), "nothing but zero bytes: its copy was interrupted"),
    "netpbm": (b"P5\n28 28\n255\n" + bytes(784), "a Netpbm image"),
    "text": (b"This is a 7.\n", "text, not an image"),
    "text in utf-16": ("eine Sieben".encode("utf-16"), "text, not an image"),
    "text of several bytes": ("Это семь.".encode(), "text, not an image"),
    "noise": (np.random.default_rng(3).bytes(900), "not an image format that can be read"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_reason_names_what_a_file_is(name: str) -> None:
    data, reason = FOREIGN[name]
    with pytest.raises(UnreadableError, match=reason):
        image.decode(data, max_megapixels=50)
