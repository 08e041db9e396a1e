"""An upstream of a kind that is not spoken: it is listed with its reason, and every use of it is refused before it starts."""

from typing import Any

import pytest

from adapters import KINDS, build
from adapters.options import KINDS as OPTIONS
from adapters.options import AnthropicOptions
from adapters.unbuilt import Unbuilt
from proxy.call import Target
from proxy.errors import Fault, UpstreamError


@pytest.mark.asyncio
async def test_it_refuses_and_says_which_kind() -> None:
    unbuilt = Unbuilt("claude", "morse")
    assert "'morse'" in unbuilt.missing
    assert unbuilt.caps.operations == frozenset()
    call: Any = None
    for work in (unbuilt.open(call, Target("claude", "m")), unbuilt.probe(), unbuilt.probe(Target("claude", "m"))):
        with pytest.raises(UpstreamError, match="'claude' cannot be used") as caught:
            await work
        assert (caught.value.fault, caught.value.status, caught.value.accepted) == (Fault.UNSUPPORTED, 501, False)
    await unbuilt.aclose()


def test_what_has_no_builder_is_unbuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(KINDS, "anthropic", raising=False)
    built: Any = build("claude", AnthropicOptions(api_key="k"))
    assert isinstance(built, Unbuilt)
    assert (built.name, built.kind) == ("claude", "anthropic")


def test_every_builder_is_of_a_kind_that_the_configuration_knows() -> None:
    assert set(KINDS) <= set(OPTIONS)
