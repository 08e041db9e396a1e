"""How targets name models."""

import hashlib

import pytest

from adapters.vaikerai.reference import Reference
from proxy.errors import ModelUnknown

HASH = hashlib.sha256(b"x").hexdigest()


@pytest.mark.parametrize(
    ("text", "path", "name", "version"),
    [
        ("o/n", "/models/o/n/predictions", "o/n", ""),
        (f"o/n:{HASH}", "/predictions", "o/n", HASH),
        (HASH, "/predictions", "", HASH),
        ("deployment:o/n", "/deployments/o/n/predictions", "o/n", ""),
        ("o/n?x#y", "/models/o/n%3Fx%23y/predictions", "o/n%3Fx%23y", ""),
    ],
)
def test_references(text: str, path: str, name: str, version: str) -> None:
    reference = Reference(text)
    assert (reference.path, reference.name, reference.version, reference.text) == (path, name, version, text)


@pytest.mark.parametrize("text", ["../account", "o/..", "o//n", "/", "deployment:./x", "..:" + HASH])
def test_a_name_leads_nowhere_else(text: str) -> None:
    with pytest.raises(ModelUnknown):
        Reference(text)
