"""How much a call will use at most, and how much one used that nobody counted. Pure but for the token counter; it knows shapes
of requests, and no limit, price or ledger.

An answer that nobody bounded is taken to fill the model's context; where that is not known either, DEFAULT_OUTPUT tokens.
"""

import msgspec

from proxy import tokens
from proxy.call import Call, Ending, Operation, Served, Usage, UsageSource
from proxy.wire.chat import ChatRequest

DEFAULT_OUTPUT = 4096  # tokens, where neither the request nor the model bounds an answer
TEXTUAL = frozenset(
    {Operation.CHAT, Operation.COMPLETIONS, Operation.RESPONSES, Operation.MESSAGES, Operation.EMBEDDINGS}
)
_CHAT = Operation.CHAT
_SMALL = 2048  # bytes of a body that count as its text
_EVENT = 200  # bytes of a stream's event, which mostly brings one token


async def prompt_tokens(call: Call) -> tuple[int, UsageSource]:
    """The prompt's length; counted if the table of the counter is on this machine, else estimated."""
    if call.operation not in TEXTUAL:
        return 0, UsageSource.ESTIMATE
    if isinstance(call.request, ChatRequest):
        return await tokens.count_messages(call.request.messages)
    return await tokens.count([call.raw.decode("utf-8", "replace")])


def rough_prompt(call: Call) -> int:
    """As `prompt_tokens`, at once and from sizes only."""
    if call.operation not in TEXTUAL:
        return 0
    size = len(call.raw)
    if size > _SMALL and isinstance(call.request, ChatRequest):  # it may hold pictures
        return sum(tokens.estimate(len(message.text)) + 4 for message in call.request.messages) + 3
    return (size + tokens.BYTES_PER_TOKEN - 1) // tokens.BYTES_PER_TOKEN


def _asked(call: Call) -> int | None:
    request = call.request
    limit = getattr(request, "limit", None)
    if limit is None:
        limit = getattr(request, "max_output_tokens", None) or getattr(request, "max_tokens", None)
    return limit if isinstance(limit, int) else None


def most_output(call: Call, prompt: int) -> int:
    """Tokens that all choices together can have."""
    if call.operation is Operation.EMBEDDINGS or call.operation not in TEXTUAL:
        return 0
    choices = getattr(call.request, "n", None) or 1
    context = call.plan.model.context_tokens if call.plan else None
    room = max(0, context - prompt) if context else None
    most = [value for value in (_asked(call), room) if value is not None]
    return choices * (min(most) if most else DEFAULT_OUTPUT)


def reserved_tokens(call: Call, capacity: int, prompt: int | None = None) -> int | None:
    """What a bucket that holds `capacity` tokens is asked for: the prompt (as it is counted, or a rough guess), and the answer
    at most. One that nobody bounded asks for no more than could ever pass; what it uses beyond its reservation, the next ones
    wait for. None: a call that has no tokens."""
    operation, request = call.operation, call.request
    asked: int | None
    choices: int
    if operation is not _CHAT and operation not in TEXTUAL:
        return None
    if prompt is None:
        prompt = rough_prompt(call)
    if operation is _CHAT:  # fast path: what `_asked` finds in one
        asked = request.max_tokens if request.max_completion_tokens is None else request.max_completion_tokens
        choices = request.n or 1
    elif operation is Operation.EMBEDDINGS:
        return prompt
    else:
        asked = _asked(call)
        choices = getattr(request, "n", None) or 1
    plan = call.plan
    context = None if plan is None else plan.model.context_tokens
    answer = DEFAULT_OUTPUT if asked is None else asked
    if context and context - prompt < answer:
        answer = max(0, context - prompt)
    need = prompt + choices * answer
    return max(prompt, capacity) if asked is None and need > capacity else need


def most(call: Call, prompt: int) -> Usage:
    """What the call can use at most."""
    request = call.request
    images = characters = 0
    if call.operation in (Operation.IMAGES, Operation.IMAGE_EDIT, Operation.UPSCALE):
        images = getattr(request, "n", None) or 1
    elif call.operation is Operation.SPEECH:
        characters = len(request.input)
    return Usage(prompt, most_output(call, prompt), images=images, characters=characters, source=UsageSource.ESTIMATE)


def unit_of(call: Call) -> str:
    """What the images of this call are counted in."""
    if call.operation is not Operation.UPSCALE:
        return "image-unit"
    return "upscale-4x-unit" if getattr(call.request, "scale", 2.0) > 2 else "upscale-2x-unit"


def used(call: Call, served: Served) -> Usage:
    """What a call used, as it is billed: the upstream's own count, or what can be told without it.

    A client that left used its prompt and what had been produced by then; so did an upstream that failed on the way, but
    one that had produced nothing used nothing.
    """
    usage = served.usage
    if usage is not None and usage.source is not UsageSource.ESTIMATE:
        return usage
    made = usage.completion_tokens if usage is not None else _made(call, served)
    if served.ending is Ending.FAILED and not made:
        return Usage(source=UsageSource.ESTIMATE)
    prompt = (usage.prompt_tokens if usage is not None else 0) or rough_prompt(call)
    if usage is not None:
        return msgspec.structs.replace(usage, prompt_tokens=prompt)
    return Usage(prompt, made, source=UsageSource.ESTIMATE)


def _made(call: Call, served: Served) -> int:
    """Tokens in what came of a stream whose upstream cannot say."""
    if call.operation not in TEXTUAL or call.operation is Operation.EMBEDDINGS:
        return 0
    return -(-served.sent // _EVENT)
