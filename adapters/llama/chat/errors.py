"""What can go wrong between messages and a prompt.

Owns the room-private exceptions; the adapter maps them to the tree of `proxy.errors`. Refuses to know statuses.
Invariant: messages name the cause and never hold message content.
"""


class TemplateError(Exception):
    """The model's chat template does not compile, fails, or does not keep its limits: the model's fault."""


class TemplateRefused(TemplateError):
    """The template itself refused these messages (`raise_exception`): the caller's fault, in the template's words."""


class MessageError(ValueError):
    """The messages cannot be rendered for this model; `param` names the place, for example `messages[2].content[0]`."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(f"{param}: {message}")
        self.param = param
