"""Messages written out as one prompt, for upstreams that take only text; the template is named in the config, never guessed.

It owns the six templates, their control tokens and their turn delimiters (to be used as stop sequences); it refuses to know
upstreams, tokens counts and HTTP. Invariants: text of a message can neither open nor close a turn; what a prompt cannot
carry (tools, and images where none are taken) is refused by name, never imitated in prose.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from proxy.errors import BadRequest, UnsupportedParameter
from proxy.wire.chat import Message

ZERO_WIDTH_SPACE = "\u200b"
# Whatever a model may have been taught to read as a new line, not only \n.
_LINE_START = r"(?:\A|(?<=[\n\r\x0b\x0c\x85\u2028\u2029]))[^\S\n]{0,16}"


class Turn(NamedTuple):
    """One message as far as a prompt can carry it. `role` is system, user or assistant."""

    role: str
    text: str


class Prompt(NamedTuple):
    """`text` for the prompt input, `system` for an input of its own (None: it is in the text or there is none),
    `image` the last image's URL, `stops` the delimiters at which the answer ends."""

    text: str
    system: str | None
    image: str | None
    stops: tuple[str, ...]


class Template(NamedTuple):
    """How turns are written. `control` finds what message text must not contain; `late_system` keeps system turns in place."""

    write: Callable[[str | None, Sequence[Turn]], str]
    control: re.Pattern[str]
    stops: tuple[str, ...]
    late_system: bool


def neutralise(text: str, control: re.Pattern[str]) -> str:
    """Break each control token by a zero-width space after its first character.

    Nothing is removed, so that no new token can grow together from the two halves around a removed one.
    """

    def broken(found: re.Match[str]) -> str:
        cut = len(found[0]) - len(found[0].lstrip()) + 1
        return found[0][:cut] + ZERO_WIDTH_SPACE + found[0][cut:]

    return control.sub(broken, text)


def turns_of(messages: Sequence[Message], *, model: str, images: bool = False) -> tuple[list[Turn], str | None]:
    """The turns and the last image's URL. UnsupportedParameter for tools and for parts that the model does not take."""
    turns: list[Turn] = []
    image: str | None = None
    for index, message in enumerate(messages):
        if message.role in ("tool", "function") or message.tool_calls:
            raise UnsupportedParameter(
                f"Model '{model}' does not support tool calling (supportsFunctionCalling is false).",
                param="messages",
            )
        found = _image_of(message, index, model=model, images=images)
        image = found or image
        role = "system" if message.role == "developer" else message.role
        turns.append(Turn(role, message.text))
    return turns, image


def _image_of(message: Message, index: int, *, model: str, images: bool) -> str | None:
    if message.content is None or isinstance(message.content, str):
        return None
    url: str | None = None
    for number, part in enumerate(message.content):
        if part.type in ("text", "refusal"):
            continue
        where = f"messages[{index}].content[{number}]"
        if part.type != "image_url":
            raise UnsupportedParameter(
                f"Model '{model}' does not accept parts of type '{part.type}'.",
                param=where,
            )
        if not images:
            raise UnsupportedParameter(
                f"Model '{model}' does not accept images (supportsVision is false).",
                param=where,
            )
        given = part.image_url.get("url") if isinstance(part.image_url, dict) else part.image_url
        if not isinstance(given, str) or not given:
            raise BadRequest("image_url.url must be a URL or a data URL.", param=where)
        url = given
    return url


def render(
    messages: Sequence[Message],
    template: str,
    *,
    model: str,
    own_system: bool = False,
    wraps_prompt: bool = False,
    images: bool = False,
) -> Prompt:
    """Write `messages` as one prompt.

    `own_system`: the upstream has an input for the system text, which then stays out of the prompt. `wraps_prompt`: the
    upstream adds the turn markers itself, so that a single question goes out bare and a dialogue as a plain transcript.
    KeyError for a template that does not exist (the config is checked before).
    """
    turns, image = turns_of(messages, model=model, images=images)
    form = TEMPLATES[template]
    clean = [Turn(turn.role, neutralise(turn.text, form.control)) for turn in turns]
    system, rest = _part_system(clean, late=form.late_system and not own_system and not wraps_prompt)
    inside = None if own_system else system
    if wraps_prompt:
        text = _bare(inside, rest)
    else:
        text = form.write(inside, rest)
    return Prompt(text, system if own_system else None, image, form.stops)


def _part_system(turns: list[Turn], *, late: bool) -> tuple[str | None, list[Turn]]:
    """System text of the front joined by blank lines; with `late`, a system turn after the first other one stays put."""
    front: list[str] = []
    rest: list[Turn] = []
    for turn in turns:
        if turn.role == "system" and not (late and rest):
            front.append(turn.text)
        else:
            rest.append(turn)
    return ("\n\n".join(front) if front else None), rest


