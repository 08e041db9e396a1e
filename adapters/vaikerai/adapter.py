"""One predictions upstream: which part serves which operation, its probe, its lists, and the reports that it sends.

URLs that the upstream gives are never followed with the token: everything is built from ids; its event streams and files are
fetched from listed hosts, at addresses that were checked. A client that leaves cancels its prediction.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import Raw

from adapters._http import HttpClient, HttpResponse, Spot, Timeouts, TransportError, fetch_head
from adapters.download import files_of, target_of
from adapters.guard import UrlPolicy, pin
from adapters.jobs import Job, JobEngine
from adapters.line import client_of
from adapters.options import VaikerAIOptions
from adapters.text_chat import TextChat, Texts, reply_of
from adapters.vaikerai import shelves
from adapters.vaikerai.api import Api
from adapters.vaikerai.attachments import placed
from adapters.vaikerai.hooks import Hooks, key_of
from adapters.vaikerai.inputs import CAPS, inputs_of
from adapters.vaikerai.orders import wish_of
from adapters.vaikerai.pictures import Pictures
from adapters.vaikerai.predictions import Predictions
from adapters.vaikerai.reference import Reference
from adapters.vaikerai.schema import takes_list
from adapters.vaikerai.sounds import Sounds
from adapters.vaikerai.texts import EventTexts, PredictionTexts
from adapters.vaikerai.vectors import Vectors
from proxy import log
from proxy.call import Call, Operation, Target
from proxy.errors import Fault, NotFound, UpstreamError
from proxy.params import Sorted, sort_out
from proxy.ports import Caps, Reply
from proxy.wire.body import encode

HEAD_S = 15.0  # how long an event stream may take to begin before the text is read by polling instead

_log = log.get("vaikerai")


class VaikerAI:
    """Kind `vaikerai`."""

    kind: ClassVar[str] = "vaikerai"

    def __init__(self, name: str, options: VaikerAIOptions, client: HttpClient) -> None:
        self.name = name
        self.options = options
        self.caps: Caps = CAPS
        self._api = Api(name, options, client)
        self._predictions = Predictions(self._api)
        downloads = files_of(name, options)
        pictures = Pictures(self._api, self._predictions, downloads)
        self._sounds = Sounds(self._api, self._predictions, downloads)
        self._streams = UrlPolicy(options.stream_hosts, own=options.base_url)
        self._hooks = Hooks(self._secret, tolerance_s=options.webhook_tolerance_s)
        self._served = {
            Operation.IMAGES: pictures.draw,
            Operation.IMAGE_EDIT: pictures.edit,
            Operation.UPSCALE: pictures.enlarge,
            Operation.SPEECH: self._sounds.speak,
            Operation.EMBEDDINGS: Vectors(self._api, self._predictions).embed,
        }

    @property
    def engine(self) -> JobEngine:
        return self._predictions.engine

    async def open(self, call: Call, target: Target) -> Reply:
        """See `Adapter.open`."""
        reference = Reference(target.model)
        if call.operation is Operation.CHAT:
            return await self._chat(call, reference)
        if (serve := self._served.get(call.operation)) is not None:
            return await serve(call, reference)
        said = f"The upstream {self.name!r} cannot serve {call.operation.value}."
        raise UpstreamError(Fault.UNSUPPORTED, said, accepted=False)

    async def _chat(self, call: Call, reference: Reference) -> Reply:
        schema = (await self._api.model(reference)).inputs
        inputs = inputs_of(call, schema, self.options.prompt_template)
        call.dropped = inputs.dropped
        given = inputs.given
        if inputs.pictures:
            urls = [await placed(self._api, url, param=where) for where, url in inputs.pictures]
            given[inputs.picture_input] = urls if takes_list(schema[inputs.picture_input]) else urls[0]
        job, made = await self._predictions.start(reference, given, stream=call.stream)
        texts = self._texts(job, made) if call.stream else PredictionTexts(job, self.name)
        return await reply_of(call, TextChat(call, texts, stops=inputs.stops, limit=inputs.limit), texts)

    def _texts(self, job: Job, made: dict[str, Any]) -> Texts:
        urls = made.get("urls")
        url = urls.get("stream") if isinstance(urls, dict) else None
        if job.over or not isinstance(url, str) or not self.options.stream_hosts:
            return PredictionTexts(job, self.name)
        return EventTexts(job, self.name, lambda: self._events(url))

    async def _events(self, url: str) -> HttpResponse | None:
        """A prediction's event stream; None, and a line in the log, where it cannot be had."""
        clocks = self.options.timeout
        head_s = min(HEAD_S, clocks.first_byte_s)
        timeouts = Timeouts(clocks.connect_s, head_s, clocks.between_bytes_s, clocks.total_s, clocks.pool_s)
        headers = [("accept", "text/event-stream"), ("cache-control", "no-store")]
        try:
            place = await pin(self._streams, url, refuse=lambda reason: NotFound(reason))
            aim = place.aim
            if aim.credentials:
                headers.append(("authorization", f"Bearer {self.options.api_key}"))
            spot = Spot(aim.scheme, aim.host, aim.port, target_of(aim.url), place.address)
            response = await fetch_head(spot, headers=headers, timeouts=timeouts, verify=self.options.verify)
        except (NotFound, TransportError) as error:
            _log.info("stream not followed", upstream=self.name, why=str(error))
            return None
        if response.status != 200 or not (response.header("content-type") or "").startswith("text/event-stream"):
            response.close()
            _log.info("stream not followed", upstream=self.name, why=f"status {response.status}")
            return None
        return response

    def preview(self, call: Call, target: Target) -> Sorted:
        """See `Previews`: by the model's schema where that is known already, else by what models usually take."""
        model = self._api.known(target.model)
        if model is None or call.operation not in (Operation.CHAT, Operation.IMAGES):
            return sort_out(call.fields, self.caps)
        if call.operation is Operation.IMAGES:
            wish = wish_of(call, model.inputs, unsafe=self.options.allow_unsafe)
            given, dropped = wish.given, wish.dropped
        else:
            inputs = inputs_of(call, model.inputs, self.options.prompt_template)
            given, dropped = inputs.given, inputs.dropped
        return Sorted({key: Raw(encode(value)) for key, value in given.items()}, {}, dropped)

    # ── reports ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def report(self, headers: Mapping[str, str], body: bytes) -> None:
        """See `TakesReports`."""
        if not self.options.webhook_url:
            raise NotFound("No upstream of this name sends reports here.")
        prediction = await self._hooks.genuine(headers, body)
        if prediction is not None and not self._predictions.news(prediction):
            _log.debug("report of nobody's prediction", upstream=self.name)

    async def _secret(self) -> str:
        if self.options.webhook_secret:
            return self.options.webhook_secret
        secret = str((await self._api.ask("GET", "/webhooks/default/secret")).get("key"))
        log.keep_secret(secret)
        return secret

    # ── what operators ask ───────────────────────────────────────────────────────────────────────────────────────────

    async def probe(self, target: Target | None = None) -> str:
        """The account behind the key, and what it has deployed."""
        account = await self._api.ask("GET", "/account")
        if target is not None and (name := Reference(target.model).name) and not Reference(target.model).deployment:
            await self._api.ask("GET", f"/models/{name}")
        return f"reachable, {account.get('type', 'account')!s:.20} {account.get('username')!s:.80}"

    async def models(self, search: str = "") -> list[dict[str, object]]:
        """Its public models; with words to search for, those that the upstream finds."""
        return await shelves.models(self._api, search)

    async def shelf(self, name: str, of: str = "") -> list[dict[str, object]]:
        """See `HasShelves`."""
        return await shelves.SHELVES[name](self._api, of)

    @property
    def shelves(self) -> tuple[str, ...]:
        return tuple(shelves.SHELVES)

    async def aclose(self) -> None:
        await self._predictions.aclose()
        await self._sounds.aclose()
        await self._api.aclose()


def build(name: str, options: VaikerAIOptions) -> VaikerAI:
    """See `adapters.build`. Opens no connection. ValueError for a webhook_secret that is none."""
    if options.webhook_secret:
        log.keep_secret(options.webhook_secret)
        key_of(options.webhook_secret)
    return VaikerAI(name, options, client_of(options))
