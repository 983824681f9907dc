"""Which thumbnail answers a request, and how large it gets: arithmetic only.

https://spec.matrix.org/v1.19/client-server-api/#thumbnails
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from homeserver.config.outside_sections import Thumbnail

Method = Literal["crop", "scale"]


@dataclass(frozen=True, slots=True)
class Target:
    """What a thumbnail is made for, in pixels. Width and height 0: the picture as large as it is."""

    width: int
    height: int
    method: Method


@dataclass(frozen=True, slots=True)
class Cut:
    """`box` (left, top, right, bottom) of the picture becomes a picture of `size` (width, height)."""

    box: tuple[float, float, float, float]
    size: tuple[int, int]


def target_for(sizes: Sequence[Thumbnail], width: int, height: int, method: Method) -> Target:
    """The smallest of the sizes that is at least as large as what is asked for.

    Beyond the largest it is the picture itself: a thumbnail is never smaller than asked for, and clients do not choose
    how many different ones are made.
    """
    enough = [size for size in sizes if size.width >= width and size.height >= height]
    if not enough:
        return Target(0, 0, method)
    size = min(enough, key=lambda size: size.width * size.height)
    return Target(size.width, size.height, method)


def cut_for(width: int, height: int, target: Target) -> Cut:
    """How a picture of this width and height becomes a thumbnail; never larger than it is."""
    if not target.width or not target.height:
        return Cut((0, 0, width, height), (width, height))
    across, down = target.width / width, target.height / height
    if target.method == "scale":
        factor = min(across, down, 1.0)
        return Cut((0, 0, width, height), (max(1, round(width * factor)), max(1, round(height * factor))))
    factor = min(max(across, down), 1.0)
    size = (
        max(1, min(target.width, round(width * factor))),
        max(1, min(target.height, round(height * factor))),
    )
    box_width, box_height = min(width, size[0] / factor), min(height, size[1] / factor)
    left, top = (width - box_width) / 2, (height - box_height) / 2
    return Cut((left, top, left + box_width, top + box_height), size)
