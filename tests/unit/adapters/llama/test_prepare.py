"""Refusals and limits, before anything reaches the engine thread."""

import numpy as np
import pytest

from adapters.llama import ffi, spec
from adapters.llama.prepare import Preparer, Refusal
from adapters.llama.prompting import Prompting
from adapters.llama.spec import Embed, Generate, GrammarSpec, Sampling


@pytest.fixture
def preparer(tiny_model: ffi.Model) -> Preparer:
    return Preparer(tiny_model.vocab, Prompting(tiny_model.templates()), 100, 4)


def test_a_call_is_made_ready(preparer: Preparer) -> None:
    call = preparer.prepare(
        7,
        Generate(
            prompt="abc",
            max_tokens=5,
            sampling=Sampling(seed=-1, stop=("x", "")),
            queue_timeout_s=2.0,
            timeout_s=9.0,
            tenant="t",
            priority=1,
        ),
        100.0,
    )
    assert (call.id, call.limit, call.tenant, call.priority) == (7, 5, "t", 1)
    assert (call.queue_deadline, call.deadline) == (102.0, 109.0)
    assert call.seed == 0xFFFFFFFF
    assert call.splitter.stops == ("x",)
    assert call.prompt.dtype == np.int32


def test_seeds_differ_when_none_is_given(preparer: Preparer) -> None:
    assert len({preparer.prepare(1, Generate(prompt="x"), 0.0).seed for _ in range(5)}) > 1


@pytest.mark.parametrize(("size", "limit"), [(1, 99), (98, 2), (99, 1)])
def test_no_max_tokens_means_what_is_left(preparer: Preparer, size: int, limit: int) -> None:
    assert preparer.prepare(1, Generate(tokens=[97] * size), 0.0).limit == limit


def test_max_tokens_beyond_the_context(preparer: Preparer) -> None:
    request = Generate(tokens=[97] * 90, max_tokens=11)
    assert preparer.prepare(1, request, 0.0).limit == 10
    with pytest.raises(Refusal) as caught:
        preparer.prepare(1, Generate(tokens=[97] * 90, max_tokens=11, clamp=False), 0.0)
    assert (caught.value.code, caught.value.param) == (spec.CONTEXT, "max_tokens")


@pytest.mark.parametrize("size", [100, 101, 5000])
def test_prompts_beyond_the_context(preparer: Preparer, size: int) -> None:
    with pytest.raises(Refusal, match=f"the prompt has {size}") as caught:
        preparer.prepare(1, Generate(tokens=[97] * size), 0.0)
    assert caught.value.code == spec.CONTEXT
    assert caught.value.details == {"prompt_tokens": size, "max_tokens": None, "context_tokens": 100}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"temperature": -0.1}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"min_p": 2.0}, "min_p"),
        ({"max_temp": float("inf")}, "max_temp"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"frequency_penalty": float("nan")}, "frequency_penalty"),
        ({"top_logprobs": 65}, "top_logprobs"),
        ({"logit_bias": {-1: 1.0}}, "logit_bias"),
        ({"logit_bias": {1: float("nan")}}, "logit_bias"),
        ({"stop_token_ids": (320,)}, "stop_token_ids"),
    ],
)
def test_sampling_out_of_range(preparer: Preparer, changes: dict[str, object], param: str) -> None:
    with pytest.raises(Refusal) as caught:
        preparer.prepare(1, Generate(prompt="x", sampling=Sampling(**changes)), 0.0)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.param) == (spec.REFUSED, param)


def test_an_empty_prompt_begins_with_bos(preparer: Preparer, tiny_model: ffi.Model) -> None:
    assert preparer.prepare(1, Generate(prompt=""), 0.0).prompt.tolist() == [tiny_model.vocab.bos]


def test_grammars_are_parsed_once(preparer: Preparer, capfd: pytest.CaptureFixture[str]) -> None:
    wanted = GrammarSpec("root ::= [a-z]+")
    first = preparer.prepare(1, Generate(prompt="x", grammar=wanted), 0.0).grammar
    again = preparer.prepare(2, Generate(prompt="y", grammar=GrammarSpec("root ::= [a-z]+")), 0.0).grammar
    assert first is again is not None
    with pytest.raises(Refusal, match="not valid"):
        preparer.prepare(3, Generate(prompt="x", grammar=GrammarSpec("root ::= (")), 0.0)
    for number in range(100):
        preparer.prepare(1, Generate(prompt="x", grammar=GrammarSpec(f'root ::= "{number}"')), 0.0)
    assert len(preparer._grammars) == 64
    capfd.readouterr()


def test_inputs_of_embeddings(preparer: Preparer) -> None:
    arrays = preparer.inputs(Embed(texts=["a", "bc"], tokens=[[1, 2, 3]]), 10)
    assert [len(array) for array in arrays] == [1, 2, 3]
    for bad, code in (
        (Embed(), spec.REFUSED),
        (Embed(texts=[""]), spec.REFUSED),
        (Embed(tokens=[[]]), spec.REFUSED),
        (Embed(tokens=[[320]]), spec.REFUSED),
        (Embed(texts=["x" * 11]), spec.CONTEXT),
    ):
        with pytest.raises(Refusal) as caught:
            preparer.inputs(bad, 10)
        assert (caught.value.code, caught.value.param) == (code, "input")
