"""Which rows stand where."""

import numpy as np
import pytest

from adapters.llama.batching import TURN, fill, parts_of
from adapters.llama.ffi import Batch
from adapters.llama.job import Job, Prepared
from adapters.llama.slots import Lease, Slot
from adapters.llama.spec import Sampling
from adapters.llama.text import SplitterOptions

EOG = np.array([0], dtype=np.int32)


def _job(seq: int, tokens: int, *, read: int = 0) -> Job:
    prompt = np.arange(100 * seq, 100 * seq + tokens, dtype=np.int32)
    call = Prepared(id=seq, prompt=prompt, n=1, limit=4, sampling=Sampling(), splitter=SplitterOptions(), seed=0)
    job = Job(call, reserve=4)
    slot = Slot(seq, 4096)
    slot.write(prompt[:read])
    job.begin(Lease([slot], read, 0), EOG, 1.0)
    return job


def _counts(prefilling: list[Job], budget: int) -> dict[int, int]:
    return {job.seq: count for job, count in parts_of(prefilling, budget)}


def test_each_has_its_turn_and_the_rest_goes_to_the_first() -> None:
    long, short = _job(5, 3000), _job(2, 40)
    assert _counts([long, short], 100) == {5: 100}
    assert _counts([long, short], TURN + 10) == {5: TURN, 2: 10}
    assert _counts([long, short], 1000) == {5: 960, 2: 40}
    long.turn = TURN - 6
    assert _counts([long, short], 30) == {5: 6, 2: 24}
    assert _counts([], 100) == {}


def test_parts_are_by_sequence_whoever_is_first() -> None:
    waiting = [_job(seq, 10) for seq in (3, 1, 2, 0)]
    assert [job.seq for job, _ in parts_of(waiting, 1000)] == [0, 1, 2, 3]
    assert [job.seq for job, _ in parts_of(waiting, 25)] == [1, 2, 3], "who is first is served first"


@pytest.mark.parametrize("read", [0, 4])
def test_rows(read: int) -> None:
    batch = Batch(64)
    running = _job(1, 6, read=6).choices[0]
    running.pending = 77
    whole, part = _job(2, 10, read=read), _job(3, 20)
    rows = fill(batch, [running], [(whole, 10 - read), (part, 5)])
    assert rows == 1 + 10 - read + 5
    assert batch.seq[:rows].tolist() == [1] + [2] * (10 - read) + [3] * 5
    assert batch.token[:rows].tolist() == [77, *range(200 + read, 210), *range(300, 305)]
    assert batch.pos[:rows].tolist() == [6, *range(read, 10), *range(5)]
    assert np.flatnonzero(batch.logits[:rows]).tolist() == [0, 10 - read], "one of who decodes, one of a whole prompt"
