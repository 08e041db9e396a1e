"""The model's own way of being asked: its chat template, its marks for reasoning and tool calls, its grammars.

Owns the meeting of `chat`, `grammar` and `text` for one loaded model. Refuses to know tokens and llama.cpp: it is given
the model's template and special texts once. Invariant: what a grammar forces is what the splitter looks for.
"""

from dataclasses import dataclass

from adapters.llama import spec
from adapters.llama.chat.errors import MessageError, TemplateError, TemplateRefused
from adapters.llama.chat.template import CompiledTemplate
from adapters.llama.spec import Generate, GrammarSpec
from adapters.llama.text import ReasoningMarkers, SplitterOptions


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
    add_special: bool = True
    parse_special: bool = False
    reasoning: ReasoningMarkers | None = None
    grammar: GrammarSpec | None = None


class Prompting:
    """Stateless after construction but for compiled templates; used by one thread."""

    def __init__(self, template: str | None, *, bos: str = "", eos: str = "") -> None:
        self._template = CompiledTemplate(template, bos=bos, eos=eos) if template else None

    def render(self, request: Generate) -> Rendered:
        """Raises PromptError."""
        if request.messages is None:
            return Rendered(request.prompt or "", grammar=request.grammar)
        if self._template is None:
            raise PromptError(spec.UNSUPPORTED, "the model has no chat template", "messages")
        try:
            text = self._template.render(
                {"messages": request.messages, "tools": request.tools, "add_generation_prompt": True}
                | request.template_kwargs
            )
        except (TemplateRefused, MessageError) as error:
            raise PromptError(spec.REFUSED, str(error), "messages") from error
        except TemplateError as error:
            raise PromptError(spec.REFUSED, str(error), "messages") from error
        return Rendered(text, add_special=False, parse_special=True, grammar=request.grammar)

    def splitter(self, request: Generate, rendered: Rendered) -> SplitterOptions:
        """What to look for in the answer."""
        return SplitterOptions(
            stops=request.sampling.stop, reasoning=rendered.reasoning, max_reasoning=request.max_reasoning_tokens
        )
