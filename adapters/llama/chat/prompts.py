"""From a chat request to the prompt of one model.

Owns the choice among a model's named templates, the reserved variables, the fallbacks (tools by system text, merged
neighbours, turning reasoning off) and what the splitter must know about the prompt's end. Refuses to know tokens and
the wire. Invariant: `Prompts.of` is called once per loaded model; `render` is pure and may be called from any thread.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from adapters.llama.chat.budget import Limits
from adapters.llama.chat.defaults import DEFAULT_NAME, DEFAULT_TEMPLATE, tool_text
from adapters.llama.chat.errors import MessageError, TemplateError, TemplateRefused
from adapters.llama.chat.messages import Conversation, Message, merged
from adapters.llama.chat.template import CompiledTemplate
from adapters.llama.chat.traits import TemplateTraits, describe
from adapters.llama.text.reasoning import ReasoningMarkers

_KEY = "tokenizer.chat_template"
_RESERVED = frozenset(
    (
        "messages",
        "tools",
        "documents",
        "add_generation_prompt",
        "bos_token",
        "eos_token",
    )
)


class ChatRequest(msgspec.Struct, frozen=True):
    """What a prompt is made of, in OpenAI's shapes. `tools` is empty when tool_choice is none."""

    messages: list[Any]
    tools: Sequence[dict[str, Any]] = ()
    parallel_tool_calls: bool = True
    documents: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = {}
    disable_thinking: bool = False
    template: str = ""


class Prompt(msgspec.Struct, frozen=True):
    """The text, the media parts in the order of their markers, and how to read what follows.

    `starts_with_bos`: the tokenizer must not add another. `reasoning`: markers for the splitter, or None.
    `thinking_disabled`: whether a wish to disable it was fulfilled.
    """

    text: str
    media: tuple[dict[str, Any], ...]
    family: str
    reasoning: ReasoningMarkers | None
    starts_with_bos: bool
    thinking_disabled: bool = False


class _Entry(msgspec.Struct, frozen=True):
    template: CompiledTemplate
    traits: TemplateTraits


def _described(template: CompiledTemplate, pieces: Collection[str], default: TemplateTraits) -> TemplateTraits:
    """A named template may need variables that a probe does not know (documents …): then it is taken to be like the
    default one."""
    try:
        return describe(template, pieces)
    except TemplateError:
        return default


class Prompts:
    """The chat templates of one model."""

    def __init__(self, entries: dict[str, _Entry], default_name: str | None, broken: Mapping[str, str]) -> None:
        self._entries = entries
        self.default_name = default_name
        self.broken = broken

    @classmethod
    def of(
        cls,
        metadata: Mapping[str, str],
        *,
        bos: str = "",
        eos: str = "",
        pieces: Collection[str] = (),
        limits: Limits | None = None,
    ) -> "Prompts":
        """Compiles and probes what the GGUF metadata holds. `pieces`: special tokens of the vocabulary.

        `default_name` of the result is the name of our default template when the model has none, else None.
        Raises TemplateError if the default template does not compile or render; a named one that does not compile is
        listed in `broken`.
        """
        sources = {
            key[len(_KEY) + 1 :] or "default": text
            for key, text in metadata.items()
            if isinstance(text, str) and text.strip() and (key == _KEY or key.startswith(f"{_KEY}."))
        }
        default_name = None
        if "default" not in sources:
            default_name = DEFAULT_NAME
            sources["default"] = DEFAULT_TEMPLATE
        template = CompiledTemplate(sources.pop("default"), bos=bos, eos=eos, limits=limits)
        default = _Entry(template, describe(template, pieces))
        entries = {"default": default}
        broken = {}
        for name, source in sources.items():
            try:
                template = CompiledTemplate(source, bos=bos, eos=eos, limits=limits)
            except TemplateError as error:  # a template that nobody may ever name is no reason not to load the model
                broken[name] = str(error)
                continue
            entries[name] = _Entry(template, _described(template, pieces, default.traits))
        return cls(entries, default_name, broken)

    @property
    def names(self) -> tuple[str, ...]:
        """The templates that a request may name."""
        return tuple(self._entries)

    def traits(self, tools: bool = False, name: str = "") -> TemplateTraits:
        """Of the template that would be used. Raises MessageError for an unknown name."""
        return self._choose(tools, name).traits

    def render(
        self,
        request: ChatRequest,
        *,
        media_marker: str | None = None,
        media_kinds: Sequence[str] = (),
    ) -> Prompt:
        """The prompt. `media_marker` is the projector's marker, None without one.

        Raises MessageError, TemplateRefused (the caller's fault) or TemplateError (the model's).
        """
        entry = self._choose(bool(request.tools), request.template)
        traits = entry.traits
        extra = tool_text(request.tools, request.parallel_tool_calls) if request.tools and not traits.tools else ""
        conversation = Conversation(traits, media_marker, media_kinds)
        messages = conversation.take(request.messages, extra)
        variables = self._variables(request, traits)
        text = self._rendered(entry.template, messages, variables)
        switched_off = request.disable_thinking and bool(traits.thinking_switch)
        if request.disable_thinking and not switched_off and traits.prefill_no_think:
            text = self._without_thinking(text, traits)
            switched_off = True
        return Prompt(
            text=text,
            media=tuple(conversation.media),
            family=traits.family if traits.tools else "generic",
            reasoning=self._reasoning(text, traits),
            starts_with_bos=bool(entry.template.bos) and text.startswith(entry.template.bos),
            thinking_disabled=switched_off,
        )

    def _choose(self, tools: bool, name: str) -> _Entry:
        if name:
            if name not in self._entries:
                raise MessageError(
                    "chat_template",
                    f"this model has no template {name!r}; it has {', '.join(self.names)}",
                )
            return self._entries[name]
        if tools and "tool_use" in self._entries:
            return self._entries["tool_use"]
        return self._entries["default"]

    def _variables(self, request: ChatRequest, traits: TemplateTraits) -> dict[str, object]:
        taken = _RESERVED & request.kwargs.keys()
        if taken:
            raise MessageError(
                "chat_template_kwargs",
                f"{min(taken)!r} is not a variable that a request may set",
            )
        variables: dict[str, object] = {"add_generation_prompt": True, **request.kwargs}
        if request.tools and traits.tools:
            variables["tools"] = list(request.tools)
        elif traits.null_tools:
            variables["tools"] = None
        if request.documents:
            variables["documents"] = list(request.documents)
        if request.disable_thinking and traits.thinking_switch:
            variables[traits.thinking_switch] = False
        return variables

    def _rendered(
        self,
        template: CompiledTemplate,
        messages: list[Message],
        variables: dict[str, object],
    ) -> str:
        try:
            return template.render({**variables, "messages": messages})
        except TemplateRefused:
            fewer = merged(messages)
            if len(fewer) == len(messages):
                raise
            return template.render({**variables, "messages": fewer})

    def _without_thinking(self, text: str, traits: TemplateTraits) -> str:
        """The prompt with an empty thought; where the template already opened one, it is closed."""
        bare = text.rstrip()
        if bare.endswith(traits.think_open):
            return f"{bare}\n\n{traits.think_close}\n\n"
        return text + traits.prefill_no_think

    def _reasoning(self, text: str, traits: TemplateTraits) -> ReasoningMarkers | None:
        if not traits.think_open:
            return None
        inside = text.rstrip().endswith(traits.think_open)
        return ReasoningMarkers(traits.think_open, traits.think_close, inside)
