"""A loaded model in its process: context, cache, scheduler and preparer, put together.

Owns loading in order, freeing in reverse order, and the numbers about it all. Refuses to know sockets and frames' ways.
Invariant: either everything is loaded, or LoadFailed is raised and everything is freed.
"""

import resource
import time
from collections.abc import Callable
from typing import Any

from adapters.llama import ffi, frames
from adapters.llama.constraint import Constraint
from adapters.llama.ffi import LoadFailed
from adapters.llama.job import Prepared
from adapters.llama.kv import KvCache
from adapters.llama.prepare import Preparer
from adapters.llama.prompting import Prompting
from adapters.llama.scheduler import Scheduler
from adapters.llama.spec import Counters, ModelInfo, Setup

__all__ = ["LoadFailed", "Loaded"]


class Loaded:
    """What the worker serves. All but `prepare` belongs to the engine thread."""

    def __init__(self, path: str, setup: Setup, on_progress: Callable[[float], None]) -> None:
        began = time.monotonic()
        ffi.start_backend()
        self.model = ffi.Model(path, setup.gpu_layers, setup.use_mmap, _coarse(on_progress))
        try:
            self.context = ffi.Context(self.model, setup)
        except LoadFailed:
            self.model.close()
            raise
        model, vocab = self.model, self.model.vocab
        kv = KvCache(
            self.context,
            cuttable=not (model.recurrent or model.hybrid),
            window=0 if setup.swa_full else model.n_swa,
            copy_min=setup.copy_min,
            isolate=setup.isolate_cache,
        )
        self.scheduler = Scheduler(self.context, vocab, kv, setup)
        prompting = Prompting(
            model.templates(),
            bos=_special(vocab, vocab.bos),
            eos=_special(vocab, vocab.eos),
            pieces=vocab.special_texts.values(),
        )
        vocab.show(prompting.markers())
        self.preparer = Preparer(vocab, prompting, self.context.n_ctx_seq, self.context.n_seq)
        self.info = ModelInfo(
            path=path,
            context_tokens=self.context.n_ctx_seq,
            n_ctx=self.context.n_ctx,
            n_seq=self.context.n_seq,
            unified=setup.unified,
            gpu_layers=setup.gpu_layers,
            load_s=time.monotonic() - began,
            rss=rss(),
            **model.numbers(),
            **prompting.described(),
        )

    @property
    def busy(self) -> bool:
        return self.scheduler.busy

    def submit(self, item: Prepared) -> None:
        self.scheduler.submit(item)

    def cancel(self, call_id: int) -> None:
        self.scheduler.cancel(call_id)

    def step(self) -> bool:
        """Whether anything was done."""
        return self.scheduler.step()

    def prepare(self, frame: Any, received: float) -> tuple[object | None, frames.Reply | None]:
        """In the preparing thread: something for the engine thread, or an answer. Raises Refusal and PromptError."""
        if isinstance(frame, frames.Gen):
            return self.preparer.prepare(frame.id, frame.request, received), None
        if isinstance(frame, frames.Tokenize):
            tokens = self.preparer.tokens(frame.request)
            return None, frames.Reply(frame.id, blob=tokens.astype("<i4").tobytes(), count=len(tokens))
        return None, frames.Reply(frame.id, text=self.preparer.text(frame.request))

    def counters(self) -> Counters:
        scheduler, kv = self.scheduler, self.scheduler.kv
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
        """Frees in reverse order."""
        self.context.close()
        self.model.close()


def rss() -> int:
    """Resident bytes of this process."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


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
