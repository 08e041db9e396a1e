"""A call's own arithmetic."""

import numpy as np

from adapters.llama.job import Job, Prepared
from adapters.llama.slots import Lease, Slot
from adapters.llama.spec import Sampling, Usage
from adapters.llama.text import SplitterOptions


def _job(**changes: object) -> Job:
    fields: dict[str, object] = {
        "id": 1,
        "prompt": np.zeros(5, dtype=np.int32),
        "n": 2,
        "limit": 10,
        "sampling": Sampling(),
        "splitter": SplitterOptions(),
        "seed": 0xFFFFFFFF,
    }
    return Job(Prepared(**(fields | changes)), reserve=7, queued_at=1.0)  # type: ignore[arg-type]


def test_choices_have_slots_and_seeds_of_their_own() -> None:
    job = _job()
    slots = [Slot(3, 16), Slot(4, 16)]
    job.begin(Lease(slots, 2, 0), np.array([9], dtype=np.int32), 2.0)
    assert [choice.slot for choice in job.choices] == slots
    assert [choice.chooser.seed for choice in job.choices] == [0xFFFFFFFF, 0]
    assert (job.cursor, job.reused, job.cost) == (2, 2, 14)
    assert not job.prefilled
    job.choices[0].said, job.choices[1].said = 3, 4
    job.first_at = 5.0
    assert job.usage(9.0) == Usage(5, 7, 2, 0, 0xFFFFFFFF, 1.0, 3.0, 4.0)


def test_deadlines_of_the_queue_end_with_admission() -> None:
    job = _job(queue_deadline=5.0, deadline=8.0)
    assert not job.late(5.0)
    assert job.late(5.1)
    job.begin(Lease([Slot(0, 16), Slot(1, 16)], 0, 0), np.array([9], dtype=np.int32), 2.0)
    assert not job.late(7.9)
    assert job.late(8.1)
