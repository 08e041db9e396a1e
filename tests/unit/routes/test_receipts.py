"""requests/{id} over sockets: the receipt of one's own calls."""

from collections.abc import Iterator

import pytest

from fakes.accounts import Keyed, keyed


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    with keyed(tmp_path_factory.mktemp("books")) as running:
        yield running


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("prefix", ["/v1", "/api/v1"])
def test_the_receipt_of_a_call_is_there_when_its_answer_is(gate: Keyed, prefix: str, stream: bool) -> None:
    asked = gate.chat(path=prefix, stream=stream)
    told = gate.ask("GET", f"{prefix}/requests/{asked.headers['x-request-id']}", gate.user).json()
    assert (told["object"], told["keyId"], told["ending"], told["stream"]) == (
        "receipt",
        gate.user_id,
        "finished",
        stream,
    )
    assert (told["model"], told["upstream"], told["target"]) == ("m", "e", "p")
    assert [attempt["reason"] for attempt in told["attempts"]] == ["first"]
    assert told["charge"]["amountMicro"] == sum(line["amountMicro"] for line in told["charge"]["lines"]) > 0


def test_ones_own_only_and_all_for_an_administrator(gate: Keyed) -> None:
    path = f"/v1/requests/{gate.chat().headers['x-request-id']}"
    other, _ = gate.made()
    assert gate.ask("GET", path, other).status_code == 404
    assert gate.ask("GET", path, gate.admin).status_code == 200
    assert gate.ask("GET", path).status_code == 401


def test_there_is_none_of_what_reached_nobody(gate: Keyed) -> None:
    refused = gate.chat(model="nobody's")
    assert refused.status_code == 404
    for id_ in (refused.headers["x-request-id"], "req_unheard", "%27%20or%20%271"):
        answer = gate.ask("GET", f"/v1/requests/{id_}", gate.admin)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_an_unknown_price_has_no_amount(gate: Keyed) -> None:
    asked = gate.chat(model="free")
    charge = gate.ask("GET", f"/v1/requests/{asked.headers['x-request-id']}", gate.user).json()["charge"]
    assert charge["amount"] is None
