"""From a call as it came to a call as the scheduler takes it: rendered, tokenised, checked.

Owns every refusal that needs the model (context, ids, template, grammar) and the caches of grammars. Runs in the
preparing thread of the child; refuses to touch the context. Invariant: what it hands on cannot make llama.cpp abort: ids
are within the vocabulary, the prompt fits, grammars parsed.
"""

import math
import os
from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt

from adapters.llama import spec
from adapters.llama.constraint import Grammar, GrammarError
from adapters.llama.ffi import Vocab
from adapters.llama.job import Prepared
from adapters.llama.prompting import Prompting, Rendered
from adapters.llama.spec import Embed, Generate, GrammarSpec, Sampling
from adapters.llama.vision.native import PictureError, Projector, Seen

Ints = npt.NDArray[np.int32]
_GRAMMARS_KEPT = 64


class Refusal(Exception):
    """The call cannot be done; `code` is one of `spec`'s."""

    def __init__(
        self, code: str, message: str, param: str | None = None, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        self.details = details


class Preparer:
    """One thread's: `prepare` for calls, `tokens` for counting."""

    def __init__(
        self, vocab: Vocab, prompting: Prompting, context_tokens: int, n_seq: int, projector: Projector | None = None
    ) -> None:
        self._vocab = vocab
        self._projector = projector
        self._prompting = prompting
        self._context = context_tokens
        self._n_seq = n_seq
        self._grammars: OrderedDict[GrammarSpec, Grammar] = OrderedDict()

    def prepare(self, call_id: int, request: Generate, received: float) -> Prepared:
        """Raises Refusal."""
        _check(request, self._vocab.size, self._n_seq)
        rendered = self._prompting.render(request)
        seen = self._seen(request, rendered)
        sampling = request.sampling
        prepared = Prepared(
            id=call_id,
            prompt=seen.prompt,
            n=request.n,
            limit=0,
            sampling=sampling,
            splitter=self._prompting.splitter(request, rendered),
            seed=int.from_bytes(os.urandom(4)) if sampling.seed is None else sampling.seed & 0xFFFFFFFF,
            grammar=self._grammar(rendered.grammar),
            close_tokens=self._close_tokens(request, rendered),
            priority=request.priority,
            tenant=request.tenant,
            queue_deadline=_deadline(received, request.queue_timeout_s),
            deadline=_deadline(received, request.timeout_s),
            pictures=seen.pictures,
        )
        prepared.limit = self._limit(request, prepared.tokens(len(seen.prompt)))
        return prepared

    def text(self, request: Generate) -> str:
        """The prompt as the template makes it. Raises PromptError."""
        return self._prompting.render(request).text

    def tokens(self, request: Generate) -> Ints:
        """The prompt's ids, never empty; negative where an image stands. Raises Refusal and PromptError."""
        return self._seen(request, self._prompting.render(request)).prompt

    def _seen(self, request: Generate, rendered: Rendered) -> Seen:
        if not rendered.images or self._projector is None:
            return Seen(self._words(request, rendered), ())
        images = [request.images[number] for number in rendered.images]
        try:
            return self._projector.tokenize(
                rendered.text, images, add_special=rendered.add_special, parse_special=rendered.parse_special
            )
        except PictureError as error:
            raise Refusal(spec.REFUSED, str(error), "messages") from error

    def _words(self, request: Generate, rendered: Rendered) -> Ints:
        if request.tokens is not None:
            prompt = self._ids(request.tokens, "prompt")
        else:
            prompt = self._vocab.tokenize(
                rendered.text, add_special=rendered.add_special, parse_special=rendered.parse_special
            )
        if not len(prompt) and self._vocab.bos >= 0:
            prompt = np.array([self._vocab.bos], dtype=np.int32)
        if not len(prompt):
            raise Refusal(spec.REFUSED, "the prompt is empty", "prompt")
        return prompt

    def inputs(self, request: Embed, longest: int) -> list[Ints]:
        """Token arrays of an embeddings call, none empty or longer than `longest`. Raises Refusal."""
        arrays = [self._vocab.tokenize(text, add_special=True, parse_special=False) for text in request.texts]
        arrays += [self._ids(ids, "input") for ids in request.tokens]
        if not arrays:
            raise Refusal(spec.REFUSED, "there is no input", "input")
        for index, array in enumerate(arrays):
            if not len(array):
                raise Refusal(spec.REFUSED, f"input {index} is empty", "input")
            if len(array) > longest:
                numbers = {"prompt_tokens": len(array), "context_tokens": longest}
                message = f"input {index} has {len(array)} tokens; this model takes at most {longest}"
                raise Refusal(spec.CONTEXT, message, "input", numbers)
        return arrays

    def _ids(self, given: list[int], param: str) -> Ints:
        ids = np.asarray(given, dtype=np.int64)
        if len(ids) and (ids.min() < 0 or ids.max() >= self._vocab.size):
            raise Refusal(spec.REFUSED, f"token ids must be from 0 to {self._vocab.size - 1}", param)
        return ids.astype(np.int32)

    def _limit(self, request: Generate, size: int) -> int:
        room = self._context - size
        wanted = request.max_tokens
        numbers = {"prompt_tokens": size, "max_tokens": wanted, "context_tokens": self._context}
        if room < 1:
            raise Refusal(
                spec.CONTEXT,
                f"This model's maximum context length is {self._context} tokens, and the prompt has {size}.",
                "prompt" if request.messages is None else "messages",
                numbers,
            )
        if wanted is not None and wanted > room and not request.clamp:
            raise Refusal(
                spec.CONTEXT,
                f"This model's maximum context length is {self._context} tokens; {size} in the prompt and {wanted} "
                "to be generated are more.",
                "max_tokens",
                numbers,
            )
        return room if wanted is None else min(wanted, room)

    def _grammar(self, wanted: GrammarSpec | None) -> Grammar | None:
        """Parsed once per text; those used longest ago are forgotten when nothing uses them any more."""
        if wanted is None:
            return None
        grammar = self._grammars.get(wanted)
        if grammar is None:
            try:
                grammar = Grammar(self._vocab, wanted.text, wanted.root, wanted.triggers)
            except GrammarError as error:
                raise Refusal(spec.REFUSED, str(error), "response_format") from error
            self._grammars[wanted] = grammar
            if len(self._grammars) > _GRAMMARS_KEPT:
                self._grammars.popitem(last=False)
        self._grammars.move_to_end(wanted)
        return grammar

    def _close_tokens(self, request: Generate, rendered: Rendered) -> tuple[int, ...]:
        if request.max_reasoning_tokens is None or rendered.reasoning is None:
            return ()
        closing = rendered.reasoning.close + "\n\n"
        return tuple(self._vocab.tokenize(closing, add_special=False, parse_special=True).tolist())


def _deadline(received: float, seconds: float | None) -> float | None:
    return None if seconds is None else received + seconds


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("temperature", 0.0, 100.0),
    ("top_p", 0.0, 1.0),
    ("min_p", 0.0, 1.0),
    ("min_temp", 0.0, 100.0),
    ("max_temp", 0.0, 100.0),
    ("repetition_penalty", 0.01, 100.0),
    ("frequency_penalty", -100.0, 100.0),
    ("presence_penalty", -100.0, 100.0),
)


