"""What an engine is set up with, asked for and answers: the structs that both processes know.

Owns shapes, units and defaults. Refuses to know HTTP, dialects and llama.cpp. Invariants: every field has one meaning
in both processes; defaults are the engine's neutral values (OpenAI's), so an absent field and its default are the same.
"""

from typing import Any

import msgspec

from adapters.llama.text.events import Event

# What a refusal or failure is, on the wire; the parent turns each into the matching `proxy.errors.Fault`.
REFUSED = "refused"  # the request itself
CONTEXT = "context"  # prompt longer than the context
OVERLOADED = "overloaded"  # no room now
RATE_LIMITED = "rate_limited"  # the queue is full
TIMEOUT = "timeout"  # a deadline passed
SERVER = "server"  # our fault
UNSUPPORTED = "unsupported"  # this model cannot do it
MALFORMED = "malformed"  # the model file

ALL_LAYERS = 9999
AUTO_LAYERS = -1  # as many as fit a GPU, where there is one


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """A model's context, every number decided. `n_ctx` is the whole pool: tokens of all sequences together.

    With `unified` false each sequence has `n_ctx / n_seq` of its own. `chunk` bounds the prompt tokens of a step while
    something decodes; the scheduler goes below it to keep a step under `gap_factor` times a decode-only step.
    """

    n_ctx: int = 32768
    n_seq: int = 16
    unified: bool = False
    n_batch: int = 2048
    n_ubatch: int = 512
    threads: int = 2
    gpu_layers: int = 0  # or ALL_LAYERS, AUTO_LAYERS
    kv_type: str = "f16"
    flash_attention: bool | None = None  # None: llama.cpp decides
    backend_sampling: bool = False  # tokens are drawn in the graph, for the calls that can have it
    swa_full: bool = False
    chunk: int = 256
    gap_factor: float = 2.5
    reserve: int = 512  # tokens set aside for a call that names no max_tokens
    isolate_cache: bool = False  # prefixes are shared within one tenant key only
    context_most: int = 0  # tokens of one call, where the pool would allow more than the model was trained for
    copy_min: int = 64  # split mode: shortest prefix worth copying a whole stream for
    host_cache: int = 0  # bytes of host memory for prefixes of evicted sequences
    host_cache_dir: str = ""  # where they outlive the process ("" = they do not)
    use_mmap: bool = True
    projector: str = ""  # an mmproj file, for a model that sees
    generates: bool = True  # false: embeddings only
    pooling: str = "auto"  # auto mean cls last
    embed_tokens: int = 2048  # longest input, and the batch, of the embeddings context


class Sampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How tokens are chosen. Temperature 0 is greedy. `min_temp`/`max_temp` together replace `temperature`."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    min_temp: float | None = None
    max_temp: float | None = None
    repetition_penalty: float = 1.0  # over prompt and answer
    frequency_penalty: float = 0.0  # over the answer, as OpenAI defines it
    presence_penalty: float = 0.0
    seed: int | None = None
    logit_bias: dict[int, float] = {}
    logprobs: bool = False
    top_logprobs: int = 0
    ignore_eos: bool = False
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()


class GrammarSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """GBNF that the answer obeys; with `triggers` (regular expressions over the answer) only from a match on."""

    text: str
    root: str = "root"
    triggers: tuple[str, ...] = ()


class Generate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call. Exactly one of `messages`, `prompt` and `tokens` is given. `priority` 0 goes before 1."""

    messages: list[dict[str, Any]] | None = None
    prompt: str | None = None
    tokens: list[int] | None = None
    images: list[bytes] = []  # files; a message's part {"type": "image_url", "image": i} shows the i-th
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool = True
    response_format: dict[str, Any] | None = None
    documents: list[Any] = []
    template: str = ""  # one of the model's named templates
    template_kwargs: dict[str, Any] = {}
    disable_thinking: bool = False
    sampling: Sampling = Sampling()
    n: int = 1
    max_tokens: int | None = None
    grammar: GrammarSpec | None = None
    reasoning: bool = True  # split reasoning off, where the template has markers for it; a bare prompt has none
    max_reasoning_tokens: int | None = None
    priority: int = 0
    tenant: str = ""
    queue_timeout_s: float | None = None
    timeout_s: float | None = None
    clamp: bool = True  # a max_tokens beyond the context is lowered; false: refused


class Embed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Inputs for the embeddings context: `texts` or token ids. `dimensions` cuts and normalises again."""

    texts: list[str] = []
    tokens: list[list[int]] = []
    dimensions: int | None = None
    normalise: bool = True


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """One token: its bytes, its log probability, and the likeliest alternatives as (bytes, log probability)."""

    piece: bytes
    logprob: float
    top: list[tuple[bytes, float]] = []


class Delta(msgspec.Struct, frozen=True, array_like=True):
    """What one engine step added to one choice. `finish` is stop, length, tool_calls or None; `matched` the stop string."""

    choice: int
    events: list[Event]
    tokens: int = 1
    logprobs: list[TokenLogprob] | None = None
    finish: str | None = None
    matched: str | None = None


class Usage(msgspec.Struct, frozen=True, array_like=True):
    """Counts of a finished call (tokens), and its times in seconds."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    seed: int = 0
    queued_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is loaded. Sizes in bytes; `context_tokens` is what one call may use, prompt and answer together."""

    path: str
    name: str = ""
    arch: str = ""
    description: str = ""
    parameters: int = 0
    size: int = 0
    n_vocab: int = 0
    n_embd: int = 0
    n_layer: int = 0
    context_train: int = 0
    context_tokens: int = 0
    n_ctx: int = 0
    n_seq: int = 0
    unified: bool = False
    gpu_layers: int = 0
    generates: bool = True
    embeds: bool = True
    chat_template: str = ""  # "model", or the name of our default where the file has none
    templates: tuple[str, ...] = ()
    tool_family: str = ""
    takes_tools: bool = False  # the template itself offers tools; else a system text does
    reasoning_markers: tuple[str, str] | None = None
    template_trouble: str = ""  # why there is no chat, although the file has a template
    pooling: str = ""
    vision: bool = False  # it has a projector
    load_s: float = 0.0
    rss: int = 0


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """A moment of the child: for health, metrics and the leak tests."""

    slots: int = 0
    busy_slots: int = 0
    running: int = 0
    waiting: int = 0
    reserved_cells: int = 0
    cached_tokens: int = 0
    grammars: int = 0
    steps: int = 0
    decoded_tokens: int = 0
    prefilled_tokens: int = 0
    reused_tokens: int = 0
    evictions: int = 0
    decode_step_s: float = 0.0
    rss: int = 0
