"""What would happen, told without asking anybody."""

from typing import Any

import msgspec
import pytest

from fakes.chats import chat
from fakes.houses import built
from proxy.dryrun import told
from proxy.errors import ModelUnknown
from proxy.estimate import DEFAULT_OUTPUT

ENV = {"FAR_KEY": "far-away-secret"}


async def dry(**body: Any) -> dict[str, Any]:
    return await told(chat("four", **{"model": "parrot", **body}), built(env=ENV))


@pytest.mark.asyncio
async def test_the_plan_and_each_target() -> None:
    answer = await dry(model="default", seed=5, max_tokens=7)
    assert (answer["object"], answer["asked"], answer["model"]) == ("dry_run", "default", "parrot")
    near, far = answer["targets"]
    assert (near["kind"], near["ready"], near["dropped"]) == ("echo", True, ["seed"])
    assert set(near["parameters"]) == {"max_tokens"}
    assert (far["upstream"], far["model"], far["priority"], far["dropped"]) == ("far", "q", 1, [])
    assert bytes(far["parameters"]["seed"]) == b"5"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("body", "output"),
    [
        ({"max_tokens": 7}, lambda prompt: 7),
        ({"max_tokens": 7, "n": 3}, lambda prompt: 21),
        ({}, lambda prompt: 1000 - prompt),
        ({"max_tokens": 5000}, lambda prompt: 1000 - prompt),
        ({"model": "lonely"}, lambda prompt: DEFAULT_OUTPUT),
    ],
)
async def test_tokens_and_the_worst_price(body: dict[str, Any], output: Any) -> None:
    answer = await dry(**body)
    prompt = answer["tokens"]["prompt"]
    assert prompt > 0
    assert answer["tokens"]["most_output"] == output(prompt)
    if answer["model"] == "parrot":
        assert answer["worst_case_usd"] == pytest.approx((prompt + 2 * output(prompt)) / 1e6)
    else:
        assert answer["worst_case_usd"] is None, "no price is known"


@pytest.mark.asyncio
async def test_a_closed_target_is_told() -> None:
    house = built(env=ENV)
    call = chat("four", model="parrot")
    target = house.resolver.plan(call).targets[0]
    for _ in range(5):
        house.dispatcher.health.failed(target)
    assert [row["ready"] for row in (await told(call, house))["targets"]] == [False, True]


@pytest.mark.asyncio
async def test_it_refuses_what_the_call_itself_would() -> None:
    with pytest.raises(ModelUnknown):
        await dry(model="nobody")


@pytest.mark.asyncio
async def test_an_adapter_says_itself_what_it_would_send() -> None:
    """What one upstream does not take, whatever its kind does, is among what is dropped."""
    house = built(env=ENV)
    far = house.adapters["far"]
    far.options = msgspec.structs.replace(far.options, drops=frozenset({"seed"}))  # type: ignore[attr-defined]
    near, there = (await told(chat("four", model="parrot", seed=5, top_k=3), house))["targets"]
    assert (near["dropped"], there["dropped"], set(there["parameters"])) == (["seed", "top_k"], ["seed"], {"top_k"})
