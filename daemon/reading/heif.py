"""Decode HEIC with libheif and AVIF with Pillow."""

from io import BytesIO

import numpy as np
from PIL import AvifImagePlugin, ExifTags, Image

from daemon.errors import UnreadableError
from daemon.reading import av1, bmff
from daemon.reading.bmff import Stills
from daemon.reading.pixels import Pixels

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the workers use the cores

_CODEC = "hvc1"
# What has its pixels in other images: tiles, one turned, one over another.
_DERIVED = frozenset({"grid", "iden", "iovl"})
_BROKEN_AVIF = "broken AVIF: it cannot be decoded"
_BYTES_A_PIXEL = 6  # that a decoder and the colours after it take


def decode_avif(data: bytes, max_megapixels: float) -> tuple[Pixels, int]:
    """Return the primary image and its orientation, 1 to 8 as in Exif.

    Pillow takes 420 MB for 49 megapixels, OpenCV 5.0 takes 780 and does not say the orientation.

    Args:
        data: the whole file.
        max_megapixels: limits what is held in memory.

    Returns:
        (H, W), (H, W, 3) RGB or (H, W, 4) RGBA.

    Raises:
        UnreadableError: it is cut, cannot be decoded, or is larger than its header says.
        MemoryError: there is too little memory now.
    """
    stills = _check(data, "AVIF")
    largest = av1.find_largest(data, stills.coded)
    if largest is None:
        raise UnreadableError(_BROKEN_AVIF)
    if largest > max_megapixels * 1e6:
        raise UnreadableError("broken AVIF: its image is larger than its header says")
    # Of an animation, Pillow then sees the primary image only.
    still = data[:8] + b"avif" + data[12:]
    try:
        with Image.open(BytesIO(still), formats=("AVIF",)) as image:
            orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
            return np.array(image), orientation
    except MemoryError:
        raise
    # Pillow raises many kinds of exceptions for broken files.
    except Exception as error:
        _require_memory(stills.size)
        raise UnreadableError(_BROKEN_AVIF) from error


def decode_heic(data: bytes) -> Pixels:
    """Return the primary image, upright: (H, W), (H, W, 3) BGR or (H, W, 4) BGRA.

    Of several images, such as those of a burst, this is the one that viewers show. libheif refuses
    what is larger than the header says.

    Raises:
        UnreadableError: it is cut, or cannot be decoded.
        MemoryError: there is too little memory now.
    """
    stills = _check(data, "HEIC")
    kind = stills.kind
    if kind != _CODEC and kind not in _DERIVED:
        raise UnreadableError(f"a HEIC of a rare kind ({kind}): save it as JPEG or PNG")
    # 13 ms and 1.5 MB, for those who have such photos.
    import pi_heif  # noqa: PLC0415

    pi_heif.options.DECODE_THREADS = 0
    pi_heif.options.THUMBNAILS = pi_heif.options.DEPTH_IMAGES = pi_heif.options.AUX_IMAGES = False
    try:
        # pi_heif 1.4 crashes while it reads some broken metadata, which are not needed.
        decoded = pi_heif.open_heif(bmff.hide_metadata(data), bgr_mode=True)
        # A copy, because libheif's memory goes with ``decoded``.
        pixels: Pixels = np.array(decoded[decoded.primary_index])
    except MemoryError:
        raise
    # libheif raises many kinds of exceptions for broken files.
    except Exception as error:
        _require_memory(stills.size)
        raise UnreadableError("broken HEIC: it cannot be decoded") from error
    if pixels.ndim == 3 and pixels.shape[2] == 2:  # noqa: PLR2004 - grey and alpha
        return pixels[..., [0, 0, 0, 1]]
    return pixels


def _check(data: bytes, image_format: str) -> Stills:
    """Return the still images of a HEIC or AVIF.

    Raises:
        UnreadableError: it is cut or broken.
    """
    stills = bmff.parse(data)
    if stills is None:
        raise UnreadableError(f"the {image_format} header is cut short or broken")
    if not stills.is_whole:
        raise UnreadableError(f"truncated {image_format}: the end of the image is missing")
    return stills


def _require_memory(size: tuple[int, int]) -> None:
    """Check that an image's decoder did not fail for lack of memory, which none of them says.

    Raises:
        MemoryError: it may have.
    """
    np.empty(size[0] * size[1] * _BYTES_A_PIXEL, np.uint8)
