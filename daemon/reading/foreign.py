"""Say what a file is that is not an image digitd reads, and what to do about it."""

import codecs
import re

from daemon.reading import bmff, pdf

_EXPORT = "export it as JPEG or PNG"
_READ = "PNG, JPEG, HEIC, AVIF, BMP, WebP, TIFF or GIF"

_VIDEO = "a video: take a photo, or save one picture of it as JPEG or PNG"
_SOUND = "a sound file: it has no picture"
CAMERA_RAW = f"a camera's RAW photo: {_EXPORT}"
APPLE_PNG = f"a PNG for Apple's programs only (CgBI, from an iPhone app): {_EXPORT}"
_ARCHIVE = "archive: unpack it and drop the images that it has"
_OFFICE = "document: export the page as PNG, or save its images as files"

# ISO base media files by their brand (ISO 14496-12, `ftyp`). All others are video.
_BRANDS = {
    b"crx ": CAMERA_RAW,
    b"M4A ": _SOUND,
    b"jxl ": f"a JPEG XL image: {_EXPORT}",
    b"jp2 ": f"a JPEG 2000 image: {_EXPORT}",
}
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\0\0\0\x0cJXL ", f"a JPEG XL image: {_EXPORT}"),
    (0, b"\xff\x0a", f"a JPEG XL image: {_EXPORT}"),
    (0, b"\0\0\0\x0cjP", f"a JPEG 2000 image: {_EXPORT}"),
    (0, b"\xff\x4f\xff\x51", f"a JPEG 2000 image: {_EXPORT}"),
    (0, b"II+\0", "a BigTIFF: save it as an ordinary TIFF, or as PNG"),
    (0, b"MM\0+", "a BigTIFF: save it as an ordinary TIFF, or as PNG"),
    (0, b"IIRO", CAMERA_RAW),
    (0, b"IIRS", CAMERA_RAW),
    (0, b"MMOR", CAMERA_RAW),
    (0, b"IIU\0", CAMERA_RAW),
    (0, b"FUJIFILMCCD-RAW", CAMERA_RAW),
    (0, b"FOVb", CAMERA_RAW),
    (0, b"\0MRM", CAMERA_RAW),
    (0, b"8BPS", f"a Photoshop document: {_EXPORT}"),
    (0, b"gimp xcf", f"a GIMP document: {_EXPORT}"),
    (0, b"\0\0\1\0", f"an icon: {_EXPORT}"),
    (0, b"\0\0\2\0", f"a cursor or a Targa (TGA) image: {_EXPORT}"),
    (0, b"\x8aMNG\r\n\x1a\n", f"a MNG animation: {_EXPORT}"),
    (0, b"\x8bJNG\r\n\x1a\n", f"a JNG image: {_EXPORT}"),
    (0, b"qoif", f"a QOI image: {_EXPORT}"),
    (0, b"BPG\xfb", f"a BPG image: {_EXPORT}"),
    (0, b"FLIF", f"a FLIF image: {_EXPORT}"),
    (0, b"DDS ", f"a DDS texture: {_EXPORT}"),
    (0, b"v/1\1", f"an OpenEXR image: {_EXPORT}"),
    (0, b"#?RADIANCE", f"a Radiance HDR image: {_EXPORT}"),
    (0, b"SIMPLE  =", f"a FITS image: {_EXPORT}"),
    (0, b"AT&TFORM", f"a DjVu document: {_EXPORT}"),
    (0, b"\xc5\xd0\xd3\xc6", f"a PostScript document: {_EXPORT}"),
    (0, b"%!PS", f"a PostScript document: {_EXPORT}"),
    (0, b"\x1aE\xdf\xa3", _VIDEO),
    (0, b"\0\0\1\xba", _VIDEO),
    (0, b"\0\0\1\xb3", _VIDEO),
    (0, b"FLV\1", _VIDEO),
    (0, b"0&\xb2u\x8ef\xcf\x11", _VIDEO),
    (0, b"ID3", _SOUND),
    (0, b"OggS", _SOUND),
    (0, b"fLaC", _SOUND),
    (8, b"AVI ", _VIDEO),
    (8, b"WAVE", _SOUND),
    (4, b"moov", _VIDEO),
    (4, b"mdat", _VIDEO),
    (0, b"\x1f\x8b", f"a gzip {_ARCHIVE}"),
    (0, b"BZh", f"a bzip2 {_ARCHIVE}"),
    (0, b"\xfd7zXZ\0", f"an xz {_ARCHIVE}"),
    (0, b"(\xb5/\xfd", f"a Zstandard {_ARCHIVE}"),
    (0, b"7z\xbc\xaf'\x1c", f"a 7-Zip {_ARCHIVE}"),
    (0, b"Rar!\x1a\7", f"a RAR {_ARCHIVE}"),
    (257, b"ustar", f"a tar {_ARCHIVE}"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", f"an old Office (Word, Excel, PowerPoint) {_OFFICE}"),
    (0, b"{\\rtf", f"an RTF {_OFFICE}"),
    (0, b"\0\5\x16\7", "a Mac's AppleDouble file, which has no picture: drop the file itself"),
    (0, b"L\0\0\0\1\x14\2\0", "a Windows shortcut: drop the file that it points to"),
    (0, b"SQLite format 3\0", "a SQLite database, not an image"),
    (0, b"\x7fELF", "a program, not an image"),
    (0, b"MZ\x90\0", "a program, not an image"),
    *((0, b"P%d\n" % kind, f"a Netpbm image: {_EXPORT}") for kind in range(1, 8)),
    (128, b"DICM", f"a DICOM image: {_EXPORT}"),
)

