"""Which thumbnail is made for what is asked for."""

import pytest

from homeserver.config.outside_sections import Media
from homeserver.services.thumbnail_sizes import Method, Target, cut_for, target_for

SIZES = Media().thumbnails


@pytest.mark.parametrize(
    ("asked", "made"),
    [((1, 1), (32, 32)), ((32, 32), (32, 32)), ((33, 10), (96, 96)), ((320, 240), (320, 240)), ((97, 241), (640, 480))],
)
@pytest.mark.parametrize("method", ["crop", "scale"])
def test_thumbnail_is_the_next_size_up(asked: tuple[int, int], made: tuple[int, int], method: Method) -> None:
    assert target_for(SIZES, *asked, method) == Target(*made, method)


def test_beyond_the_largest_size_it_is_the_picture_itself() -> None:
    assert target_for(SIZES, 801, 10, "scale") == Target(0, 0, "scale")
    assert cut_for(4000, 3000, Target(0, 0, "crop")).size == (4000, 3000)


@pytest.mark.parametrize(
    ("picture", "size"),
    [((4000, 3000), (320, 240)), ((3000, 4000), (180, 240)), ((100, 50), (100, 50)), ((9999, 1), (320, 1))],
)
def test_scaled_picture_keeps_its_shape_and_never_grows(picture: tuple[int, int], size: tuple[int, int]) -> None:
    assert cut_for(*picture, Target(320, 240, "scale")).size == size


@pytest.mark.parametrize(
    ("picture", "size"),
    [
        ((4000, 3000), (96, 96)),
        ((400, 100), (96, 96)),
        ((400, 50), (96, 50)),
        ((50, 60), (50, 60)),
        ((9999, 1), (96, 1)),
    ],
)
def test_cropped_picture_fills_the_size_and_never_grows(picture: tuple[int, int], size: tuple[int, int]) -> None:
    cut = cut_for(*picture, Target(96, 96, "crop"))
    left, top, right, bottom = cut.box
    assert cut.size == size
    assert 0 <= left < right <= picture[0]
    assert 0 <= top < bottom <= picture[1]
    assert left + right == pytest.approx(picture[0])  # from the middle
