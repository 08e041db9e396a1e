"""How many prompt tokens a step may carry while other calls are generating.

Owns running estimates of what steps take. Where prompts have steps of their own (`apart`), each with one for the calls that
generate behind it, the two together are aimed at `gap_factor` times the latter, so that nobody's stream stutters; where a
step carries both, a controller aims each at that. The more prompts wait, the longer a step may be: one stream's smoothness
is not worth many others' first token, and reading many prompts in crumbs costs everybody. Where more calls wait than
generate, or one step can read all that several wait for, the generating ones do not count. Refuses to know calls and why
steps take long. Invariants: never fewer than `FLOOR` tokens, so that prompts finish; never more than what was set, or four
times that where several wait.
"""

FLOOR = 8
_WEIGHT = 0.2  # of a new measurement of a decode-only step
_SHRINK, _GROW = 0.5, 1.3  # at most, from one step to the next
_SEVERAL = 4  # times what was set, where several wait
_CAUTION = 0.7  # of the tokens that several prompts should get by estimate: beside running calls they cost more


class Pace:
    """`observe` each step, then ask `chunk`. `prompts` is how many calls have theirs still to be read."""

    def __init__(self, most: int, gap_factor: float, *, apart: bool = False) -> None:
        self._most = float(max(most, FLOOR))
        self._factor = gap_factor
        self._apart = apart
        self._chunks: dict[int, float] = {}  # for one prompt, by the magnitude of the rows beside it
        self._token_s = 0.0  # of a prompt read alone
        self._alone: dict[int, float] = {}  # decode-only steps, by the magnitude of their rows
        self.decode_s = 0.0  # a step without prompt tokens, as it was of late

    def observe(self, decoding: int, prompt: int, seconds: float, prompts: int = 1) -> None:
        """One step with `decoding` rows of running calls and `prompt` rows of prompts."""
        if prompt == 0:
            size = decoding.bit_length()
            known = self._alone.get(size, seconds)
            self.decode_s = self._alone[size] = known + _WEIGHT * (seconds - known)
        elif decoding == 0:
            if prompt >= FLOOR:
                self._token_s = seconds / prompt
        elif self._alone and prompts <= 1:
            self._aim(decoding, prompt, seconds)

    def _decode_s(self, decoding: int) -> float:
        """What a decode-only step of so many rows takes: measured, or as the nearest size that was."""
        size = decoding.bit_length()
        nearest = min(self._alone, key=lambda known: (abs(known - size), known))
        return self._alone[nearest]

    def _aim(self, decoding: int, prompt: int, seconds: float) -> None:
        alone, size = self._decode_s(decoding), decoding.bit_length()
        room = (self._factor - 1.0) * alone
        change = min(max(room / max(seconds - alone, 1e-9), _SHRINK), _GROW)
        if prompt < int(self._chunks.get(size, 0.0)) and change > 1.0:
            return  # the end of a prompt: a short step says nothing about a long one
        self._chunks[size] = min(max(prompt * change, FLOOR), self._most)

    def chunk(self, decoding: int, prompts: int = 1, ahead: int = 0) -> int:
        """Prompt tokens for the next step, given how many calls are generating (at least one).

        `ahead`: tokens that all prompts together have still to be read, if that is known.
        """
        if self.hurries(decoding, prompts, ahead):
            return int(_SEVERAL * self._most)
        fitting = self._fitting(decoding, prompts) * (1.0 if self._apart or prompts <= 1 else _CAUTION)
        most = self._most * (1 if prompts <= 1 else _SEVERAL)
        if self._apart:
            return int(min(max(fitting, FLOOR), most))
        size = decoding.bit_length()
        chunk = self._chunks.get(size)
        if chunk is None:
            chunk = min(max(self._fitting(decoding, 1) / 2, FLOOR), self._most)
            if self._alone:
                self._chunks[size] = chunk
        return int(chunk if prompts <= 1 else max(chunk, min(fitting, most)))

    def hurries(self, decoding: int, prompts: int, ahead: int) -> bool:
        """Most callers wait for their first token, or one step ends all waiting: see `chunk`."""
        return prompts > decoding or (prompts > 1 and 0 < ahead <= _SEVERAL * self._most)

    def _fitting(self, decoding: int, prompts: int) -> float:
        """Tokens by which a step reaches `gap_factor` times `prompts`, as far as is known."""
        if not self._alone or not self._token_s:
            return 2.0 * FLOOR * prompts
        return (self._factor * prompts - 1.0) * self._decode_s(decoding) / self._token_s
