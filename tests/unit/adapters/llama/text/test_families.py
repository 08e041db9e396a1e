"""The family table is data that parser, grammar and template detection share."""

from adapters.llama.text.families import FAMILIES


def test_each_family_can_be_recognised() -> None:
    for name, family in FAMILIES.items():
        assert family.name == name
        assert family.bare or family.open
        assert family.args_key in ("arguments", "parameters")
