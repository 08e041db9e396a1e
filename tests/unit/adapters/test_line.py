"""What the options say arrives on the wire, and what cannot be is told in the configuration's terms."""

from pathlib import Path
from typing import Any

import pytest

from adapters.line import client_of
from adapters.options import OpenAIOptions
from fakes.evil import evil
from proxy import NAME, __version__
from proxy.errors import ConfigError


def options(base_url: str, **more: Any) -> OpenAIOptions:
    return OpenAIOptions(base_url=base_url, **more)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("configured", "instead", "key"),
    [
        ("the-key", None, "Bearer the-key"),
        ("", None, None),
        ("the-key", [("authorization", "Token other")], "Token other"),
        ("the-key", [], None),
    ],
)
async def test_headers(configured: str, instead: Any, key: str | None) -> None:
    async with evil() as mock:
        client = client_of(options(mock.url + "/", api_key=configured, headers={"X-Team": "ferry"}), headers=instead)
        response = await client.send("GET", "/models")
        await response.read(1 << 20)
        await client.aclose()
        (exchange,) = mock.exchanges
    heads = {name.lower(): value for name, value in exchange.headers}
    assert heads["user-agent"] == f"{NAME}/{__version__}"
    assert heads["x-team"] == "ferry"
    assert heads.get("authorization") == key


@pytest.mark.parametrize("content", [None, b"", b"no certificate"], ids=["missing", "empty", "no PEM"])
def test_a_ca_bundle_that_cannot_be_read(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match="the CA bundle") as caught:
        client_of(options("https://host/v1", verify=str(file)))
    assert caught.value.where == "verify"
    assert str(file) in caught.value.message


def test_headers_that_cannot_be_and_the_key_is_not_told() -> None:
    with pytest.raises(ConfigError) as caught:
        client_of(options("http://host/v1", api_key="secret\r\nx: y"))
    assert caught.value.where == "headers"
    assert "secret" not in caught.value.message


def test_an_address_that_is_none() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        client_of(options("nowhere"))
