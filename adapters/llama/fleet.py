"""The models of one configured upstream: names → files → loaded engines. Owns the names and the options' meaning; when
models load and unload is `life`'s.
"""

import hashlib
import os
from pathlib import Path
from typing import Any, TypeVar

from adapters.llama.demo import demo_model
from adapters.llama.footprint import Wishes
from adapters.llama.gguf_meta import GgufError, read
from adapters.llama.life import Hold, Life, Progress, Residency, Status
from adapters.llama.supervisor import Policy
from adapters.options import LlamaOptions
from proxy.config import size_in_bytes
from proxy.errors import Fault, UpstreamError

T = TypeVar("T")


def wishes_of(options: LlamaOptions) -> Wishes:
    """The configuration in the engine's words; "auto" is None there."""
    return Wishes(
        gpu_layers=_given(options.gpu_layers),
        threads=_given(options.threads),
        context_tokens=_given(options.context_tokens),
        parallel=_given(options.parallel),
        kv_unified=_given(options.kv_unified),
        kv_type=options.kv_type,
        flash_attention=_given(options.flash_attention),
        prefill_chunk=_given(options.prefill_chunk),
        host_cache=size_in_bytes(options.host_cache, where="host_cache"),
        pooling=options.pooling,
    )


def _given(value: T | str) -> T | None:
    return None if isinstance(value, str) else value


class Fleet:
    """`acquire` a model by its reference: `demo`, a path, or a file below models_dir."""

    def __init__(self, options: LlamaOptions) -> None:
        self._options = options
        self.life = Life(
            wishes_of(options),
            Residency(keep_s=options.keep_loaded_s, max_loaded=options.max_loaded),
            policy=Policy(queue_limit=options.queue),
        )
        self._facts: dict[str, dict[str, Any]] = {}
        self._digests: dict[tuple[str, int, int], str] = {}

    async def acquire(self, reference: str, on_progress: Progress | None = None) -> Hold:
        """Raises UpstreamError when the model is not here, not allowed, or cannot be loaded."""
        path = self.path(reference)
        self._must_be_allowed(path)
        return await self.life.acquire(str(path), on_progress)

    def path(self, reference: str) -> Path:
        """Raises UpstreamError (MISSING) when there is no such file."""
        if reference == "demo":
            return demo_model()
        for path in (Path(reference).expanduser(), Path(self._options.models_dir).expanduser() / reference):
            if path.is_file():
                return path.resolve()
        said = f"There is no model file {reference!r} here; `traghetto pull` fetches one."
        raise UpstreamError(Fault.MISSING, said, accepted=False)

    def _must_be_allowed(self, path: Path) -> None:
        allowed = self._options.allow_sha256
        if not allowed or path == demo_model():
            return
        stat = os.stat(path)
        key = (str(path), stat.st_size, stat.st_mtime_ns)
        if key not in self._digests:
            with path.open("rb") as file:
                self._digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
        if self._digests[key] not in allowed:
            said = f"The model file {path.name!r} is not among those that allow_sha256 names."
            raise UpstreamError(Fault.MISSING, said, accepted=False)

    def statuses(self) -> list[Status]:
        return self.life.status()

    def facts(self, reference: str) -> dict[str, Any]:
        """State and what the file's header says; the header is read once."""
        try:
            path = str(self.path(reference))
        except UpstreamError as error:
            return {"state": "missing", "reason": error.message}
        facts = self._facts.get(path)
        if facts is None:
            facts = self._facts[path] = self._read(path)
        status = next((s for s in self.life.status() if s.path == path), None)
        if status is None:
            return {"state": "unloaded", **facts}
        live: dict[str, Any] = {"state": status.state, "progress": round(status.progress, 3), **facts}
        if status.info is not None:
            live["context_tokens"] = status.info.context_tokens
        return live

    @staticmethod
    def _read(path: str) -> dict[str, Any]:
        try:
            meta = read(path)
        except GgufError as error:
            return {"reason": str(error)}
        values = meta.values
        arch = str(values.get("general.architecture", ""))
        template = values.get("tokenizer.chat_template")
        facts: dict[str, Any] = {"architecture": arch, "file_bytes": meta.file_size}
        if isinstance(context := values.get(f"{arch}.context_length"), int):
            facts["context_tokens"] = context
        facts["chat_template"] = "of the model" if template else "chatml (the model has none)"
        return facts

    async def aclose(self) -> None:
        await self.life.aclose()
