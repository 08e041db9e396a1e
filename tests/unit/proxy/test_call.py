"""The data that is passed from stage to stage: what its few computed things say."""

from fakes.chats import chat
from proxy.call import ANYBODY, Call, Dialect, Operation, Target, Usage


def test_a_targets_name_is_its_route() -> None:
    assert str(Target("up", "org/m:v1")) == "up/org/m:v1"


def test_cached_and_reasoning_tokens_are_parts_not_additions() -> None:
    assert Usage(prompt_tokens=5, completion_tokens=3, cached_tokens=4, reasoning_tokens=2).total_tokens == 8


def test_a_call_begins_empty_and_shares_nothing() -> None:
    def made() -> Call:
        return Call(
            id="c",
            operation=Operation.CHAT,
            dialect=Dialect.OPENAI,
            request=None,
            raw=b"",
            fields={},
            principal=ANYBODY,
        )

    first, second = made(), made()
    first.dropped.append("seed")
    first.headers["x"] = "y"
    assert (second.dropped, second.headers, second.attempts, second.plan) == ([], {}, [], None)
    assert second.started >= first.started


def test_a_call_of_the_chat_route() -> None:
    call = chat(stream=True, seed=None, vendor={"a": 1})
    assert call.stream is True
    assert "seed" not in call.fields
    assert bytes(call.fields["vendor"]) == b'{"a": 1}'
