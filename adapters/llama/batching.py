"""The rows of one decode: how prompts share a step, and in which order the rows stand.

Owns the filling of llama.cpp's batch. Refuses to know what a step may cost (`pace` does) and what becomes of its logits.
Invariants: the rows of a sequence stand together and ascend by sequence, for where each has a cache of its own llama.cpp
computes together only rows of consecutive sequences, in this order (32 shuffled rows took three times as long as sorted
ones, measured); a prompt's last row alone has logits.
"""

import numpy as np

from adapters.llama.ffi import Batch
from adapters.llama.job import Choice, Job

TURN = 256  # prompt tokens after which another call's prompt is read

Parts = list[tuple[Job, int]]  # calls, and how many tokens of their prompts


def parts_of(prefilling: list[Job], budget: int) -> Parts:
    """How much of which prompts: each its turn, in order; what is left over goes to the first. By sequence."""
    parts: Parts = []
    for job in prefilling:
        count = min(job.ahead, budget, TURN - job.turn)
        if count > 0:
            parts.append((job, count))
            budget -= count
    for at, (job, count) in enumerate(parts):
        more = min(job.ahead - count, budget)
        parts[at] = (job, count + more)
        budget -= more
    return sorted(parts, key=lambda part: part[0].seq)


def fill(batch: Batch, decoding: list[Choice], parts: Parts) -> int:
    """Writes the rows: first what decodes (by sequence already), then the prompts. How many they are."""
    k = len(decoding)
    if k:
        batch.token[:k] = [choice.pending for choice in decoding]
        batch.pos[:k] = [choice.slot.n for choice in decoding]
        batch.seq[:k] = [choice.slot.seq for choice in decoding]
        batch.logits[:k] = 1
    for job, count in parts:
        end = k + count
        batch.token[k:end] = job.call.prompt[job.cursor : job.cursor + count]
        batch.pos[k:end] = np.arange(job.cursor, job.cursor + count, dtype=np.int32)
        batch.seq[k:end] = job.seq
        batch.logits[k:end] = 0
        batch.logits[end - 1] = job.cursor + count == len(job.call.prompt)
        k = end
    return k