def _check(request: Generate, n_vocab: int, n_seq: int) -> None:
    """Ranges. Raises Refusal naming the field."""
    sampling = request.sampling
    given = [name for name in ("messages", "prompt", "tokens") if getattr(request, name) is not None]
    if len(given) != 1:
        raise Refusal(spec.REFUSED, "exactly one of messages, prompt and tokens is needed", "messages")
    if not 1 <= request.n <= n_seq:
        raise Refusal(spec.REFUSED, f"n must be from 1 to {n_seq} on this model", "n")
    if request.max_tokens is not None and request.max_tokens < 1:
        raise Refusal(spec.REFUSED, "max_tokens must be at least 1", "max_tokens")
    for name, low, high in _RANGES:
        value = getattr(sampling, name)
        if value is not None and not (math.isfinite(value) and low <= value <= high):
            raise Refusal(spec.REFUSED, f"{name} must be from {low:g} to {high:g}", name)
    if sampling.top_k < 0:
        raise Refusal(spec.REFUSED, "top_k must not be negative", "top_k")
    if not 0 <= sampling.top_logprobs <= 64:
        raise Refusal(spec.REFUSED, "top_logprobs must be from 0 to 64", "top_logprobs")
    _check_ids(sampling, n_vocab)


def _check_ids(sampling: Sampling, n_vocab: int) -> None:
    if any(not 0 <= token < n_vocab for token in sampling.logit_bias):
        raise Refusal(spec.REFUSED, f"token ids in logit_bias must be from 0 to {n_vocab - 1}", "logit_bias")
    if any(not math.isfinite(value) for value in sampling.logit_bias.values()):
        raise Refusal(spec.REFUSED, "values in logit_bias must be finite", "logit_bias")
    if any(not 0 <= token < n_vocab for token in sampling.stop_token_ids):
        raise Refusal(spec.REFUSED, f"stop_token_ids must be from 0 to {n_vocab - 1}", "stop_token_ids")
