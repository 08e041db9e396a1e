"""The options of the mock."""

import msgspec
import pytest

from proxy.mock import MockOptions


def test_the_defaults_listen_on_loopback_only_and_fail_nothing() -> None:
    options = MockOptions()
    assert (options.host, options.port, options.faults) == ("127.0.0.1", 0, ())


def test_options_can_be_written_as_json_and_are_strict() -> None:
    text = b'{"port":8081,"models":["m"],"faults":[{"name":"slow"}],"rate":0.1}'
    options = msgspec.json.decode(text, type=MockOptions)
    assert options.models == ("m",)
    assert options.faults[0].name == "slow"
    with pytest.raises(msgspec.ValidationError, match="ports"):
        msgspec.json.decode(b'{"ports":1}', type=MockOptions)
