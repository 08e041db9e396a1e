"""Which of the running calls are decoded together, where each sequence has a cache of its own.

There plain attention reads, for each row of a pass, as many cells as the longest sequence in that pass has: one call of
4,000 tokens among eight of 300 makes a step three times as long. So those that are much longer get a step of their own,
after the others, once what that saves is worth another pass over all weights. Owns that choice and whose turn it is;
refuses to know prompts, rows and time. Invariant: in each round every running call has one turn; who begins meanwhile
joins the next round.
"""

from adapters.llama.job import Choice
from adapters.llama.spec import Setup

_SLOWER = 2  # a byte of the cache takes so much longer to read than one of the weights (measured: 6 and 13 GB/s)


class Turns:
    """`now` says who decodes, and after that step `took` is told. `cells`: see `pass_cells`; 0: always everybody."""

    def __init__(self, cells: float = 0.0) -> None:
        self._cells = cells
        self._due: list[Choice] = []

    @property
    def due(self) -> bool:
        """Whether some have had their turn and others not yet."""
        return any(not choice.done for choice in self._due)

    def now(self, running: list[Choice]) -> list[Choice]:
        """Those of the next step, in the order of `running`."""
        if not self._cells:
            return running
        self._due = [choice for choice in self._due if not choice.done]
        return self._together(self._due or running)

    def took(self, running: list[Choice], decoded: list[Choice]) -> None:
        if self._cells:
            pool = self._due or running
            self._due = [] if len(decoded) == len(pool) else [choice for choice in pool if choice not in decoded]

    def _together(self, pool: list[Choice]) -> list[Choice]:
        """All of them; or the shorter ones, as long as leaving out the longer ones saves enough cells."""
        lengths = [choice.slot.n for choice in pool]
        longest = max(lengths, default=0)
        if longest * len(lengths) - sum(lengths) <= self._cells:
            return pool
        lengths.sort()
        saved, limit = max((count * (longest - length), length) for count, length in enumerate(lengths, 1))
        if saved <= self._cells:
            return pool
        return self._together([choice for choice in pool if choice.slot.n <= limit])


def pass_cells(setup: Setup, weights: int, cell: int) -> float:
    """Cells that are read in the time of a pass over the weights; 0 where rows do not read each other's.

    In bytes: all weights; a token's keys and values. Flash attention skips what is not a row's own.
    """
    if setup.unified or setup.flash_attention is not False:
        return 0.0
    return weights / (_SLOWER * max(cell, 1))
