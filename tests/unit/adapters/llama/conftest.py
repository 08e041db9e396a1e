"""Real models with random weights, and a scheduler in this process to look into."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from adapters.llama import ffi
from adapters.llama.constraint import Grammar
from adapters.llama.job import Prepared
from adapters.llama.kv import KvCache
from adapters.llama.output import Output
from adapters.llama.scheduler import Scheduler
from adapters.llama.spec import Delta, Sampling, Setup, TokenLogprob, Usage
from adapters.llama.text import SplitterOptions
from fakes.gguf_model import Shape, build

GAP = 0.2  # nats: below it, which of two tokens is likelier may depend on the shape of the batch


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quarter of a megabyte; every test process builds its own."""
    return build(tmp_path_factory.mktemp("models") / "tiny.gguf", Shape())


@pytest.fixture(scope="session")
def second_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("models") / "second.gguf", Shape(seed=2), name="second")


@pytest.fixture(scope="session")
def tiny_model(tiny_path: Path) -> ffi.Model:
    ffi.start_backend()
    return ffi.Model(str(tiny_path), 0, True, lambda share: None)


class Bench:
    """A scheduler over a context of its own: submit, run, look."""

    def __init__(self, model: ffi.Model, setup: Setup) -> None:
        self.model = model
        self.context = ffi.Context(model, setup)
        self.out = Output()
        self.kv = KvCache(self.context, copy_min=setup.copy_min, isolate=setup.isolate_cache)
        self.scheduler = Scheduler(self.context, model.vocab, self.kv, setup, self.out)
        self.deltas: dict[int, list[Delta]] = {}
        self.done: dict[int, Usage] = {}
        self.errors: dict[int, str] = {}
        self._ids = itertools.count(1)

    def submit(self, prompt: str | list[int] | np.ndarray, **more: Any) -> int:
        """Keywords go to `Sampling` where it has such a field, else to `Prepared`."""
        tokens = (
            self.model.vocab.tokenize(prompt, add_special=False, parse_special=False)
            if isinstance(prompt, str)
            else np.asarray(prompt, dtype=np.int32)
        )
        fields = {name: more.pop(name) for name in list(more) if name in Sampling.__struct_fields__}
        sampling = Sampling(**{"temperature": 0.0, "logprobs": True, "top_logprobs": 2} | fields)
        number = next(self._ids)
        given: dict[str, Any] = {
            "n": 1,
            "limit": 16,
            "splitter": SplitterOptions(stops=sampling.stop),
            "seed": sampling.seed or 0,
        }
        self.scheduler.submit(Prepared(id=number, prompt=tokens, sampling=sampling, **(given | more)))
        return number

    def step(self) -> bool:
        worked = self.scheduler.step()
        for number, delta in self.out.deltas:
            self.deltas.setdefault(number, []).append(delta)
        self.done.update(self.out.done)
        self.errors.update((error.id, error.code) for error in self.out.errors)
        self.out.deltas, self.out.done, self.out.errors = [], [], []
        self.out.admitted = []
        return worked

    def run(self, steps: int = 20_000) -> None:
        """Until nothing is left to do."""
        for _ in range(steps):
            self.step()
            if not self.scheduler.busy:
                return
        raise AssertionError("the scheduler does not come to an end")

    def tokens(self, number: int, choice: int = 0) -> list[TokenLogprob]:
        deltas = [delta for delta in self.deltas.get(number, []) if delta.choice == choice]
        return [entry for delta in deltas for entry in delta.logprobs or []]

    def text(self, number: int, choice: int = 0) -> str:
        deltas = [delta for delta in self.deltas.get(number, []) if delta.choice == choice]
        return "".join(getattr(event, "text", "") for delta in deltas for event in delta.events)

    def finish(self, number: int, choice: int = 0) -> str | None:
        return next((d.finish for d in self.deltas.get(number, []) if d.choice == choice and d.finish), None)

    def check(self) -> None:
        """What must hold between steps."""
        kv, context = self.kv, self.context
        for slot in kv.slots:
            assert context.pos_max(slot.seq) == slot.n - 1, "a slot and the memory of llama.cpp disagree"
        owners = [choice.slot.seq for job in self.scheduler._jobs.values() for choice in job.choices if not choice.done]
        assert len(owners) == len(set(owners)), "a sequence belongs to two choices"
        leases = [job.lease for job in self.scheduler._jobs.values() if job.lease is not None]
        assert kv.outstanding == sum(lease.outstanding for lease in leases)
        if kv.cells is not None:
            held = kv.cells.held_by(list(kv.slots), None, 0)
            assert kv.cells.free == kv.cells.size - held
            assert kv.outstanding >= 0

    def check_empty(self) -> None:
        """Nothing is left behind by anybody."""
        self.check()
        assert self.kv.busy == 0
        assert self.kv.outstanding == 0
        assert not self.scheduler.busy
        assert self.scheduler.waiting == 0
        assert self.scheduler.running == 0

    def grammar(self, text: str, *triggers: str) -> Grammar:
        return Grammar(self.model.vocab, text, "root", triggers)


SMALL = Setup(n_ctx=4096, n_seq=8, threads=1, chunk=64, n_batch=512)


@pytest.fixture
def bench(tiny_model: ffi.Model) -> Iterator[Callable[..., Bench]]:
    """`bench(unified=True, …)` makes a fresh one; `Setup`'s fields are keywords."""
    made: list[Bench] = []

    def make(**changes: Any) -> Bench:
        made.append(Bench(tiny_model, msgspec.structs.replace(SMALL, **changes)))
        return made[-1]

    yield make
    for one in made:
        one.context.close()


def same(a: list[TokenLogprob], b: list[TokenLogprob]) -> None:
    """Equal tokens; at the first difference the two likeliest must have been all but equally likely."""
    for left, right in zip(a, b, strict=False):
        if left.piece != right.piece:
            gap = abs(left.top[0][1] - left.top[1][1])
            assert gap < GAP, f"{left.piece!r} and {right.piece!r} differ with a gap of {gap:.3f} nats"
            return
    assert len(a) == len(b)


@pytest.fixture
def assert_same() -> Callable[[list[TokenLogprob], list[TokenLogprob]], None]:
    return same
