"""The model's own way of being asked: its chat template, its marks for reasoning and tool calls, its grammars.

Owns the meeting of `chat`, `grammar` and `text` for one loaded model. Refuses to know tokens and llama.cpp: it is given
the model's metadata and special texts once. Invariant: what a grammar forces is what the splitter looks for.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.llama import spec
from adapters.llama.chat import ChatRequest, MessageError, Prompts, TemplateError, TemplateRefused
from adapters.llama.grammar import UnsupportedSchema, from_response_format, from_tools
from adapters.llama.spec import Generate, GrammarSpec
from adapters.llama.text import FAMILIES, ReasoningMarkers, SplitterOptions, ToolOptions

_IMAGES = ("image_url",)


class PromptError(Exception):
    """The call cannot be put to this model; `code` is one of `spec`'s."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt as text, how to tokenise it, and what to look for in the answer."""

    text: str
    images: tuple[int, ...] = ()  # the call's images, in the order of their markers in the text
    add_special: bool = True
    parse_special: bool = False
    reasoning: ReasoningMarkers | None = None
    tools: ToolOptions | None = None
    grammar: GrammarSpec | None = None


class Prompting:
    """Stateless after construction but for compiled templates; used by one thread."""

    def __init__(
        self,
        metadata: Mapping[str, str],
        *,
        bos: str = "",
        eos: str = "",
        pieces: Collection[str] = (),
        image_marker: str | None = None,
    ) -> None:
        self._image_marker = image_marker
        self.trouble = ""
        self._prompts: Prompts | None = None
        try:
            self._prompts = Prompts.of(metadata, bos=bos, eos=eos, pieces=pieces)
        except TemplateError as error:
            self.trouble = str(error)  # the model still serves bare prompts

    def described(self) -> dict[str, Any]:
        """What `ModelInfo` says about it."""
        if self._prompts is None:
            return {"template_trouble": self.trouble}
        traits = self._prompts.traits()
        return {
            "chat_template": self._prompts.default_name or "model",
            "templates": self._prompts.names,
            "tool_family": self._prompts.traits(tools=True).family,
            "takes_tools": self._prompts.traits(tools=True).tools,
            "reasoning_markers": (traits.think_open, traits.think_close) if traits.think_open else None,
        }

    def markers(self) -> frozenset[str]:
        """Special texts that the splitter looks for, so they must not be rendered as nothing."""
        found = {text for family in FAMILIES.values() for text in (family.open, family.close) if text}
        if self._prompts is not None:
            traits = self._prompts.traits()
            found |= {traits.think_open, traits.think_close}
        return frozenset(found - {""})

    def render(self, request: Generate) -> Rendered:
        """Raises PromptError."""
        if request.messages is None:
            return Rendered(request.prompt or "", grammar=self._grammar(request, [], ""))
        if self._prompts is None:
            raise PromptError(spec.UNSUPPORTED, f"the model cannot chat: {self.trouble}", "messages")
        tools = [] if request.tool_choice == "none" else request.tools or []
        chat = ChatRequest(
            messages=request.messages,
            tools=tools,
            parallel_tool_calls=request.parallel_tool_calls,
            documents=request.documents,
            kwargs=request.template_kwargs,
            disable_thinking=request.disable_thinking,
            template=request.template,
        )
        try:
            prompt = self._prompts.render(chat, media_marker=self._image_marker, media_kinds=_IMAGES)
        except MessageError as error:
            raise PromptError(spec.REFUSED, str(error), error.param) from error
        except TemplateRefused as error:
            raise PromptError(spec.REFUSED, str(error), "messages") from error
        except TemplateError as error:
            raise PromptError(spec.UNSUPPORTED, str(error), "messages") from error
        options = None
        grammar = self._grammar(request, tools, prompt.family)
        if tools:
            names = tuple(str(tool.get("function", tool).get("name", "")) for tool in tools)
            options = ToolOptions(prompt.family, names, request.parallel_tool_calls)
        return Rendered(
            prompt.text,
            images=_numbers(prompt.media, len(request.images)),
            add_special=not prompt.starts_with_bos,
            parse_special=True,
            reasoning=prompt.reasoning if request.reasoning else None,
            tools=options,
            grammar=grammar,
        )

    def _grammar(self, request: Generate, tools: list[dict[str, Any]], family: str) -> GrammarSpec | None:
        """Of the tools where one must or may be called, else of the response format. Raises PromptError."""
        if request.grammar is not None:
            return request.grammar
        try:
            made = None
            if tools:
                made = from_tools(tools, request.tool_choice, family, request.parallel_tool_calls)
            forced = made is not None and not made.triggers
            answer = None if forced else from_response_format(request.response_format)
        except UnsupportedSchema as error:
            param = "tools" if tools else "response_format"
            raise PromptError(spec.REFUSED, str(error), param) from error
        chosen = answer or made
        return None if chosen is None else GrammarSpec(chosen.text, "root", chosen.triggers)

    def splitter(self, request: Generate, rendered: Rendered) -> SplitterOptions:
        """What to look for in the answer."""
        return SplitterOptions(
            stops=tuple(stop for stop in request.sampling.stop if stop),
            reasoning=rendered.reasoning,
            tools=rendered.tools,
            max_reasoning=request.max_reasoning_tokens,
        )


def _numbers(parts: Sequence[Mapping[str, Any]], given: int) -> tuple[int, ...]:
    """Which of the call's images each part shows. Raises PromptError."""
    numbers = [part.get("image") for part in parts]
    if not all(isinstance(number, int) and 0 <= number < given for number in numbers):
        raise PromptError(spec.REFUSED, "an image of the messages did not come with them", "messages")
    return tuple(number for number in numbers if isinstance(number, int))
