"""One Novita upstream: which part serves which operation, its probe, its balance and its lists."""

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar
from urllib.parse import urlencode

from adapters._http import HttpClient
from adapters.accents import named, told
from adapters.download import files_of
from adapters.job_pace import note_of
from adapters.jobs import Job, JobEngine
from adapters.line import client_of
from adapters.novita.llm import Llm
from adapters.novita.orders import SYNC, wish_of
from adapters.novita.pictures import EDIT, RETOUCHING, UPSCALER, Pictures
from adapters.novita.sounds import HANDLED, speak
from adapters.novita.tasks import Tasks
from adapters.openai_api.other import Others
from adapters.options import NovitaOptions
from adapters.patience import awaited
from proxy.call import Call, Operation, Target
from proxy.params import Sorted, sort_out
from proxy.ports import Caps, Reply

_EMBEDDINGS = Caps(operations=frozenset({Operation.EMBEDDINGS}), forwards=frozenset({"encoding_format"}))
UNITS_PER_USD = 10_000
_PAGE = 100
ROUTES = frozenset({*SYNC, *RETOUCHING, UPSCALER, "glm-tts"})  # what is called by a route instead of a list's name


class Novita(Llm):
    """Kind `novita`."""

    kind: ClassVar[str] = "novita"

    def __init__(self, name: str, options: NovitaOptions, client: HttpClient) -> None:
        super().__init__(name, options, client)
        self._tasks = Tasks(name, options, client)
        self._pictures = pictures = Pictures(self._tasks, files_of(name, options))
        self._served: dict[Operation, Callable[[Call, Target], Awaitable[Reply]]] = {
            Operation.EMBEDDINGS: Others(name, self.options, _EMBEDDINGS, self._send).open,
            Operation.SPEECH: self._speak,
            Operation.IMAGES: self._draw,
            Operation.IMAGE_EDIT: pictures.edit,
            Operation.UPSCALE: pictures.enlarge,
        }

    @property
    def engine(self) -> JobEngine:
        return self._tasks.engine

    async def open(self, call: Call, target: Target) -> Reply:
        """See `Adapter.open`."""
        if (serve := self._served.get(call.operation)) is not None:
            return await serve(call, target)
        return await super().open(call, target)

    def preview(self, call: Call, target: Target) -> Sorted:
        """See `Previews`."""
        if call.operation is Operation.IMAGES:
            wish = wish_of(call, target.model, self._tasks.options.inputs.get(target.model, {}))
            return told(wish.body.get("request", wish.body), wish.dropped)
        if call.operation is Operation.EMBEDDINGS:
            return sort_out(call.fields, _EMBEDDINGS)
        if call.operation is Operation.SPEECH:
            return named(call.fields, HANDLED - {"model", "stream_format", "streaming"}, HANDLED)
        if call.operation in self._served:
            sent = {"image", "image[]", "images", "mask", "n", "scale"}
            return named(call.fields, frozenset(sent), EDIT if call.operation is Operation.IMAGE_EDIT else frozenset())
        return super().preview(call, target)

    async def _draw(self, call: Call, target: Target) -> Reply:
        if not call.stream:
            return await self._pictures.draw(call, target)
        seen: list[Job] = []
        return await awaited(self._pictures.draw(call, target, seen), lambda: note_of(seen))

    async def _speak(self, call: Call, target: Target) -> Reply:
        return await speak(call, target, self._tasks)

    # ── what operators ask ───────────────────────────────────────────────────────────────────────────────────────────

    async def probe(self, target: Target | None = None) -> str:
        names = [str(row["id"]) for row in await self.models()]
        if target is not None and target.model not in {*names, *ROUTES}:
            found = [row["id"] for shelf in self.shelves for row in await self.shelf(shelf, target.model)]
            if target.model not in found and not target.model.startswith("minimax-speech"):
                return f"reachable, but {target.model!r} is none of its {len(names)} models, nor an image model"
        return f"reachable, {len(names)} models"

    @property
    def shelves(self) -> tuple[str, ...]:
        return ("checkpoints", "loras", "upscalers")

    async def shelf(self, name: str, of: str = "") -> list[dict[str, object]]:
        """See `HasShelves`: its image models of one type; `of` are words to search for."""
        wish = {"filter.types": name.removesuffix("s"), "filter.visibility": "public", "pagination.limit": _PAGE}
        query = urlencode(wish | ({"filter.query": of} if of else {}))
        rows: Any = (await self._tasks.ask("GET", "/v3/model", query=query)).get("models")
        listed = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        return [
            {"id": row.get("sd_name_in_api"), "name": row.get("name"), "model": row.get("base_model")} for row in listed
        ]

    async def balance(self) -> str:
        """See `KnowsBalance`."""
        left = (await self._tasks.ask("GET", "/v3/user")).get("credit_balance")
        return f"{left / UNITS_PER_USD:.2f} USD" if isinstance(left, (int, float)) and left > 0 else "0 USD"

    async def aclose(self) -> None:
        await self._tasks.aclose()
        await super().aclose()


def build(name: str, options: NovitaOptions) -> Novita:
    """See `adapters.build`. Opens no connection."""
    return Novita(name, options, client_of(options))
