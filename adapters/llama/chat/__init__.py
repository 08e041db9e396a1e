"""Chat messages to a prompt, through the model's own template.

Owns the sandbox in which the template runs, the conversion of messages to what it can say, and what is found out about
it (tool family, reasoning markers, switches). Refuses to know tokens, HTTP and images. Invariant: a template is foreign
code: it gets plain data, a budget, and nothing else.
"""

from adapters.llama.chat.budget import Limits
from adapters.llama.chat.errors import MessageError, TemplateError, TemplateRefused
from adapters.llama.chat.prompts import ChatRequest, Prompt, Prompts
from adapters.llama.chat.traits import TemplateTraits

__all__ = [
    "ChatRequest",
    "Limits",
    "MessageError",
    "Prompt",
    "Prompts",
    "TemplateError",
    "TemplateRefused",
    "TemplateTraits",
]
