"""The exceptions say where, and whose fault it is."""

from adapters.llama.chat.errors import MessageError, TemplateError, TemplateRefused


def test_a_message_error_names_its_place() -> None:
    error = MessageError("messages[2].content", "must be text")
    assert error.param == "messages[2].content"
    assert str(error) == "messages[2].content: must be text"


def test_a_refusal_is_a_template_error() -> None:
    assert issubclass(TemplateRefused, TemplateError)
    assert not issubclass(MessageError, TemplateError)
