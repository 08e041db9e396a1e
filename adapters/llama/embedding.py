"""Embeddings in the child: inputs packed into batches of a context of their own.

Owns that context (made at the first call), packing, pooling's choice and normalising. Refuses to know encodings and
dialects. Invariants: one batch per call of `step`, so that running streams wait for one batch at most; rows come back
in the order of the inputs; an input never spans batches.
"""

from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt

from adapters.llama import spec
from adapters.llama.ffi import Context, LoadFailed, Model
from adapters.llama.frames import Error, Reply
from adapters.llama.output import Output
from adapters.llama.spec import Setup

_MOST_SEQUENCES = 64
_BY_NUMBER = {"1": "mean", "2": "cls", "3": "last"}
Floats = npt.NDArray[np.float32]


def pooling_of(model: Model, wanted: str) -> str:
    """As configured, else as the file says, else the mean."""
    if wanted != "auto":
        return wanted
    said = model.meta(f"{model.meta('general.architecture')}.pooling_type")
    return _BY_NUMBER.get(said or "", "mean")


@dataclass(slots=True, eq=False)
class EmbedJob:
    """One call: token arrays, what became of them so far."""

    id: int
    inputs: list[npt.NDArray[np.int32]]
    dimensions: int | None
    normalise: bool
    rows: list[Floats] = field(default_factory=list)


class Embedder:
    """`submit`, then `step` until `busy` is False."""

    def __init__(self, model: Model, setup: Setup, out: Output) -> None:
        self._model = model
        self._setup = setup
        self._out = out
        self._jobs: list[EmbedJob] = []
        self._context: Context | None = None
        self.pooling = pooling_of(model, setup.pooling)
        self.longest = setup.embed_tokens
        self.batches = 0

    @property
    def busy(self) -> bool:
        return bool(self._jobs)

    def submit(self, job: EmbedJob) -> None:
        self._jobs.append(job)

    def cancel(self, call_id: int) -> None:
        self._jobs = [job for job in self._jobs if job.id != call_id]

    def step(self) -> bool:
        """One batch; False when there is nothing to do."""
        if not self._jobs:
            return False
        try:
            context = self._context or self._open()
        except LoadFailed as error:
            for job in self._jobs:
                self._out.errors.append(Error(job.id, spec.OVERLOADED, str(error)))
            self._jobs = []
            return True
        packed = self._pack(context)
        code = context.decode(packed[-1][2]) if context.memory else context.encode(packed[-1][2])
        if code != 0:
            for job in {id(job): job for job, _, _ in packed}.values():
                self.cancel(job.id)
                self._out.errors.append(Error(job.id, spec.SERVER, f"llama.cpp could not embed the input ({code})"))
        else:
            for seq, (job, _, _) in enumerate(packed):
                job.rows.append(context.embedding(seq))
        context.clear()
        self.batches += 1
        for job in [job for job in self._jobs if len(job.rows) == len(job.inputs)]:
            self._finish(job)
        return True

    def _open(self) -> Context:
        size = max(self.longest, 512)
        setup = msgspec.structs.replace(
            self._setup, n_ctx=size, n_batch=size, n_ubatch=size, n_seq=_MOST_SEQUENCES, unified=True
        )
        self._context = Context(self._model, setup, embedding=self.pooling)
        return self._context

    def _pack(self, context: Context) -> list[tuple[EmbedJob, int, int]]:
        """(call, index of the input, end row) per sequence, as many as fit; the calls take turns from the front."""
        batch, end = context.batch, 0
        packed: list[tuple[EmbedJob, int, int]] = []
        for job in self._jobs:
            for index in range(len(job.rows), len(job.inputs)):
                tokens = job.inputs[index]
                if len(packed) == _MOST_SEQUENCES or end + len(tokens) > context.n_batch:
                    return packed
                stop = end + len(tokens)
                batch.token[end:stop] = tokens
                batch.pos[end:stop] = np.arange(len(tokens), dtype=np.int32)
                batch.seq[end:stop] = len(packed)
                batch.logits[end:stop] = 1
                packed.append((job, index, stop))
                end = stop
        return packed

    def _finish(self, job: EmbedJob) -> None:
        self._jobs.remove(job)
        rows = np.stack(job.rows)
        if job.dimensions is not None:
            rows = rows[:, : job.dimensions]
        if job.normalise:
            rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        if not np.isfinite(rows).all():
            self._out.errors.append(Error(job.id, spec.SERVER, "the model gave no usable embedding"))
            return
        tokens = sum(len(tokens) for tokens in job.inputs)
        self._out.replies.append(Reply(job.id, blob=rows.astype("<f4").tobytes(), count=tokens))

    def close(self) -> None:
        if self._context is not None:
            self._context.close()
            self._context = None
