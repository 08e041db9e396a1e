"""One compiled chat template.

Owns compilation and rendering under a budget, and the mapping of whatever a template may raise to TemplateError.
Refuses to know messages: it is given the variables. Invariant: the output is bounded while it is made, not after.
"""

from collections.abc import Mapping

import jinja2
import jinja2.meta

from adapters.llama.chat.budget import Limits
from adapters.llama.chat.errors import TemplateError
from adapters.llama.chat.sandbox import Sandbox

MAX_SOURCE = 512 * 1024
_SANDBOX = Sandbox()


class CompiledTemplate:
    """Compiles once; `render` may be called from any thread. Raises TemplateError."""

    __slots__ = ("_template", "bos", "eos", "limits", "source")

    def __init__(self, source: str, *, bos: str = "", eos: str = "", limits: Limits | None = None) -> None:
        if len(source) > MAX_SOURCE:
            raise TemplateError(f"the chat template is longer than {MAX_SOURCE} characters")
        self.source = source
        self.bos = bos
        self.eos = eos
        self.limits = limits or Limits()
        try:
            self._template = _SANDBOX.from_string(source)
        except TemplateError:
            raise
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(f"the chat template does not compile: line {error.lineno}: {error.message}") from error
        except Exception as error:  # a hostile source can make any stage of compilation fail
            raise TemplateError(f"the chat template does not compile: {type(error).__name__}") from error

    def variables(self) -> frozenset[str]:
        """Names that the template reads from outside."""
        tree = _SANDBOX.parse(self.source)
        return frozenset(jinja2.meta.find_undeclared_variables(tree))

    def render(self, variables: Mapping[str, object]) -> str:
        """The prompt. Raises TemplateRefused when the template says so, TemplateError when it fails."""
        budget = _SANDBOX.open_account(self.limits)
        parts: list[str] = []
        size = 0
        try:
            for part in self._template.generate({"bos_token": self.bos, "eos_token": self.eos, **variables}):
                size += len(part)
                if size > self.limits.max_chars:
                    budget.made(size)
                parts.append(part)
        except TemplateError:
            raise
        except jinja2.TemplateError as error:
            raise TemplateError(f"the chat template failed: {error.message or type(error).__name__}"[:500]) from error
        except RecursionError as error:
            raise TemplateError("the chat template nests too deeply") from error
        except Exception as error:  # the template is foreign code: whatever it raises is its own fault
            raise TemplateError(f"the chat template failed: {type(error).__name__}: {error}"[:500]) from error
        return "".join(parts)