def _bare(system: str | None, turns: Sequence[Turn]) -> str:
    if len(turns) == 1 and turns[0].role == "user":
        return "\n\n".join(part for part in (system, turns[0].text) if part is not None)
    return _plain(system, turns, opened=False)


def _exchanges(turns: Sequence[Turn]) -> list[tuple[str, str | None]]:
    """Pairs of a question and its answer (None where it is still to come), for templates that insist on alternation."""
    pairs: list[tuple[list[str], list[str]]] = [([], [])]
    for turn in turns:
        if turn.role == "assistant":
            pairs[-1][1].append(turn.text)
        elif pairs[-1][1]:
            pairs.append(([turn.text], []))
        else:
            pairs[-1][0].append(turn.text)
    return [("\n\n".join(asked), "\n\n".join(said) if said else None) for asked, said in pairs]


def _chatml(system: str | None, turns: Sequence[Turn]) -> str:
    return _headed(system, turns, lambda role: f"<|im_start|>{role}\n", "<|im_end|>\n")


def _llama3(system: str | None, turns: Sequence[Turn]) -> str:
    body = _headed(
        system,
        turns,
        lambda role: f"<|start_header_id|>{role}<|end_header_id|>\n\n",
        "<|eot_id|>",
    )
    return "<|begin_of_text|>" + body


def _headed(system: str | None, turns: Sequence[Turn], head: Callable[[str], str], end: str) -> str:
    """Templates with a head per role. A last assistant turn is left open: the model goes on writing it."""
    out = [] if system is None else [head("system") + system + end]
    last = len(turns) - 1
    for number, turn in enumerate(turns):
        opened = number == last and turn.role == "assistant"
        out.append(head(turn.role) + turn.text + ("" if opened else end))
    if not turns or turns[-1].role != "assistant":
        out.append(head("assistant"))
    return "".join(out)


def _llama2(system: str | None, turns: Sequence[Turn]) -> str:
    front = "" if system is None else f"<<SYS>>\n{system}\n<</SYS>>\n\n"
    out: list[str] = []
    pairs = _exchanges(turns)
    for number, (asked, said) in enumerate(pairs):
        out.append(f"<s>[INST] {front if number == 0 else ''}{asked} [/INST]")
        if said is not None:
            out.append(f" {said}" + ("" if number == len(pairs) - 1 else " </s>"))
    return "".join(out)


def _mistral(system: str | None, turns: Sequence[Turn]) -> str:
    front = "" if system is None else f"{system}\n\n"
    out = ["<s>"]
    pairs = _exchanges(turns)
    for number, (asked, said) in enumerate(pairs):
        out.append(f"[INST] {front if number == 0 else ''}{asked} [/INST]")
        if said is not None:
            out.append(said + ("" if number == len(pairs) - 1 else "</s>"))
    return "".join(out)


def _alpaca(system: str | None, turns: Sequence[Turn]) -> str:
    out = [] if system is None else [f"{system}\n\n"]
    pairs = _exchanges(turns)
    for number, (asked, said) in enumerate(pairs):
        out.append(f"### Instruction:\n{asked}\n\n### Response:\n")
        if said is not None:
            out.append(said + ("" if number == len(pairs) - 1 else "\n\n"))
    return "".join(out)


def _plain(system: str | None, turns: Sequence[Turn], *, opened: bool = True) -> str:
    blocks = [] if system is None else [f"System: {system}"]
    blocks += [f"{turn.role.capitalize()}: {turn.text}" for turn in turns]
    if opened and not (turns and turns[-1].role == "assistant"):
        blocks.append("Assistant:")
    return "\n\n".join(blocks)


_ANGLED = re.compile(r"<\|[^|<>\n]{1,40}\|>")
_BRACKETED = re.compile(
    r"\[/?INST\]|<</?SYS>>|</?s>|\[/?SYSTEM_PROMPT\]|\[/?(?:AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]"
)
_HASHED = re.compile(
    _LINE_START + r"#{2,}[^\S\n]*(?:Instruction|Response|Input)[^\S\n]*:|</?s>",
    re.IGNORECASE,
)
_LABELLED = re.compile(_LINE_START + r"(?:System|User|Assistant)(?=\s{0,8}:)", re.IGNORECASE)

TEMPLATES: dict[str, Template] = {
    "chatml": Template(_chatml, _ANGLED, ("<|im_end|>", "<|im_start|>"), late_system=True),
    "llama2": Template(_llama2, _BRACKETED, ("</s>", "[INST]"), late_system=False),
    "llama3": Template(_llama3, _ANGLED, ("<|eot_id|>", "<|start_header_id|>"), late_system=True),
    "mistral": Template(_mistral, _BRACKETED, ("</s>", "[INST]"), late_system=False),
    "alpaca": Template(_alpaca, _HASHED, ("### Instruction:",), late_system=False),
    "plain": Template(_plain, _LABELLED, ("\nUser:", "\nSystem:"), late_system=True),
}
