"""The size to ask for: itself where it is drawn, else like proportions before like numbers."""

import pytest

from adapters.openai_api.sizes import nearest

LARGE = ("1024x1024", "1536x1024", "1024x1536")


@pytest.mark.parametrize(
    ("width", "height", "chosen"),
    [
        (1024, 1024, "1024x1024"),
        (512, 512, "1024x1024"),
        (1280, 720, "1536x1024"),
        (720, 1280, "1024x1536"),
        (1200, 1000, "1024x1024"),
    ],
)
def test_nearest(width: int, height: int, chosen: str) -> None:
    assert nearest(LARGE, width, height) == chosen


def test_as_small_as_is_enough_and_as_large_as_there_is() -> None:
    squares = ("256x256", "512x512", "1024x1024")
    assert nearest(squares, 300, 300) == "512x512"
    assert nearest(squares, 1200, 1200) == "1024x1024"


def test_who_draws_any_size_is_asked_for_it() -> None:
    assert nearest((), 328, 720) == "328x720"
