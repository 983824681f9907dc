"""Makes the picture of a thumbnail. Runs in a thread; Pillow is imported when the first one is wanted.

Pictures come from anybody, so only a few decoders are let near them, and none before the number of pixels is known.
"""

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from homeserver.services.thumbnail_sizes import Cut, Target, cut_for

if TYPE_CHECKING:
    from PIL.Image import Image

_FORMATS: Final = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
# What may be served as a thumbnail: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediathumbnailservernamemediaid
_SERVABLE: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}
_BROKEN: Final = (OSError, SyntaxError, ValueError, TypeError, ArithmeticError, LookupError, struct.error, EOFError)
_ORIENTATION: Final = 0x0112
_SIDEWAYS: Final = range(5, 9)
_JPEG_QUALITY: Final = 80
_MAX_PROFILE: Final = 16 * 1024
# A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that is still so many times what is needed.
_SPARE: Final = 1.5


class NotAPicture(Exception):
    """No thumbnail can be made of the file."""


class TooManyPixels(Exception):
    """The picture is larger than this server is willing to decode."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A thumbnail. `data` is None where the file itself is what should be served."""

    data: bytes | None
    content_type: str


def make_thumbnail(path: Path, target: Target, max_pixels: int) -> Picture:
    """A still picture for the target. Raises NotAPicture, TooManyPixels; OSError where the file cannot be read."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # checked below, before anything is decoded, and by the config
    with path.open("rb") as file:
        try:
            with Image.open(file, formats=_FORMATS) as image:
                if image.width * image.height > max_pixels:
                    raise TooManyPixels
                return _thumbnail(image, target)
        except _BROKEN as error:
            raise NotAPicture(str(error)) from error


def _thumbnail(image: "Image", target: Target) -> Picture:
    orientation = image.getexif().get(_ORIENTATION, 1)
    width, height = image.size
    sideways = orientation in _SIDEWAYS
    cut = cut_for(height, width, target) if sideways else cut_for(width, height, target)
    original = _SERVABLE.get(image.format or "")
    is_whole = cut.size == ((height, width) if sideways else (width, height))
    if is_whole and original is not None and not getattr(image, "is_animated", False):
        return Picture(None, original)
    profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA") else None
    resized = _turned(_resized(image, _sideways(cut) if sideways else cut), orientation)
    return _encoded(resized, profile, lossless=image.format == "PNG")


def _sideways(cut: Cut) -> Cut:
    """The same cut of the picture as it lies in the file."""
    left, top, right, bottom = cut.box
    return Cut((top, left, bottom, right), (cut.size[1], cut.size[0]))


def _resized(image: "Image", cut: Cut) -> "Image":
    from PIL.Image import Resampling

    width, height = image.size
    left, top, right, bottom = cut.box
    enlarge = _SPARE * max(cut.size[0] / (right - left), cut.size[1] / (bottom - top))
    image.draft("RGB", (round(width * enlarge), round(height * enlarge)))  # does nothing but for a JPEG
    across, down = image.width / width, image.height / height
    box = (left * across, top * down, min(right * across, image.width), min(bottom * down, image.height))
    return _plain(image).resize(cut.size, Resampling.BICUBIC, box=box, reducing_gap=2.0)


def _plain(image: "Image") -> "Image":
    """The picture in one of the modes L, RGB and RGBA."""
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _turned(image: "Image", orientation: int) -> "Image":
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(orientation)
    return image if turn is None else image.transpose(turn)


def _encoded(image: "Image", profile: bytes | None, *, lossless: bool) -> Picture:
    """PNG where anything is transparent, or must not lose anything, else JPEG. Only the colour profile goes with it: no
    place, no camera."""
    output = io.BytesIO()
    more: dict[str, Any] = {"icc_profile": profile if profile and len(profile) <= _MAX_PROFILE else None}
    image.info = {}
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255):
        image = image.convert("RGB")  # screenshots: able to be transparent, and never are
    if image.mode == "RGBA" or lossless:
        image.save(output, "PNG", **more)
        return Picture(output.getvalue(), "image/png")
    image.save(output, "JPEG", quality=_JPEG_QUALITY, **more)
    return Picture(output.getvalue(), "image/jpeg")
