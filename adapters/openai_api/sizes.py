"""Which size to ask an upstream for that draws a few sizes only.

It knows no picture. Invariant: the choice depends on the sizes and the wish alone.
"""

import math
from collections.abc import Sequence


def nearest(sizes: Sequence[str], width: int, height: int) -> str:
    """The size most like the wish: of its proportions first, then large enough, then as small as that allows."""
    wish = f"{width}x{height}"
    if not sizes or wish in sizes:
        return wish

    def distance(size: str) -> tuple[float, bool, int]:
        wide, high = (int(side) for side in size.split("x"))
        skew = abs(math.log(wide * height / (high * width)))
        enough = wide * high >= width * height
        return round(skew, 3), not enough, wide * high if enough else -wide * high

    return min(sizes, key=distance)
