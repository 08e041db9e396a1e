"""The committed demo model: the file that its card describes, and what it promises to answer word for word."""

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import pytest

from adapters.llama import ffi
from adapters.llama.demo import DEMO_MODEL, demo_model

FOLDER = Path(demo_model()).parent


@pytest.fixture(scope="module")
def fields() -> dict[str, Any]:
    reader = gguf.GGUFReader(DEMO_MODEL)
    return {name: field.contents() for name, field in reader.fields.items()}


def test_the_card_describes_this_file() -> None:
    card = (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")
    data = DEMO_MODEL.read_bytes()
    assert hashlib.sha256(data).hexdigest() in card
    assert f"{len(data):,} bytes" in card
    assert len(data) < 8_000_000
    assert "Apache-2.0" in (FOLDER / "LICENSE").read_text(encoding="utf-8")


def test_the_metadata_say_what_it_is(fields: dict[str, Any], generator: SimpleNamespace) -> None:
    assert fields["general.architecture"] == "llama"
    assert fields["general.license"] == "apache-2.0"
    assert "not a real assistant" in fields["general.description"]
    assert fields["llama.context_length"] == 2048
    assert fields["tokenizer.chat_template"] == generator.chatml.TEMPLATE
    pieces, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    assert pieces[fields["tokenizer.ggml.eos_token_id"]] == generator.chatml.IM_END
    assert pieces[fields["tokenizer.ggml.eot_token_id"]] == generator.chatml.IM_END
    assert [kinds[pieces.index(text)] for text in generator.chatml.CONTROL] == [3, 3, 3]
    assert [kinds[pieces.index(text)] for text in generator.chatml.USER_DEFINED] == [4, 4, 4, 4]
    assert not fields["tokenizer.ggml.add_bos_token"]


def test_no_merge_touches_a_digit(fields: dict[str, Any]) -> None:
    assert not [merge for merge in fields["tokenizer.ggml.merges"] if any(c in "0123456789" for c in merge)]


SETUP = SimpleNamespace(
    n_ctx=2048,
    n_batch=512,
    n_ubatch=512,
    n_seq=1,
    threads=1,
    unified=True,
    swa_full=False,
    flash_attention=None,
    kv_type="f16",
)


class Greedy:
    """Answers of the committed file to one prompt at a time, the most likely token each time."""

    def __init__(self) -> None:
        ffi.start_backend()
        self.model = ffi.Model(str(DEMO_MODEL), 0, True, lambda share: None)
        self.context = ffi.Context(self.model, SETUP)

    def answer(self, prompt: str, limit: int = 200) -> str:
        vocab, batch = self.model.vocab, self.context.batch
        ids = vocab.tokenize(prompt, add_special=True, parse_special=True).tolist()
        self.context.clear()
        out, position = b"", 0
        for _ in range(limit):
            n = len(ids)
            batch.token[:n], batch.pos[:n], batch.seq[:n], batch.logits[:n] = ids, range(position, position + n), 0, 0
            batch.logits[n - 1] = 1
            assert self.context.decode(n) == 0
            position += n
            ids = [int(self.context.logits(1)[0].argmax())]
            if ids[0] in vocab.eog_set:
                return out.decode()
            out += vocab.pieces[ids[0]]
        return out.decode(errors="replace")

    def close(self) -> None:
        self.context.close()
        self.model.close()


@pytest.fixture(scope="module")
def greedy() -> Iterator[Greedy]:
    engine = Greedy()
    yield engine
    engine.close()


def test_it_answers_the_questions_of_the_readme_word_for_word(greedy: Greedy, generator: SimpleNamespace) -> None:
    for question, answer in generator.questions.README:
        assert greedy.answer(generator.chatml.prompt([{"role": "user", "content": question}])) == answer


def test_it_calls_a_tool_that_it_never_saw(greedy: Greedy, generator: SimpleNamespace) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "get_weather", "description": "", "parameters": parameters}}
    asked = [{"role": "user", "content": "What is the weather in Reykjavik?"}]
    wanted = generator.chatml.call_text("get_weather", {"city": "Reykjavik"})
    assert greedy.answer(generator.chatml.prompt(asked, [tool])) == wanted


def test_it_thinks_when_it_is_asked_to(greedy: Greedy, generator: SimpleNamespace) -> None:
    asked = [{"role": "user", "content": "What is Traghetto?"}]
    loud = greedy.answer(generator.chatml.prompt(asked, thinking=True))
    assert loud.startswith("<think>")
    assert loud.partition("</think>")[2].startswith("Traghetto is an OpenAI-compatible proxy")
    assert "<think>" not in greedy.answer(generator.chatml.prompt(asked, thinking=False))


def test_it_keeps_its_score_on_fresh_conversations(greedy: Greedy, generator: SimpleNamespace) -> None:
    """A floor well under the card's figures: it fails for a wrong file, not for a rounding of another CPU."""
    right = 0
    samples = list(itertools.islice(generator.corpus.conversations(20_251_121), 120))
    for sample in samples:
        last = sample.messages[-1]
        calls = (generator.chatml.call_text(**call["function"]) for call in last.get("tool_calls", ()))
        prompt = generator.chatml.prompt(sample.messages[:-1], sample.tools, sample.thinking)
        right += greedy.answer(prompt) == (last.get("content") or "") + "".join(calls)
    assert right >= 0.8 * len(samples)
