"""Mistakes on purpose: each is one line that says where, what, and what was expected. The same table goes through the real
command in tests/e2e/test_mistakes.py.
"""

from pathlib import Path

import msgspec
import pytest

from adapters.options import KINDS
from fakes.mistakes import BASE, MISTAKES, ONLY_BUILT
from proxy import catalogue, config
from proxy.errors import ConfigError


def checked(file: Path) -> None:
    read = config.load(file, KINDS, {})
    config.size_in_bytes(read.server.max_body_bytes, file=str(file), where="server.max_body_bytes")
    catalogue.build(read, file=str(file))


@pytest.mark.parametrize("name", [name for name in MISTAKES if name not in ONLY_BUILT])
def test_mistake(name: str, tmp_path: Path) -> None:
    text, where, said = MISTAKES[name]
    file = tmp_path / "bad.toml"
    file.write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        checked(file)
    error = caught.value
    assert error.file == str(file)
    assert error.where == where
    assert said in error.message
    assert error.expected
    assert "\n" not in error.message
    assert error.message.startswith(f"{file}: {where}" if where else f"{file}: ")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        config.load(tmp_path / "nowhere.toml", KINDS, {})


def test_variables() -> None:
    text = '[upstreams.e]\nkind="openai"\nbase_url="http://${HOST:-h}:${PORT}/v1"\napi_key="${KEY:-}"'
    read = config.loads(text, KINDS, {"PORT": "1", "HOST": "", "KEY": "s"})
    assert (read.upstreams["e"].base_url, read.upstreams["e"].api_key) == ("http://h:1/v1", "s")
    assert read.upstreams["e"].missing() is None
    without = config.loads(text, KINDS, {"PORT": "1"}).upstreams["e"]
    assert without.missing() == "no api_key is configured"


@pytest.mark.parametrize(
    ("value", "size"), [("32MiB", 32 << 20), ("1 GB", 10**9), (" 5 ", 5), (7, 7), ("0B", 0), ("3KiB", 3072)]
)
def test_sizes(value: str | int, size: int) -> None:
    assert config.size_in_bytes(value) == size


@pytest.mark.parametrize("value", ["", "-1", "1.5MB", "1mb", "MB", -1])
def test_bad_sizes(value: str | int) -> None:
    with pytest.raises(ConfigError):
        config.size_in_bytes(value)


def test_the_good_base_is_good() -> None:
    assert set(config.loads(BASE, KINDS, {}).models) == {"m", "picture"}


def test_the_contract_file() -> None:
    file = Path(__file__).parents[4] / "shared" / "contract" / "traghetto.toml"
    if not file.is_file():
        pytest.skip("shared/contract/traghetto.toml is not beside this checkout")
    read = config.load(file, KINDS, {})
    names = catalogue.build(read)
    assert len(read.upstreams) == 7
    assert names.mapped("gpt-4o", "text") == "llama-3.3-70b"


def test_the_schema_accepts_what_the_loader_accepts() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    import tomllib

    schema = msgspec.to_builtins(config.json_schema(KINDS))
    jsonschema.validate(tomllib.loads(BASE), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"server": {"prot": 1}}, schema)
