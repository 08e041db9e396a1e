"""A chat request in the engine's words: what is given, what is the model's, what is OpenAI's; and what is refused."""

from typing import Any

import pytest

from adapters.llama.request import FORWARDS, MAX_CHOICES, REFUSES, generate
from fakes.chats import chat, model
from proxy.call import Principal
from proxy.config import Constraints
from proxy.errors import BadRequest
from proxy.features import NONE, Features


def test_defaults_are_openais() -> None:
    asked = generate(chat("hi"))
    assert asked.messages == [{"role": "user", "content": "hi"}]
    assert (asked.n, asked.max_tokens, asked.tools, asked.parallel_tool_calls) == (1, None, None, True)
    sampling = asked.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.repetition_penalty) == (1.0, 1.0, 0, 1.0)
    assert (sampling.stop, sampling.logprobs, sampling.min_tokens) == ((), False, 0)


@pytest.mark.parametrize(("given", "temperature"), [({}, 0.3), ({"temperature": 0}, 0.0)])
def test_the_models_own_defaults_come_before(given: dict[str, Any], temperature: float) -> None:
    call = chat(plan=model(constraints=Constraints(temperature=0.3, top_p=0.8)), **given)
    assert generate(call).sampling.temperature == temperature
    assert generate(call).sampling.top_p == 0.8


def test_what_is_given_arrives() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    asked = generate(
        chat(
            n=2, max_tokens=9, max_completion_tokens=5, seed=7, stop="END", stop_token_ids=[3], top_k=-1, min_tokens=2,
            logit_bias={"12": -100}, logprobs=True, top_logprobs=2, tools=[tool], parallel_tool_calls=False,
            principal=Principal(id="tenant"),
        )
    )  # fmt: skip
    assert (asked.n, asked.max_tokens, asked.tools, asked.parallel_tool_calls) == (2, 5, [tool], False)
    assert asked.tenant == "tenant"
    sampling = asked.sampling
    assert (sampling.seed, sampling.stop, sampling.stop_token_ids, sampling.top_k) == (7, ("END",), (3,), 0)
    assert (sampling.logit_bias, sampling.top_logprobs, sampling.min_tokens) == ({12: -100.0}, 2, 2)


@pytest.mark.parametrize(
    ("body", "features", "kwargs"),
    [
        ({}, NONE, {}),
        ({"reasoning_effort": "none"}, NONE, {"enable_thinking": False}),
        ({"chat_template_kwargs": {"a": 1}}, Features(NONE.venice, disable_thinking=True), {"a": 1, "enable_thinking": False}),
    ],
)  # fmt: skip
def test_thinking_is_the_templates(body: dict[str, Any], features: Features, kwargs: dict[str, Any]) -> None:
    assert generate(chat(features=features, **body)).template_kwargs == kwargs


def test_the_features_text_goes_in_front() -> None:
    messages = generate(chat("hi", features=Features(NONE.venice, system="House."))).messages
    assert messages == [{"role": "system", "content": "House."}, {"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": MAX_CHOICES + 1}, "n"),
        ({"logit_bias": {"the": 1}}, "logit_bias"),
        ({"logit_bias": {"-1": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias"),
        ({"min_tokens": -1}, "min_tokens"),
        ({"min_tokens": "2"}, "min_tokens"),
    ],
)
def test_refused(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        generate(chat(**body))
    assert caught.value.param == param


def test_nothing_is_both_forwarded_and_refused() -> None:
    assert not FORWARDS & REFUSES
