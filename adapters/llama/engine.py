"""A loaded model in its process: contexts, cache, scheduler, embedder and preparer, put together.

Owns loading in order, freeing in reverse order, and the numbers about it all. Refuses to know sockets. Invariant: either
everything is loaded, or LoadFailed is raised and everything is freed.
"""

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from adapters.llama import ffi, frames, gpu, spec
from adapters.llama.constraint import Constraint
from adapters.llama.embedding import Embedder, EmbedJob
from adapters.llama.ffi import LoadFailed
from adapters.llama.job import Prepared
from adapters.llama.kv import KvCache
from adapters.llama.output import Output
from adapters.llama.prepare import Preparer, Refusal
from adapters.llama.prompting import Prompting
from adapters.llama.quarantine import identity
from adapters.llama.scheduler import Scheduler
from adapters.llama.spec import Counters, ModelInfo, Setup
from adapters.llama.tier import HostTier
from adapters.llama.vision.looking import Eye
from adapters.llama.vision.native import Projector

__all__ = ["LoadFailed", "Loaded"]

_ATTENTION_MOST = 256 << 20  # bytes of attention weights at once, without flash attention


class Loaded:
    """What the worker serves. All but `prepare` belongs to the engine thread."""

    def __init__(
        self,
        path: str,
        setup: Setup,
        on_progress: Callable[[float], None],
        on_danger: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """`on_danger` is told why the process may be gone in a moment: mtmd trusts the tensor list of a projector."""
        began = time.monotonic()
        ffi.start_backend()
        self.out = Output()
        self._path = path
        layers = gpu.layers_for(path, setup)
        self.model = ffi.Model(path, layers, setup.use_mmap, _coarse(on_progress))
        self.projector: Projector | None = None
        try:
            if setup.projector and setup.generates:
                on_danger("the process ended over the projector: it lacks tensors, or there is too little memory")
                self.projector = Projector(setup.projector, self.model, setup.threads, gpu=layers > 0)
            setup = _suited(setup, self.model, layers, self.projector)
            self.context = ffi.Context(self.model, setup) if setup.generates else None
        except LoadFailed:
            if self.projector is not None:
                self.projector.close()
            self.model.close()
            raise
        self.scheduler = None if self.context is None else self._scheduler(self.context, setup)
        self.embedder = Embedder(self.model, setup, self.out)
        prompting = self._prompting()
        longest = self.embedder.longest if self.context is None else self.context.n_ctx_seq
        self.context_tokens = min(longest, setup.context_most or longest)
        self.preparer = Preparer(self.model.vocab, prompting, self.context_tokens, setup.n_seq, self.projector)
        self.info = ModelInfo(
            path=path,
            context_tokens=self.context_tokens,
            n_ctx=0 if self.context is None else self.context.n_ctx,
            n_seq=setup.n_seq,
            unified=setup.unified,
            gpu_layers=layers,
            generates=self.context is not None,
            pooling=self.embedder.pooling,
            vision=self.projector is not None,
            load_s=time.monotonic() - began,
            rss=rss(),
            **self.model.numbers(),
            **prompting.described(),
        )

    def _scheduler(self, context: ffi.Context, setup: Setup) -> Scheduler:
        model = self.model
        kv = KvCache(
            context,
            cuttable=not (model.recurrent or model.hybrid),
            window=0 if setup.swa_full else model.n_swa,
            copy_min=setup.copy_min,
            isolate=setup.isolate_cache,
            tier=self._tier(context, setup),
        )
        scheduler = Scheduler(context, model.vocab, kv, setup, self.out)
        if self.projector is not None:
            scheduler.eye = Eye(self.projector, context, kv)
        if setup.backend_sampling:
            scheduler.device.try_out(max(model.vocab.bos, 0))
        return scheduler

    def _tier(self, context: ffi.Context, setup: Setup) -> HostTier | None:
        if not setup.host_cache:
            return None
        folder = None
        if setup.host_cache_dir:
            key = identity(self._path, msgspec.structs.replace(setup, host_cache_dir=""))
            folder = Path(setup.host_cache_dir) / key[:32]
        return HostTier(context, setup.host_cache, folder=folder, isolate=setup.isolate_cache)

    def _prompting(self) -> Prompting:
        vocab = self.model.vocab
        prompting = Prompting(
            self.model.templates(),
            bos=_special(vocab, vocab.bos),
            eos=_special(vocab, vocab.eos),
            pieces=vocab.special_texts.values(),
            image_marker=None if self.projector is None else self.projector.marker,
        )
        vocab.show(prompting.markers())
        return prompting

    # -- the engine thread ----------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return self.embedder.busy or (self.scheduler is not None and self.scheduler.busy)

    def submit(self, item: object) -> None:
        if isinstance(item, EmbedJob):
            self.embedder.submit(item)
        elif isinstance(item, Prepared) and self.scheduler is not None:
            self.scheduler.submit(item)

    def cancel(self, call_id: int) -> None:
        self.embedder.cancel(call_id)
        if self.scheduler is not None:
            self.scheduler.cancel(call_id)

    def step(self) -> bool:
        """One decode and one batch of embeddings; whether anything was done."""
        decoded = self.scheduler is not None and self.scheduler.step()
        return self.embedder.step() or decoded

    def fail_all(self, message: str) -> None:
        if self.scheduler is not None:
            self.scheduler.fail_all(spec.SERVER, message)

    # -- the preparing thread -------------------------------------------------------------------------------------

    def prepare(self, frame: Any, received: float) -> tuple[object | None, frames.Reply | None]:
        """Something for the engine thread, or an answer. Raises Refusal and PromptError."""
        preparer = self.preparer
        if isinstance(frame, frames.EmbedCall):
            inputs = preparer.inputs(frame.request, self.embedder.longest)
            self._check_dimensions(frame.request.dimensions)
            return EmbedJob(frame.id, inputs, frame.request.dimensions, frame.request.normalise), None
        if isinstance(frame, frames.Tokenize):
            tokens = preparer.tokens(frame.request)
            return None, frames.Reply(frame.id, blob=tokens.astype("<i4").tobytes(), count=len(tokens))
        if isinstance(frame, frames.Render):
            return None, frames.Reply(frame.id, text=preparer.text(frame.request))
        if self.scheduler is None:
            raise Refusal(spec.UNSUPPORTED, "this is an embeddings model: it does not generate text")
        return preparer.prepare(frame.id, frame.request, received), None

    def _check_dimensions(self, dimensions: int | None) -> None:
        if dimensions is not None and not 1 <= dimensions <= self.model.n_embd_out:
            raise Refusal(spec.REFUSED, f"dimensions must be from 1 to {self.model.n_embd_out}", "dimensions")

    # -- numbers --------------------------------------------------------------------------------------------------

    def counters(self) -> Counters:
        scheduler = self.scheduler
        if scheduler is None:
            return Counters(rss=rss(), steps=self.embedder.batches)
        kv = scheduler.kv
        return Counters(
            slots=len(kv.slots),
            busy_slots=kv.busy,
            running=scheduler.running,
            waiting=scheduler.waiting,
            reserved_cells=kv.outstanding,
            cached_tokens=kv.cached_tokens,
            grammars=Constraint.alive,
            steps=scheduler.steps,
            decoded_tokens=scheduler.decoded,
            prefilled_tokens=scheduler.prefilled,
            reused_tokens=scheduler.reused,
            evictions=kv.evictions,
            decode_step_s=scheduler.pace.decode_s,
            rss=rss(),
        )

    def close(self) -> None:
        """Frees in reverse order; what idle slots hold goes to the second tier first."""
        if self.scheduler is not None:
            self.scheduler.device.close()
            while self.scheduler.kv.evict():
                pass
        self.embedder.close()
        if self.context is not None:
            self.context.close()
        if self.projector is not None:
            self.projector.close()
        self.model.close()


def rss() -> int:
    """Resident bytes of this process."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _suited(setup: Setup, model: ffi.Model, layers: int, projector: Projector | None) -> Setup:
    """For pictures: with M-RoPE they take more cells than positions, which a shared pool does not count; and where a
    picture attends to all of itself it must fit one ubatch (llama.cpp would abort), so flash attention is left on.

    Without a GPU, plain attention: for few rows it is up to three times as fast as flash attention there.

    (Measured: 8 streams at 1,100 tokens each 57 instead of 133 ms a step; beside a prompt 243 instead of 862.) It needs a
    matrix of ubatch x context x heads, which is kept small by a smaller ubatch.

    In a shared pool a sliding window is kept whole: llama.cpp's small one for the window is full when several sequences
    share its cells, which the count of the pool does not see. (The estimate before loading counts it whole already.)
    """
    if setup.unified and model.n_swa > 0:
        setup = msgspec.structs.replace(setup, swa_full=True)
    if projector is not None and projector.m_rope:
        setup = msgspec.structs.replace(setup, unified=False)
    if projector is not None and projector.non_causal:
        projector.most = setup.n_batch
        return msgspec.structs.replace(setup, n_ubatch=setup.n_batch)
    if setup.flash_attention is not None or layers > 0 or setup.kv_type != "f16":
        return setup
    context = setup.n_ctx if setup.unified else setup.n_ctx // setup.n_seq
    rows = _ATTENTION_MOST // (4 * max(context, 1) * max(model.n_head, 1))
    ubatch = max(32, min(setup.n_ubatch, rows // 32 * 32))
    return msgspec.structs.replace(setup, flash_attention=False, n_ubatch=ubatch)


def _special(vocab: ffi.Vocab, token: int) -> str:
    return vocab.special_piece(token).decode("utf-8", "replace") if token >= 0 else ""


def _coarse(report: Callable[[float], None]) -> Callable[[float], None]:
    """Progress in steps of at least one percent."""
    last = -1.0

    def on_progress(share: float) -> None:
        nonlocal last
        if share >= 1.0 or share - last >= 0.01:
            last = share
            report(share)

    return on_progress
