"""How many prompt tokens a step may carry while other calls are generating.

Owns a running estimate of a decode-only step and a controller: after each mixed step it aims the next one at `gap_factor`
times a decode-only one, so that nobody's stream stutters. Refuses to know calls and why steps take long. Invariant: never
fewer than `FLOOR` tokens, so that prompts finish; never more than what was set.
"""

FLOOR = 8
_WEIGHT = 0.2  # of a new measurement of a decode-only step
_SHRINK, _GROW = 0.5, 1.3  # at most, from one step to the next


class Pace:
    """`observe` each step, then ask `chunk`."""

    def __init__(self, most: int, gap_factor: float) -> None:
        self._most = float(max(most, FLOOR))
        self._factor = gap_factor
        self._chunk = 0.0  # 0: not yet known
        self._token_s = 0.0  # of a prompt read alone: for the first guess
        self.decode_s = 0.0  # a step without prompt tokens

    def observe(self, decoding: int, prompt: int, seconds: float) -> None:
        """One step with `decoding` rows of running calls and `prompt` rows of prompts."""
        if prompt == 0:
            self.decode_s += (_WEIGHT if self.decode_s else 1.0) * (seconds - self.decode_s)
        elif decoding == 0:
            if prompt >= FLOOR:
                self._token_s = seconds / prompt
        elif self.decode_s:
            self._aim(prompt, seconds - self.decode_s)

    def _aim(self, prompt: int, added: float) -> None:
        room = (self._factor - 1.0) * self.decode_s
        change = min(max(room / max(added, 1e-9), _SHRINK), _GROW)
        if prompt < int(self._chunk) and change > 1.0:
            return  # the end of a prompt: a short step says nothing about a long one
        self._chunk = min(max(prompt * change, FLOOR), self._most)

    def chunk(self, decoding: int) -> int:
        """Prompt tokens for the next step, given how many calls are generating (at least one)."""
        if not self._chunk and self.decode_s:
            guess = (self._factor - 1.0) * self.decode_s / self._token_s if self._token_s else FLOOR
            self._chunk = min(max(guess / 2, FLOOR), self._most)
        return int(self._chunk or FLOOR)
