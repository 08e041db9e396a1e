"""A model with eyes, and a loaded engine of it in this process to ask."""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.llama import ffi, frames
from adapters.llama.engine import Loaded
from adapters.llama.job import Prepared
from adapters.llama.spec import Delta, Generate, Sampling, Setup, TokenLogprob, Usage
from adapters.llama.vision.native import Projector
from fakes.gguf_model import Shape, build
from fakes.gguf_projector import build_projector


@pytest.fixture(scope="session")
def seeing_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("models") / "seeing.gguf", Shape(kind="f32"))


@pytest.fixture(scope="session")
def projector_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_projector(tmp_path_factory.mktemp("models") / "mmproj.gguf")


@pytest.fixture(scope="session")
def seeing_model(seeing_path: Path) -> ffi.Model:
    ffi.start_backend()
    return ffi.Model(str(seeing_path), 0, True, lambda share: None)


@pytest.fixture
def projector(seeing_model: ffi.Model, projector_path: Path) -> Iterator[Projector]:
    made = Projector(str(projector_path), seeing_model, 1, gpu=False)
    yield made
    made.close()


class Engine:
    """`submit` chats with pictures, `run`, look."""

    def __init__(self, model: Path, setup: Setup) -> None:
        self.loaded = Loaded(str(model), setup, lambda share: None)
        self.deltas: dict[int, list[Delta]] = {}
        self.done: dict[int, Usage] = {}
        self.errors: dict[int, str] = {}
        self._ids = itertools.count(1)

    def prepared(self, text: str, *images: bytes, behind: str = "", **more: Any) -> Prepared:
        """A user's message: the text, the pictures, the text behind."""
        parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
        parts += [{"type": "image_url", "image": number} for number in range(len(images))]
        parts += [{"type": "text", "text": behind}] if behind else []
        sampling = Sampling(temperature=0.0, logprobs=True, top_logprobs=5, ignore_eos=True)
        messages = [{"role": "user", "content": parts}]
        fields = {"max_tokens": 12, "sampling": sampling, **more}
        request = Generate(messages=messages, images=list(images), **fields)
        item, _ = self.loaded.prepare(frames.Gen(next(self._ids), request), time.monotonic())
        assert isinstance(item, Prepared)
        return item

    def submit(self, text: str, *images: bytes, **more: Any) -> int:
        item = self.prepared(text, *images, **more)
        self.loaded.submit(item)
        return item.id

    def step(self) -> bool:
        worked = self.loaded.step()
        out = self.loaded.out
        for number, delta in out.deltas:
            self.deltas.setdefault(number, []).append(delta)
        self.done.update(out.done)
        self.errors.update((error.id, error.code) for error in out.errors)
        out.deltas, out.done, out.errors, out.admitted = [], [], [], []
        return worked

    def run(self) -> None:
        for _ in range(5000):
            if not self.loaded.busy:
                return
            self.step()
        raise AssertionError("the engine does not come to an end")

    def ask(self, text: str, *images: bytes, **more: Any) -> tuple[list[TokenLogprob], Usage]:
        number = self.submit(text, *images, **more)
        self.run()
        assert number in self.done, self.errors
        return self.tokens(number), self.done[number]

    def tokens(self, number: int, choice: int = 0) -> list[TokenLogprob]:
        deltas = [delta for delta in self.deltas.get(number, []) if delta.choice == choice]
        return [entry for delta in deltas for entry in delta.logprobs or []]


SMALL = Setup(n_ctx=2048, n_seq=4, threads=1, n_batch=256, n_ubatch=256, chunk=32, embed_tokens=256)


@pytest.fixture
def engine(seeing_path: Path, projector_path: Path) -> Iterator[Callable[..., Engine]]:
    """`engine(unified=True, …)` loads a fresh one; `Setup`'s fields are keywords, `model` another file."""
    made: list[Engine] = []

    def make(model: Path = seeing_path, **changes: Any) -> Engine:
        fields = {name: getattr(SMALL, name) for name in Setup.__struct_fields__}
        made.append(Engine(model, Setup(**{**fields, "projector": str(projector_path), **changes})))
        return made[-1]

    yield make
    for one in made:
        one.loaded.close()
