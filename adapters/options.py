"""The keys that each kind of upstream takes in the configuration, on one screen. Data only: importing it loads no adapter.

Vendors that speak a known dialect are rows of configuration (`kind = "openai"` with another base_url), never classes.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0)]
ImageSize = Annotated[str, Meta(pattern="^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$")]


class Timeout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds. first_byte: request written to response head; between_bytes: silence in the body; total: the whole call."""

    connect_s: Seconds = 5.0
    first_byte_s: Seconds = 60.0
    between_bytes_s: Seconds = 60.0
    total_s: Seconds = 600.0
    pool_s: Seconds = 10.0


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every upstream has. `fallback_models` false keeps `models` from listing what the upstream has."""

    def missing(self) -> str | None:
        """Why this upstream cannot be used, or None: an upstream whose key is unset never stops the start."""
        return None


class Remote(Options, frozen=True, forbid_unknown_fields=True):
    """An upstream over HTTP."""

    base_url: str
    api_key: str = ""
    needs_key: bool = True
    timeout: Timeout = Timeout()
    max_connections: Annotated[int, Meta(ge=1)] = 512
    keepalive_s: Annotated[float, Meta(ge=0)] = 30.0
    transport: Literal["native", "aiohttp", "httpx"] = "native"
    verify: bool | str = True  # or the path of a CA bundle
    uds: str | None = None  # a unix socket to connect to, instead of the host in base_url
    headers: dict[str, str] = {}

    def missing(self) -> str | None:
        return "no api_key is configured" if self.needs_key and not self.api_key else None


class OpenAIOptions(Remote, frozen=True, forbid_unknown_fields=True, tag="openai"):
    """Anything that speaks OpenAI's dialect. The switches are for upstreams that speak it with an accent."""

    max_tokens_field: Literal["as_sent", "max_tokens", "max_completion_tokens"] = "as_sent"
    stream_usage: bool = True  # false where `stream_options` is refused
    developer_role: bool = True  # false: `developer` messages go out as `system`
    drops: frozenset[str] = frozenset()  # parameters that this upstream does not take
    max_batch: int = 2048  # embeddings: inputs per request
    max_batch_tokens: Annotated[int, Meta(ge=0)] = 0  # embeddings: tokens per request, over all inputs; 0: any number
    voices: dict[str, str] = {}  # speech: names that callers use → its own; "default" where none is named
    image_sizes: tuple[ImageSize, ...] = ()  # what it draws; another size is drawn at the nearest and fitted. (): any
    image_response_format: bool = True  # false where images refuse `response_format`, as OpenAI's own models
    image_takes: frozenset[str] = frozenset()  # parameters of image/generate that it takes under the same names
    file_hosts: tuple[str, ...] = ()  # hosts that pictures behind a URL may be fetched from, besides its own
    upscales: bool = False  # whether it has Venice's image/upscale beside OpenAI's routes, as another Traghetto has


class VeniceOptions(Remote, frozen=True, forbid_unknown_fields=True, tag="venice"):
    base_url: str = "https://api.venice.ai/api/v1"


class AnthropicOptions(Remote, frozen=True, forbid_unknown_fields=True, tag="anthropic"):
    base_url: str = "https://api.anthropic.com/v1"


class Jobs(Remote, frozen=True, forbid_unknown_fields=True):
    """An upstream that makes files: hosts (and their subdomains) that outputs may be fetched from."""

    file_hosts: tuple[str, ...] = ()
    prompt_template: str | None = None  # chatml llama2 llama3 mistral alpaca plain
    reads_per_s: float = 50.0  # what the upstream allows for polling


class VaikerAIOptions(Jobs, frozen=True, forbid_unknown_fields=True, tag="vaikerai"):
    """Replicate's API, which VaikerAI's is a copy of. What is left at its default is as the preset has it."""

    base_url: str = "https://api.vaikerai.com/v1"
    preset: Literal["vaikerai", "replicate"] = "vaikerai"
    stream_hosts: tuple[str, ...] | None = None  # SSE hosts that are followed; none: text is read by polling
    prefer_wait_s: Annotated[int, Meta(ge=0, le=60)] = 0  # `Prefer: wait` on what is created, where nothing is streamed
    webhook_url: str | None = None  # the outer address of our `POST /webhooks/{upstream}`
    webhook_secret: str | None = None  # whsec_…; without it the upstream is asked for it
    webhook_tolerance_s: Seconds = 300.0  # how old (or how far ahead) a signed report may be
    allow_unsafe: bool = False  # whether callers may switch a model's safety checker off
    inputs: dict[str, dict[str, Any]] = {}  # fixed inputs, by the model's name there

    def __post_init__(self) -> None:
        base_url, files, streams = PRESETS[self.preset]
        if self.base_url == PRESETS["vaikerai"][0]:
            msgspec.structs.force_setattr(self, "base_url", base_url)
        msgspec.structs.force_setattr(self, "file_hosts", self.file_hosts or files)
        if self.stream_hosts is None:
            msgspec.structs.force_setattr(self, "stream_hosts", streams)


