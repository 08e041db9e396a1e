"""Which models of one upstream are loaded. Owns their engines; decides nothing about what runs inside them."""

import asyncio
from pathlib import Path
from typing import Any

from adapters.llama.demo import demo_model
from adapters.llama.spec import Setup
from adapters.llama.supervisor import Engine
from adapters.options import LlamaOptions
from proxy.errors import Fault, UpstreamError


class Fleet:
    """Engines by model reference; started on first use."""

    def __init__(self, options: LlamaOptions) -> None:
        self._options = options
        self._engines: dict[str, Engine] = {}
        self._starting: dict[str, asyncio.Lock] = {}

    async def engine(self, reference: str) -> Engine:
        """A started engine. Raises UpstreamError when the file is missing or cannot be loaded."""
        engine = self._engines.get(reference)
        if engine is not None and engine.state == "ready":
            return engine
        async with self._starting.setdefault(reference, asyncio.Lock()):
            engine = self._engines.get(reference)
            if engine is None or engine.state in ("stopped", "failed"):
                engine = self._engines[reference] = Engine(str(self.path(reference)), self._setup())
            await engine.start()
        return engine

    def path(self, reference: str) -> Path:
        """`demo`, a path, or a file of models_dir. Raises UpstreamError if there is none."""
        if reference == "demo":
            return demo_model()
        for path in (Path(reference).expanduser(), Path(self._options.models_dir).expanduser() / reference):
            if path.is_file():
                return path
        raise UpstreamError(Fault.MISSING, f"There is no model file {reference!r} here.", accepted=False)

    def _setup(self) -> Setup:
        return Setup(n_ctx=8192, n_seq=4)

    def summary(self) -> str:
        return f"{len(self._engines)} models loaded"

    def facts(self, reference: str) -> dict[str, Any]:
        engine = self._engines.get(reference)
        if engine is None:
            return {"state": "unloaded"}
        facts: dict[str, Any] = {"state": engine.state}
        if engine.info is not None:
            facts["context_tokens"] = engine.info.context_tokens
        return facts

    async def aclose(self) -> None:
        engines, self._engines = list(self._engines.values()), {}
        await asyncio.gather(*(engine.stop() for engine in engines))
