"""How many prompt tokens a step may carry while other calls are generating.

Owns running estimates of a decode-only step and of a prompt token's extra time. Refuses to know calls. Invariant: a
mixed step is meant to take at most `gap_factor` times a decode-only one, so that nobody's stream stutters; prompts
always get at least `FLOOR` tokens, so that they finish.
"""

FLOOR = 16
_WEIGHT = 0.2  # of a new measurement


class Pace:
    """`observe` each step, then ask `chunk`."""

    def __init__(self, most: int, gap_factor: float) -> None:
        self._most = max(most, FLOOR)
        self._factor = gap_factor
        self.decode_s = 0.0  # a step without prompt tokens
        self.token_s = 0.0  # a prompt token in a step

    def observe(self, decoding: int, prompt: int, seconds: float) -> None:
        """One step with `decoding` rows of running calls and `prompt` rows of prompts."""
        if prompt == 0:
            self.decode_s = _blend(self.decode_s, seconds)
        elif decoding == 0:
            if prompt >= FLOOR:
                self.token_s = _blend(self.token_s, seconds / prompt)
        elif self.decode_s:
            self.token_s = _blend(self.token_s, max(seconds - self.decode_s, 0.1 * seconds) / prompt)

    def chunk(self, decoding: int) -> int:
        """Prompt tokens for the next step, given how many calls are generating (at least one)."""
        if not self.decode_s or not self.token_s:
            return min(self._most, 4 * FLOOR)
        room = (self._factor - 1.0) * self.decode_s / self.token_s
        return int(min(max(room, FLOOR), self._most))


def _blend(old: float, new: float) -> float:
    return new if old == 0.0 else old + _WEIGHT * (new - old)
