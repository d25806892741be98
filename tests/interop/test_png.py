"""Images as PNG come back pixel by pixel."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tupli_repo.interop.png import png

IMAGES = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


@given(IMAGES, st.booleans())
def test_pillow_finds_the_pixels(image: NDArray[np.uint8], flipped: bool):
    pillow = pytest.importorskip("PIL.Image")
    pixels = image[::-1, ::-1] if flipped else image
    with pillow.open(BytesIO(png(pixels))) as found:
        found.load()
        assert (found.format, found.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(np.asarray(found), pixels)
