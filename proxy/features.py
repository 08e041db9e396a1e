"""What `venice_parameters` ask for, whichever upstream serves: merged from the model's suffix and the body, and checked.

Four of them we honour ourselves on every upstream (thinking stripped or disabled, system prompt, character); the rest
only a Venice upstream can, and asking for one of those elsewhere is refused by name.
"""

import difflib
from typing import Any

import msgspec

from proxy.catalogue import Catalogue
from proxy.errors import NotFound
from proxy.wire.body import converted
from proxy.wire.chat import VeniceParameters


class Features(msgspec.Struct, frozen=True):
    """Effective features of one call. `system` is text to put in front of the messages; `venice` all that was asked."""

    venice: VeniceParameters
    system: str | None = None
    strip_thinking: bool = False
    disable_thinking: bool = False
    foreign_character: str | None = None  # a slug that is not ours: Venice may know it

    @property
    def needs_venice(self) -> str | None:
        """The first parameter that only Venice can honour, or None."""
        for name in _VENICE_ONLY:
            value = getattr(self.venice, name)
            if value not in (None, False, "off", "auto"):
                return name
        return "character_slug" if self.foreign_character else None


_VENICE_ONLY = (
    "enable_web_search",
    "enable_web_citations",
    "include_search_results_in_stream",
    "enable_web_scraping",
    "enable_x_search",
    "return_search_results_as_documents",
    "enable_e2ee",
)
NONE = Features(VeniceParameters())


def features_of(
    body: VeniceParameters | None, suffix: dict[str, Any], catalogue: Catalogue, house_prompt: str = ""
) -> Features:
    """Merge: the body wins over the suffix. Raises BadRequest for a suffix key or value that does not exist."""
    if body is None and not suffix:
        return NONE if not house_prompt else Features(NONE.venice, system=house_prompt)
    asked = converted(suffix, VeniceParameters, "model:") if suffix else VeniceParameters()
    if body is not None:
        given = {f: v for f in VeniceParameters.__struct_fields__ if (v := getattr(body, f)) is not None}
        asked = msgspec.structs.replace(asked, **given)
    character = catalogue.characters.get(asked.character_slug) if asked.character_slug else None
    texts = [house_prompt] if house_prompt and asked.include_venice_system_prompt is not False else []
    if character is not None:
        texts.append(character.system_prompt)
    return Features(
        asked,
        system="\n\n".join(texts) or None,
        strip_thinking=bool(asked.strip_thinking_response),
        disable_thinking=bool(asked.disable_thinking),
        foreign_character=asked.character_slug if asked.character_slug and character is None else None,
    )


def unknown_character(slug: str, catalogue: Catalogue) -> NotFound:
    near = difflib.get_close_matches(slug, list(catalogue.characters), n=3, cutoff=0.0)
    hint = " Did you mean " + ", ".join(repr(n) for n in near) + "?" if near else ""
    return NotFound(
        f"The character {slug!r} does not exist.{hint}",
        param="venice_parameters.character_slug",
        code="character_not_found",
    )