# What the first kilobytes of a ZIP archive contain.
_ZIPPED = (
    (b"word/", f"a Word {_OFFICE}"),
    (b"xl/", f"an Excel {_OFFICE}"),
    (b"ppt/", f"a PowerPoint {_OFFICE}"),
    (b"[Content_Types].xml", f"an Office {_OFFICE}"),
    (b"application/vnd.oasis.opendocument", f"an OpenDocument {_OFFICE}"),
    (b"image/openraster", f"a Krita or OpenRaster {_OFFICE}"),
    (b"application/x-krita", f"a Krita or OpenRaster {_OFFICE}"),
    (b"application/epub", f"an EPUB {_OFFICE}"),
    (b"Index/", f"a Pages, Numbers or Keynote {_OFFICE}"),
)

# What text starts with, in any case.
_XML = r"\s*(<\?xml.*?>\s*)?(<!--.*?-->\s*)*"
_TEXTS = {
    r"\s*version https://git-lfs": (
        "a Git LFS pointer, not the image itself: run `git lfs pull` where it came from"
    ),
    r"[./\s]*git/annex/objects": (
        "a git-annex pointer, not the image itself: run `git annex get` where it came from"
    ),
    r"\s*data:image/": "an image as a data URL: save the image itself as a file",
    r"\s*\[(internetshortcut|desktop entry)\]": "a link: drop the file that it points to",
    _XML + r"(<!doctype svg.*?>\s*)?<svg[\s>]": "an SVG drawing: export it as PNG",
    _XML + r"<(!doctype html|html|head|body)\b": (
        "a web page (HTML), not an image: download the image itself; this may be a page that asks "
        "for a login or reports an error"
    ),
}
_HEAD = 4096
_PDF, _PDF_WITHIN = b"%PDF-", 1024  # as readers do (ISO 32000-1, annex H)


def describe_pages(count: int) -> str:
    """Return what a TIFF with several pages is."""
    return (
        f"a TIFF with {count} pages: save each page as a file and drop these, for example with "
        "`tiffsplit FILE`"
    )


def describe(data: bytes) -> str:
    """Return what a file is that has no signature of an image format that digitd reads."""
    head = data[:_HEAD]
    if data.count(0) == len(data):
        return (
            "nothing but zero bytes: its copy was interrupted, or its disk was full; copy it again"
        )
    # Old printers and mail programs put something before a PDF, which readers skip. An archive
    # that has one within has a signature.
    name = _find_signature(head)
    if head.startswith(_PDF) or (not name and _PDF in head[:_PDF_WITHIN]):
        return _describe_pdf(data)
    return name or _describe_text(head) or f"not an image format that can be read ({_READ})"


def _find_signature(head: bytes) -> str:
    """Return what a file is by its signature; empty if it has none."""
    if brands := bmff.read_brands(head):
        return next((name for brand, name in _BRANDS.items() if brand in brands), _VIDEO)
    if head.startswith(b"PK\3\4"):
        return next((name for part, name in _ZIPPED if part in head), f"a ZIP {_ARCHIVE}")
    found = (name for offset, start, name in _SIGNATURES if head.startswith(start, offset))
    return next(found, "")


def _describe_pdf(data: bytes) -> str:
    """Return what a PDF is: with how many pages, if that can be found, and whether encrypted."""
    found = pdf.parse(data)
    pages = f" with {found.pages} page{'s' * (found.pages != 1)}" if found.pages else ""
    encrypted, password = ("an encrypted", "-upw PASSWORD ") if found.is_encrypted else ("a", "")
    todo = "save it as a PNG" if found.pages == 1 else "save each page as a PNG and drop these"
    return (
        f"{encrypted} PDF document{pages}: {todo}, for example with "
        f"`pdftoppm {password}-png FILE page`"
    )


def _describe_text(head: bytes) -> str:
    """Return what kind of text it is; empty if it is none."""
    text = head.removeprefix(codecs.BOM_UTF8)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = head.decode("utf-16", "ignore").encode()
    if not all(byte >= 32 or byte in b"\t\n\r\f" for byte in text):  # noqa: PLR2004 - a space
        return ""
    shown = text.decode("utf-8", "replace")
    kinds = (
        name for start, name in _TEXTS.items() if re.match(start, shown, re.IGNORECASE | re.DOTALL)
    )
    return next(kinds, "text, not an image")
