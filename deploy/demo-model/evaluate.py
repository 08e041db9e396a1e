"""Score a GGUF with llama.cpp: `python evaluate.py demo.gguf` (in an environment that has llama-cpp-python and jinja2).

Owns the measure: greedy answers, exact match by category on fresh conversations, the fixed lists of `questions`, the
phrasings of `facts` that training never saw, and (with `--tokenizer`) whether the token ids are those of the training.
"""

import argparse
import itertools
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import chatml
import corpus
import facts
import jinja2
import llama_cpp
import llama_cpp.llama_cpp as lib
import questions

REFUSALS = (
    facts.REFUSAL,
    facts.REFUSAL_CODE,
    facts.REFUSAL_WRITING,
    facts.REFUSAL_TRANSLATE,
    facts.REFUSAL_BIG_NUMBERS,
    "I can only do one operation at a time.",
)
SEED = 987_654


_defaults = lib.llama_model_default_params


def _without_extra_buffers() -> Any:
    """llama.cpp's defaults but for the AMX kernels, which crash where gcc 12 compiled them."""
    params = _defaults()
    params.use_extra_bufts = False
    return params


class Engine:
    """Greedy answers from one model; the prompt is rendered by the template inside the file."""

    def __init__(self, path: Path) -> None:
        lib.llama_model_default_params = _without_extra_buffers
        self.llama = llama_cpp.Llama(str(path), n_ctx=2048, n_threads=1, verbose=False)
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
        environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
        self.template = environment.from_string(self.llama.metadata["tokenizer.chat_template"])

    def ids(self, text: str) -> list[int]:
        return list(self.llama.tokenize(text.encode(), add_bos=False, special=True))

    def answer(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None = None,
        thinking: bool | None = None,
        limit: int = 200,
    ) -> str:
        extra = {} if thinking is None else {"enable_thinking": thinking}
        text = self.template.render(messages=messages, tools=tools, add_generation_prompt=True, **extra)
        written: list[int] = []
        for token in self.llama.generate(self.ids(text), temp=0.0, top_k=1, repeat_penalty=1.0):
            if token == self.llama.token_eos() or len(written) >= limit:
                break
            written.append(token)
        return self.llama.detokenize(written, special=True).decode(errors="replace")


def expected(message: dict[str, Any]) -> str:
    calls = (
        chatml.call_text(call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls", ())
    )
    return (message.get("content") or "") + "".join(calls)


def by_category(engine: Engine, count: int, show: int) -> dict[str, tuple[int, int]]:
    """Exact matches and tries per category, on the last answer of `count` fresh conversations and a few long ones."""
    rng = random.Random(SEED)
    fresh = itertools.islice(corpus.conversations(SEED), count)
    long = (corpus.recall(rng, rng.randint(10, 30)) for _ in range(max(1, count // 40)))
    scores: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, sample in itertools.chain(((s.category, s) for s in fresh), (("long recall", s) for s in long)):
        wanted = expected(sample.messages[-1])
        given = engine.answer(sample.messages[:-1], sample.tools, sample.thinking)
        scores[name][0] += given == wanted
        scores[name][1] += 1
        if given != wanted and show > 0:
            show -= 1
            print(f"  [{name}] {sample.messages[-2]['content']!r}\n    wanted {wanted!r}\n    given  {given!r}")
    return {name: (right, tries) for name, (right, tries) in sorted(scores.items())}


def fixed(engine: Engine, pairs: list[tuple[str, tuple[str, ...]]], show: bool) -> tuple[int, int]:
    """How many single questions are answered with one of the given answers."""
    right = 0
    for question, wanted in pairs:
        given = engine.answer([{"role": "user", "content": question}])
        right += given in wanted
        if given not in wanted and show:
            print(f"  {question!r}\n    given  {given!r}")
    return right, len(pairs)


def same_ids(engine: Engine, tokenizer_path: Path, count: int) -> tuple[int, int]:
    """How many of `count` generated texts llama.cpp cuts into the ids that training saw."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    same = 0
    for sample in itertools.islice(corpus.conversations(SEED + 1), count):
        text = "".join(part.text for part in chatml.segments(sample.messages, sample.tools, sample.thinking))
        parts = [
            id
            for part in chatml.segments(sample.messages, sample.tools, sample.thinking)
            for id in tokenizer.encode(part.text).ids
        ]
        same += engine.ids(text) == tokenizer.encode(text).ids == parts
    return same, count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--show", type=int, default=20, help="how many mistakes to print")
    options = parser.parse_args()
    engine = Engine(options.model)
    if options.tokenizer:
        same, tried = same_ids(engine, options.tokenizer, 1000)
        print(f"same token ids: {same}/{tried}")
    known = facts.FACTS + facts.SMALL_TALK
    trained = [(question, (fact.answer,)) for fact in known for question in fact.trained]
    held = [(question, (fact.answer,)) for fact in known for question in fact.held]
    for name, pairs in (
        ("README", [(question, (answer,)) for question, answer in questions.README]),
        ("facts, trained phrasings", trained),
        ("facts, phrasings never trained", held),
        ("outside, any refusal", [(question, REFUSALS) for question in questions.OUTSIDE]),
    ):
        right, tried = fixed(engine, pairs, options.show > 0)
        print(f"{name}: {right}/{tried}")
    scores = by_category(engine, options.count, options.show)
    for name, (right, tries) in scores.items():
        print(f"{name}: {right}/{tries} = {100 * right / tries:.1f} %")


if __name__ == "__main__":
    main()