# preset: base_url, hosts of files, hosts of event streams
PRESETS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "vaikerai": ("https://api.vaikerai.com/v1", ("files.vaikerai.com",), ()),
    "replicate": ("https://api.replicate.com/v1", ("replicate.delivery",), ("stream.replicate.com", "c.replicate.net")),
}


class NovitaOptions(Jobs, frozen=True, forbid_unknown_fields=True, tag="novita"):
    base_url: str = "https://api.novita.ai"
    file_hosts: tuple[str, ...] = ("novita.ai", "amazonaws.com", "cloudflarestorage.com")
    llm_path: str = "/openai/v1"
    default_max_tokens: Annotated[int, Meta(ge=1)] = 4096  # of a chat that names no limit: Novita wants one
    nsfw_threshold: float = 80.0
    inputs: dict[str, dict[str, Any]] = {}  # fixed inputs, by the model's name there


class BytezOptions(Jobs, frozen=True, forbid_unknown_fields=True, tag="bytez"):
    base_url: str = "https://api.bytez.com"
    file_hosts: tuple[str, ...] = ("bytez.com",)
    api: Literal["v2", "v1"] = "v2"
    concurrency: Annotated[int, Meta(ge=1)] = 1  # of what is no chat over v2, and of what v1 loads
    expiration_s: Annotated[int, Meta(ge=1)] | None = None  # v1: seconds after its last call that a model is unloaded
    inputs: dict[str, dict[str, Any]] = {}  # fixed generation parameters, by the model's name there


class AimeOptions(Jobs, frozen=True, forbid_unknown_fields=True, tag="aime"):
    base_url: str = "https://api.aime.info"
    user: str = ""
    inputs: dict[str, dict[str, Any]] = {}  # fixed inputs, by the endpoint


class LlamaOptions(Options, frozen=True, forbid_unknown_fields=True, tag="llama"):
    """The local engine. Numbers left at "auto" are chosen from the model and the machine."""

    gpu_layers: int | Literal["auto"] = "auto"
    keep_loaded_s: float = 1800.0
    max_loaded: int = 2
    patience_s: float = 10.0  # that a busy model keeps its place when another one waits for it
    threads: int | Literal["auto"] = "auto"
    context_tokens: int | Literal["auto"] = "auto"  # of one request
    parallel: int | Literal["auto"] = "auto"  # sequences at once
    kv_unified: bool | Literal["auto"] = "auto"
    kv_type: Literal["f16", "q8_0", "q4_0"] = "f16"
    flash_attention: bool | Literal["auto"] = "auto"
    backend_sampling: bool = False
    prefill_chunk: int | Literal["auto"] = "auto"
    queue: int = 256  # calls that may wait; one more is a 429
    host_cache: str | int = 0  # bytes of host memory for prefixes of unloaded or evicted sequences
    models_dir: str = "~/.cache/traghetto/models"
    projector: str | None = None  # an mmproj file, for vision
    image_hosts: tuple[str, ...] = ()  # hosts that callers' images may be fetched from; none named: any public one
    pooling: Literal["auto", "mean", "cls", "last"] = "auto"
    allow_sha256: tuple[str, ...] = ()  # if given, only files with these digests are loaded


class OfflineOptions(Options, frozen=True, forbid_unknown_fields=True, tag="offline"):
    """Speech, images and upscaling without a key, a download or a model; each says what it is."""

    model_path: str | None = None  # kokoro-onnx weights, for real voices
    voices_path: str | None = None


class EchoOptions(Options, frozen=True, forbid_unknown_fields=True, tag="echo"):
    """A deterministic upstream that repeats what it was told; for tests, documentation and benchmarks."""

    delay_s: float = 0.0
    chunk_delay_s: float = 0.0


KINDS: dict[str, type[Options]] = {
    "openai": OpenAIOptions,
    "venice": VeniceOptions,
    "vaikerai": VaikerAIOptions,
    "novita": NovitaOptions,
    "bytez": BytezOptions,
    "aime": AimeOptions,
    "anthropic": AnthropicOptions,
    "llama": LlamaOptions,
    "offline": OfflineOptions,
    "echo": EchoOptions,
}

# The usual environment variable of each hosted upstream, for a start without a configuration file.
USUAL_KEYS: dict[str, tuple[str, dict[str, object]]] = {
    "OPENAI_API_KEY": (
        "openai",
        {
            "kind": "openai",
            "base_url": "https://api.openai.com/v1",
            "image_sizes": ["1024x1024", "1536x1024", "1024x1536"],
            "image_response_format": False,
            "max_batch_tokens": 300_000,
            "voices": {"default": "alloy"},
        },
    ),
    "VENICE_API_KEY": ("venice", {"kind": "venice"}),
    "VAIKERAI_API_TOKEN": ("vaikerai", {"kind": "vaikerai"}),
    "REPLICATE_API_TOKEN": ("replicate", {"kind": "vaikerai", "preset": "replicate"}),
    "NOVITA_API_KEY": ("novita", {"kind": "novita"}),
    "BYTEZ_KEY": ("bytez", {"kind": "bytez"}),
    "AIME_KEY": ("aime", {"kind": "aime"}),
    "ANTHROPIC_API_KEY": ("anthropic", {"kind": "anthropic"}),
}
