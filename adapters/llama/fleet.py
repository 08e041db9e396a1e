"""The models of one configured upstream: names → files → loaded engines. Owns the names and the options' meaning; when
models load and unload is `life`'s.
"""

import asyncio
import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any, TypeVar

from adapters.llama import faults
from adapters.llama.demo import demo_model
from adapters.llama.footprint import Wishes, is_encoder
from adapters.llama.gguf_meta import LATER_PART, GgufError, part_names, read
from adapters.llama.life import life_of
from adapters.llama.resident import Hold, Keeper, Progress, Residency, Settings, Status
from adapters.llama.sharing.remote import RemoteLife, shared_socket
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
        backend_sampling=options.backend_sampling,
        host_cache=size_in_bytes(options.host_cache, where="host_cache"),
        pooling=options.pooling,
        projector=_projector(options),
    )


def _projector(options: LlamaOptions) -> str:
    """The path as it is, or below models_dir; "" without one. Whether it is there is found out when it is loaded."""
    if not options.projector:
        return ""
    path = Path(options.projector).expanduser()
    return str((path if path.is_file() else Path(options.models_dir).expanduser() / path).absolute())


def _given(value: T | str) -> T | None:
    return None if isinstance(value, str) else value


class Fleet:
    """`acquire` a model by its reference: `demo`, a path, or a file below models_dir."""

    def __init__(self, options: LlamaOptions, name: str = "") -> None:
        self._options = options
        settings = Settings(
            name,
            wishes_of(options),
            Residency(keep_s=options.keep_loaded_s, max_loaded=options.max_loaded, patience_s=options.patience_s),
            Policy(queue_limit=options.queue),
        )
        socket = shared_socket()
        self.life: Keeper = RemoteLife(socket, settings) if socket else life_of(settings)
        self._facts: dict[tuple[str, int, int], dict[str, Any]] = {}
        self._digests: dict[tuple[str, int, int], str] = {}

    async def acquire(self, reference: str, on_progress: Progress | None = None) -> Hold:
        """Raises UpstreamError when the model is not here, not allowed, or cannot be loaded."""
        path = self.path(reference)
        if self._options.allow_sha256:
            await self._must_be_allowed(path)
        return await self.life.acquire(str(path), on_progress)

    async def checked(self, reference: str) -> Path:
        """The file of a model that may be loaded. Raises UpstreamError."""
        path = self.path(reference)
        if self._options.allow_sha256:
            await self._must_be_allowed(path)
        return path

    @property
    def folder(self) -> Path:
        """Where models are kept."""
        return Path(self._options.models_dir).expanduser()

    def path(self, reference: str) -> Path:
        """Raises UpstreamError (MISSING) when there is no such file."""
        if reference == "demo":
            return demo_model()
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # a name that no file can have
            for path in (Path(reference).expanduser(), self.folder / reference):
                if path.is_file():
                    return path.resolve()
        said = f"There is no model file {reference[:200]!r} here; `traghetto pull` fetches one."
        raise UpstreamError(Fault.MISSING, said, accepted=False)

    def owns(self, reference: str) -> bool:
        """Whether a reference that no configuration names leads to a model of ours: the demo, or a file in the folder."""
        try:
            path = self.path(reference)
        except UpstreamError:
            return False
        return reference == "demo" or (path.suffix == ".gguf" and path.is_relative_to(self.folder.resolve()))

    def reference(self, path: Path) -> str:
        """The shortest that leads to a file."""
        if path == demo_model():
            return "demo"
        folder = self.folder.resolve()
        return str(path.relative_to(folder) if path.is_relative_to(folder) else path)

    def references(self) -> list[str]:
        """What could be loaded from the folder, and the demo; of a split model the first part."""
        found = (path for path in sorted(self.folder.rglob("*.gguf")) if path.is_file())
        names = [path.relative_to(self.folder).as_posix() for path in found]
        return ["demo", *(name for name in names if not LATER_PART.search(name))]

    async def _must_be_allowed(self, path: Path) -> None:
        files = [] if path == demo_model() else [path.with_name(name) for name in part_names(path.name)]
        if self._options.projector:
            files.append(Path(_projector(self._options)))
        for part in files:
            digest = await asyncio.to_thread(self._digest, part)
            if digest not in self._options.allow_sha256:
                said = f"The model file {part.name!r} is not among those that allow_sha256 names."
                raise UpstreamError(Fault.MISSING, said, accepted=False)

    def _digest(self, path: Path) -> str:
        """In a thread: of a large file it takes a while, so it is remembered for as long as the file stays as it is."""
        try:
            stat = os.stat(path)
            key = (str(path), stat.st_size, stat.st_mtime_ns)
            if key not in self._digests:
                with path.open("rb") as file:
                    self._digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise faults.bad_file(f"{path.name} cannot be read: {error.strerror}") from error
        return self._digests[key]

    def statuses(self) -> list[Status]:
        return self.life.status()

    def facts(self, reference: str) -> dict[str, Any]:
        """State and what the file's header says; the header is read once."""
        try:
            path = str(self.path(reference))
        except UpstreamError as error:
            return {"state": "missing", "reason": error.message}
        stat = os.stat(path)
        key = (path, stat.st_size, stat.st_mtime_ns)
        facts = self._facts.get(key)
        if facts is None:
            facts = self._facts[key] = self._read(path)
        status = self.life.status_of(path)
        if status is None:
            return {"state": "unloaded", **facts}
        live: dict[str, Any] = {"state": status.state, "progress": round(status.progress, 3), **facts}
        if status.reason:
            live["reason"] = status.reason
        if status.info is not None:
            live["context_tokens"] = status.info.context_tokens
        return live

    def _read(self, path: str) -> dict[str, Any]:
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
        if self._options.projector and not is_encoder(meta):
            facts["vision"] = True
        facts["chat_template"] = "of the model" if template else "chatml (the model has none)"
        return facts

    async def aclose(self) -> None:
        await self.life.aclose()
