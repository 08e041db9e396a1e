"""One Bytez upstream: serverless (v2), or with models that are loaded first (v1); which part serves which operation."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

from adapters._http import HttpClient
from adapters.accents import told
from adapters.bytez.api import Api, Runner, Serverless
from adapters.bytez.chat import Chats
from adapters.bytez.life import Life, Loaded
from adapters.bytez.media import Media
from adapters.bytez.raw import CAPS as V1_CAPS
from adapters.bytez.raw import RawTexts, params_of, prompt_of
from adapters.download import Downloads
from adapters.guard import UrlPolicy
from adapters.jobs import JobEngine
from adapters.line import client_of
from adapters.options import BytezOptions
from adapters.text_chat import TextChat, reply_of
from proxy import log
from proxy.call import Call, Operation, Target
from proxy.errors import Fault, TraghettoError, UpstreamError
from proxy.params import Sorted
from proxy.ports import Caps, Instance, Reply

Serve = Callable[[Call, Target], Awaitable[Reply]]


class Bytez(Chats):
    """Kind `bytez`, over v2."""

    kind: ClassVar[str] = "bytez"

    def __init__(self, name: str, options: BytezOptions, client: HttpClient) -> None:
        super().__init__(name, options, client)
        self._api = Api(name, options, client)
        self._served = served(self._api, Serverless(self._api))

    async def open(self, call: Call, target: Target) -> Reply:
        """See `Adapter.open`."""
        if (serve := self._served.get(call.operation)) is not None:
            return await serve(call, target)
        return await super().open(call, target)

    def preview(self, call: Call, target: Target) -> Sorted:
        """See `Previews`."""
        return Media.preview(call) if call.operation in self._served else super().preview(call, target)

    @property
    def shelves(self) -> tuple[str, ...]:
        return ("tasks",)

    async def shelf(self, name: str, of: str = "") -> list[dict[str, object]]:
        """See `HasShelves`."""
        del name, of
        rows = (await self._api.ask("GET", "/models/v2/list/tasks")).get("output")
        return [
            {"id": row.get("task"), "models": row.get("model_count")} for row in rows or () if isinstance(row, dict)
        ]


class BytezV1:
    """Kind `bytez`, over v1."""

    kind: ClassVar[str] = "bytez"

    def __init__(self, name: str, options: BytezOptions, client: HttpClient) -> None:
        self.name = name
        self.options = options
        self.caps: Caps = V1_CAPS
        self._client = client
        self._api = Api(name, options, client)
        self._life = Life(self._api)
        self._loaded = Loaded(self._api, self._life)
        self._served = {**served(self._api, self._loaded), Operation.CHAT: self._chat}

    @property
    def engine(self) -> JobEngine:
        return self._life.engine

    async def open(self, call: Call, target: Target) -> Reply:
        """See `Adapter.open`."""
        if (serve := self._served.get(call.operation)) is not None:
            return await serve(call, target)
        said = f"The upstream {self.name!r} cannot serve {call.operation.value}."
        raise UpstreamError(Fault.UNSUPPORTED, said, accepted=False)

    def preview(self, call: Call, target: Target) -> Sorted:
        """See `Previews`."""
        if call.operation is not Operation.CHAT:
            return Media.preview(call)
        params, dropped = params_of(call)
        return told(self.options.inputs.get(target.model, {}) | params, dropped)

    async def _chat(self, call: Call, target: Target) -> Reply:
        """Always read as a stream: closing it is the only way to end the work."""
        prompt = prompt_of(call, self.options.prompt_template)
        params, call.dropped = params_of(call)
        params = self.options.inputs.get(target.model, {}) | params
        body: dict[str, Any] = {"model": target.model, "prompt": prompt.text, "stream": True}
        texts = RawTexts(await self._loaded.begin(body | ({"params": params} if params else {})), self.name)
        chat = TextChat(call, texts, stops=prompt.stops, echo=prompt.text, limit=call.request.limit)
        return await reply_of(call, chat, texts)

    # ── proxy.ports.HoldsModels ──────────────────────────────────────────────────────────────────────────────────────

    async def load(
        self, target: Target, *, concurrency: int | None = None, keep_s: float | None = None, wait: bool = False
    ) -> Instance:
        return await self._life.load(target, concurrency=concurrency, keep_s=keep_s, wait=wait)

    async def unload(self, target: Target, *, wait: bool = False) -> Instance | None:
        return await self._life.unload(target, wait=wait)

    def owns(self, target: Target) -> bool:
        del target
        return False

    def instance(self, target: Target) -> Instance:
        return self._life.one(target.model)

    def instances(self, names: Sequence[str] = ()) -> list[Instance]:
        return self._life.all(names)

    # ── what operators ask ───────────────────────────────────────────────────────────────────────────────────────────

    async def probe(self, target: Target | None = None) -> str:
        names = [str(row["id"]) for row in await self.models()]
        if target is not None and target.model not in names:
            return f"reachable, but it does not list {target.model!r} among its {len(names)} models"
        return f"reachable, {len(names)} models"

    async def models(self, search: str = "") -> list[dict[str, object]]:
        rows = await self._api.ask("GET", "/model/list")
        named = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        found: list[dict[str, object]] = [{"id": str(row.get("name")), **row} for row in named]
        return [row for row in found if search.lower() in str(row["id"]).lower()]

    @property
    def shelves(self) -> tuple[str, ...]:
        return ("instances",)

    async def shelf(self, name: str, of: str = "") -> list[dict[str, object]]:
        """See `HasShelves`."""
        del name, of
        return await self._life.listed()

    async def aclose(self) -> None:
        await self._life.aclose()
        await self._client.aclose()


def served(api: Api, runner: Runner) -> dict[Operation, Serve]:
    """What both interfaces make alike."""
    media = Media(api, runner, files_of(api))
    return {Operation.IMAGES: media.draw, Operation.SPEECH: media.speak, Operation.EMBEDDINGS: media.embed}


def files_of(api: Api) -> Downloads:
    """Downloads of its outputs: with the key in its own words, on its own origin only."""

    def refuse(reason: str) -> TraghettoError:
        said = f"The file that the upstream {api.name!r} made could not be fetched: {reason}."
        return UpstreamError(Fault.SERVER, said, accepted=True)

    options = api.options
    policy = UrlPolicy(options.file_hosts, own=options.base_url)
    token = f"Key {options.api_key}" if options.api_key else None
    return Downloads(policy, refuse, authorization=token, verify=options.verify)


def build(name: str, options: BytezOptions) -> Bytez | BytezV1:
    """See `adapters.build`. Opens no connection."""
    log.keep_secret(options.api_key)
    client = client_of(options, headers=[("authorization", f"Key {options.api_key}")] if options.api_key else [])
    return (BytezV1 if options.api == "v1" else Bytez)(name, options, client)
