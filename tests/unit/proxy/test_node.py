"""An engine node's configuration, and its door."""

import pytest

from adapters.options import KINDS
from proxy import config as configuration
from proxy.errors import ConfigError, KeyInvalid, NotSupported
from proxy.node import Address, OneKey, Served, parse_address, parse_model, tree


@pytest.mark.parametrize(
    ("text", "served"),
    [
        ("demo", Served("demo", "demo")),
        ("/models/big-Q4_K_M.gguf", Served("big-Q4_K_M", "/models/big-Q4_K_M.gguf")),
        ("llama=o/n/x.gguf", Served("llama", "o/n/x.gguf")),
        ("llama-3.3-70b=/a b/x=y.gguf", Served("llama-3.3-70b", "/a b/x=y.gguf")),
    ],
)
def test_models(text: str, served: Served) -> None:
    assert parse_model(text) == served


@pytest.mark.parametrize("text", ["", "=x", "a b=x", "name="])
def test_no_models(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_model(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8800", Address("127.0.0.1", 8800)),
        ("[::1]:0", Address("::1", 0)),
        (":8800", Address("0.0.0.0", 8800)),
        ("unix:/run/x.sock", Address(path="/run/x.sock")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "8800", "host:", "host:99999", "unix:", "::1:80"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_address(text)


def test_the_tree_is_a_configuration() -> None:
    rows = [(Served("a", "/a.gguf"), "text"), (Served("b", "/b.gguf"), "text"), (Served("v", "/v.gguf"), "embedding")]
    made = tree(rows, {"keep_loaded_s": -1, "max_loaded": 3}, Address("127.0.0.1", 1))
    config = configuration.decode(made, KINDS, {}, file="test")
    assert list(config.models) == ["a", "b", "v"]
    assert config.upstreams["local"].max_loaded == 3
    assert not config.store.ledger
    with pytest.raises(ConfigError, match="two models"):
        tree([rows[0], rows[0]], {}, Address())


@pytest.mark.asyncio
async def test_the_door() -> None:
    with pytest.raises(ConfigError, match="let everybody in"):
        OneKey("", Address("0.0.0.0", 1))
    for address in (Address("127.0.0.1", 1), Address(path="/x")):
        assert not OneKey("", address).required
    door = OneKey("right", Address("0.0.0.0", 1))
    assert door.required
    assert door.principal("right").admin
    for secret in ("", "wrong", "righ", "right ", "\udcff"):
        with pytest.raises(KeyInvalid):
            door.principal(secret)
    with pytest.raises(NotSupported):
        await door.store()
