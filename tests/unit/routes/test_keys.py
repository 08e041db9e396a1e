"""api_keys over sockets: made, listed, used, revoked; an inference key may not look."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from fakes.accounts import WALLET, WALLET_KEY, Keyed, keyed
from fakes.gateway import gateway


def test_the_life_of_a_key(tmp_path: Path) -> None:
    with (
        gateway(f'[store]\nurl = "sqlite:///{tmp_path}/t.db"\n') as gate,
        httpx2.Client(base_url=gate.venice) as client,
    ):

        def call(method: str, key: str = "", **more: object) -> httpx2.Response:
            headers = {"authorization": f"Bearer {key}"} if key else {}
            return client.request(method, "/api_keys", headers=headers, **more)  # type: ignore[arg-type]

        admin = call("POST", json={"apiKeyType": "ADMIN", "description": "first"}).json()["data"]["apiKey"]
        assert call("GET").status_code == 401
        assert call("GET", admin + "x").status_code == 401
        limited = {"apiKeyType": "INFERENCE", "description": "app", "consumptionLimit": {"usd": 5}}
        made = call("POST", admin, json=limited).json()["data"]
        assert (made["consumptionLimit"]["usd"], made["apiKeyType"]) == (5.0, "INFERENCE")
        assert call("GET", made["apiKey"]).status_code == 403
        rows = call("GET", admin).json()["data"]
        assert [row["description"] for row in rows] == ["app", "first"]
        assert made["apiKey"] not in call("GET", admin).text
        assert call("DELETE", admin).status_code == 400
        assert call("DELETE", admin, params={"id": "nobody"}).status_code == 400
        assert call("DELETE", admin, params={"id": made["id"]}).json() == {"success": True}
        assert call("GET", made["apiKey"]).status_code == 401
        assert client.get("/characters", headers={"x-api-key": admin}).status_code == 200
        secrets = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
        assert admin.encode() not in secrets


def signed(token: str, secret: str = WALLET_KEY) -> str:
    return "0x" + Account.sign_message(encode_defunct(text=token), secret).signature.hex().removeprefix("0x")


def test_a_wallet_of_the_list_gets_a_key_once_for_a_token(tmp_path: Path) -> None:
    path = "/api/v1/api_keys/generate_web3_key"
    with keyed(tmp_path, f'[auth]\nwallets = ["{WALLET.upper().replace("0X", "0x")}"]\n') as gate:

        def token() -> str:
            return str(gate.ask("GET", path).json()["data"]["token"])

        def post(given: str, **more: object) -> httpx2.Response:
            body = {"apiKeyType": "INFERENCE", "address": WALLET, "token": given, "signature": signed(given), **more}
            return gate.ask("POST", path, json=body)

        first = token()
        assert post(first, expiresAt="soon").status_code == 400, "and the token is not spent on it"
        made = post(first, consumptionLimit={"usd": 2}).json()
        assert made["success"] is True
        assert (made["data"]["description"], made["data"]["consumptionLimit"]["usd"]) == ("Web3 API Key", 2.0)
        assert gate.chat(made["data"]["apiKey"]).status_code == 200
        assert post(first).status_code == 401, "spent"
        second = token()
        assert post(second, signature=signed(first)).status_code == 401
        assert post(second, token=second[:-4] + "AAAA").status_code == 401
        stranger = "0x" + "22" * 32
        address = Account.from_key(stranger).address
        assert post(second, address=address, signature=signed(second, stranger)).status_code == 403
        assert post(second, address=address).status_code == 401, "another wallet's signature"
        assert post(second, address="0x12").status_code == 400
        assert gate.ask("POST", path, json={"apiKeyType": "ADMIN"}).status_code == 400


def test_without_wallets_there_is_no_such_way(tmp_path: Path) -> None:
    with keyed(tmp_path) as gate:
        for method, body in (("GET", None), ("POST", {})):
            answer = gate.ask(method, "/v1/api_keys/generate_web3_key", json=body)
            assert answer.status_code == (501 if method == "GET" else 400)


def test_what_a_key_spent_and_when_it_was_used(tmp_path: Path) -> None:
    with keyed(tmp_path) as gate:
        assert gate.chat().status_code == 200
        rows = {row["id"]: row for row in gate.ask("GET", "/api/v1/api_keys", gate.admin).json()["data"]}
        mine = rows[gate.user_id]
        assert mine["usage"]["trailingSevenDays"]["usd"] == f"{gate.rows()[0]['amount_micro'] / 1e6:.6f}".rstrip("0")
        assert mine["last6Chars"] == gate.user[-6:]
        assert mine["lastUsedAt"] is not None
        assert rows[gate.admin_id]["usage"]["trailingSevenDays"] == {"usd": "0", "diem": "0", "vcu": "0"}


def test_twenty_keys_a_minute(tmp_path: Path) -> None:
    wish = {"apiKeyType": "INFERENCE", "description": "x"}
    with keyed(tmp_path) as gate:
        answers = [gate.ask("POST", "/api/v1/api_keys", gate.admin, json=wish) for _ in range(19)]
        assert [answer.status_code for answer in answers] == [200] * 18 + [429]
        assert 0 < int(answers[-1].headers["retry-after"]) <= 60


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("", None),
        (None, None),
        ("2090-02-03", "2090-02-03T00:00:00.000Z"),
        ("2090-02-03T04:05:06Z", "2090-02-03T04:05:06.000Z"),
        ("2090-02-03T04:05:06.789Z", "2090-02-03T04:05:06.789Z"),
    ],
)
def test_the_forms_of_an_end(door: Keyed, given: str | None, shown: str | None) -> None:
    wish = {"apiKeyType": "INFERENCE", "description": "x", "expiresAt": given}
    answer = door.ask("POST", "/v1/api_keys", door.admin, json=wish)
    assert answer.json()["data"]["expiresAt"] == shown


@pytest.mark.parametrize(
    "given", ["2001-01-01", "2090-02-30", "tomorrow", "2090-02-03 04:05:06", "2090-02-03T04:05:06"]
)
def test_what_is_no_end(door: Keyed, given: str) -> None:
    wish = {"apiKeyType": "INFERENCE", "description": "x", "expiresAt": given}
    answer = door.ask("POST", "/v1/api_keys", door.admin, json=wish)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "expiresAt")


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    with keyed(tmp_path_factory.mktemp("keys")) as running:
        yield running
