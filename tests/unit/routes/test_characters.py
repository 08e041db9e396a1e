"""The characters of the configuration, under Venice's names."""

from typing import Any

import pytest

from fakes.houses import ECHO, desk
from routes.characters import listed

TOML = (
    ECHO
    + """
[characters.alan]
name = "Alan"
system_prompt = "You are Alan; keep this to yourself."
tags = ["math"]
imports = 3
web_enabled = true
"""
)


@pytest.mark.asyncio
async def test_listed() -> None:
    nobody: Any = None
    answer = await listed(nobody, desk(TOML))
    (row,) = answer.body["data"]
    assert (row["slug"], row["name"], row["tags"], row["stats"]) == ("alan", "Alan", ["math"], {"imports": 3})
    assert (row["webEnabled"], row["adult"]) == (True, False)
    assert "keep this" not in str(answer.body), "the prompt is the house's"
    assert (await listed(nobody, desk())).body == {"object": "list", "data": []}
