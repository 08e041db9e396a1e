"""The life of models that must be loaded first (v1): one load for all who wait, its status read by the one job engine.

It owns what is known of each model's state; it refuses to know what a model is asked. Invariants: no path of a request ever
unloads (that would stop the model for every user of the account); a load goes on when those who wait for it have left.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from adapters._http import HttpResponse
from adapters.accents import object_in
from adapters.bytez.api import AS_TEXT, Api, output_of
from adapters.job_pace import Look, Phase
from adapters.jobs import JobEngine
from proxy.call import Target
from proxy.errors import Fault, UpstreamError
from proxy.log import redact
from proxy.ports import Instance

ALREADY: Final = 209  # what `load` answers for a model that runs
LOADING_S: Final = 1800.0
RETRY_AFTER_S: Final = 30.0
_STATES: Final = {"RUNNING": "ready", "DEPLOYING": "loading", "FAILED": "failed"}


class Life:
    """Of one upstream's models."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.engine = JobEngine(api.name, reads_per_s=api.options.reads_per_s)
        self._known: dict[str, Instance] = {}
        self._loads: dict[str, asyncio.Task[None]] = {}

    async def ready(self, model: str) -> None:
        """Return once the model runs, as far as is known. Raises UpstreamError: it cannot be loaded, or not in time."""
        if model not in self._loads and self.one(model).state == "ready":
            return
        try:
            async with asyncio.timeout(self._api.options.timeout.total_s):
                await asyncio.shield(self._loading(model))
        except TimeoutError:
            said = f"The upstream {self._api.name!r} is still loading the model."
            raise UpstreamError(Fault.OVERLOADED, said, accepted=False, retry_after_s=RETRY_AFTER_S) from None

    def gone(self, model: str) -> None:
        """It turned out not to run any more."""
        self._known.pop(model, None)

    def one(self, model: str) -> Instance:
        return self._known.get(model) or Instance(model=model, state="unloaded")

    def all(self, names: Sequence[str] = ()) -> list[Instance]:
        del names  # a model's name is the same everywhere
        return [instance for instance in self._known.values() if instance.state != "unloaded"]

    async def load(
        self, target: Target, *, concurrency: int | None = None, keep_s: float | None = None, wait: bool = False
    ) -> Instance:
        """See `proxy.ports.HoldsModels`."""
        task = self._loading(target.model, concurrency, keep_s)
        if wait:
            await asyncio.shield(task)
        else:
            await asyncio.sleep(0)
        return self.one(target.model)

    async def unload(self, target: Target, *, wait: bool = False) -> Instance | None:
        """See `proxy.ports.HoldsModels`; Bytez ends what runs by itself."""
        del wait
        try:
            await self._api.ask("POST", "/model/delete", {"model": target.model})
        except UpstreamError as error:
            if error.fault is not Fault.MISSING:
                raise
            self.gone(target.model)
            return None
        self.gone(target.model)
        return self.one(target.model)

    async def listed(self) -> list[dict[str, object]]:
        """The account's instances, as Bytez lists them."""
        rows = await self._api.ask("GET", "/model/instances")
        found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        for row in found:
            self._learn(str(row.get("model")), row)
        columns = ("status", "concurrency", "inferences", "expiresAt")
        return [{"id": row.get("model"), **{key: row.get(key) for key in columns}} for row in found]

    async def aclose(self) -> None:
        for task in list(self._loads.values()):
            task.cancel()
        await asyncio.gather(*self._loads.values(), return_exceptions=True)
        await self.engine.aclose()

    # ── loading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _loading(self, model: str, concurrency: int | None = None, keep_s: float | None = None) -> "asyncio.Task[None]":
        """The load of this model that is under way, or a new one."""
        task = self._loads.get(model)
        if task is None:
            self._known[model] = Instance(model=model, state="loading", created=time.time())
            task = asyncio.get_running_loop().create_task(self._load(model, concurrency, keep_s))
            self._loads[model] = task
            task.add_done_callback(lambda done: self._loaded(model, done))
        return task

    def _loaded(self, model: str, task: "asyncio.Task[None]") -> None:
        self._loads.pop(model, None)
        if task.cancelled() or (error := task.exception()) is None:
            return
        self._known[model] = Instance(model=model, state="failed", reason=redact(str(error)))

    async def _load(self, model: str, concurrency: int | None, keep_s: float | None) -> None:
        options = self._api.options
        body: dict[str, Any] = {"model": model, "concurrency": concurrency or options.concurrency}
        keep_s = options.expiration_s if keep_s is None else keep_s
        if keep_s is not None and keep_s > 0:
            body["expirationPeriodSeconds"] = int(keep_s)
        try:
            response = await self._api.send("POST", "/model/load", body)
        except UpstreamError as error:
            if error.upstream_status != 429 or "credit" in error.message.lower():
                raise _unpaid(error) from None
        else:
            status = response.status
            await self._api.read(response)
            if status == ALREADY:
                self._known[model] = Instance(model=model, state="ready", concurrency=body["concurrency"])
                return
        await self._until_it_runs(model)

    async def _until_it_runs(self, model: str) -> None:
        async def poll() -> Look:
            row = await self._api.ask("POST", "/model/status", {"model": model}, told=True)
            if not isinstance(row, dict) or not isinstance(row.get("status"), str):
                said = f"The upstream {self._api.name!r} sent no state of the model."
                raise UpstreamError(Fault.MALFORMED, said, accepted=True)
            state = self._learn(model, row).state
            phase = {"ready": Phase.DONE, "failed": Phase.FAILED}.get(state, Phase.RUNNING)
            return Look(phase, str(row.get("error") or ""))

        job = self.engine.watch(f"load {model}", poll, deadline_s=LOADING_S)
        try:
            look = await job.result()
        except BaseException:
            job.leave()
            raise
        if look.phase is not Phase.DONE:
            said = f"The upstream {self._api.name!r} could not load the model: {redact(look.body or 'no reason given')}"
            raise UpstreamError(Fault.SERVER, said, accepted=False)

    def _learn(self, model: str, row: dict[str, Any]) -> Instance:
        concurrency, served, keep_s = (row.get(k) for k in ("concurrency", "inferences", "expirationPeriodSeconds"))
        instance = Instance(
            model=model,
            state=_STATES.get(str(row.get("status")), "loading"),
            concurrency=concurrency if isinstance(concurrency, int) else 0,
            served=served if isinstance(served, int) else 0,
            keep_s=float(keep_s) if isinstance(keep_s, (int, float)) else 0.0,
            expires=_moment(row.get("expiresAt")),
            created=_moment(row.get("created")),
            modified=_moment(row.get("modified")),
            reason=redact(str(row.get("error") or "")),
        )
        self._known[model] = instance
        return instance


class Loaded:
    """v1: a model is loaded, then run. See `adapters.bytez.api.Runner`."""

    def __init__(self, api: Api, life: Life) -> None:
        self._api = api
        self._life = life

    async def run(self, model: str, text: str) -> Any:
        fixed = self._api.options.inputs.get(model)
        body = {"model": model, "prompt": text, **({"params": fixed} if fixed else {})}
        async with self._api.room:
            said = await self._api.read(await self.begin(body))
        answer = object_in(said)
        if answer.get("error") is not None:
            words = redact(str(answer["error"]))
            raise UpstreamError(Fault.SERVER, f"The upstream {self._api.name!r} failed: {words}", accepted=True)
        return output_of(answer, self._api.name)

    async def begin(self, body: dict[str, Any]) -> HttpResponse:
        """A run whose status is good. A model that went to sleep meanwhile is loaded again, once."""
        model: str = body["model"]
        for first in (True, False):
            await self._life.ready(model)
            try:
                return await self._api.send("POST", "/model/run", body)
            except UpstreamError as error:
                if not (first and error.upstream_status in (400, 404) and AS_TEXT.search(error.message)):
                    raise
                self._life.gone(model)
        raise AssertionError("the second try returns or raises")


def _unpaid(error: UpstreamError) -> UpstreamError:
    """A 429 about credits is no limit of requests."""
    if error.upstream_status != 429:
        return error
    return UpstreamError(Fault.BALANCE, error.message, accepted=False, upstream_status=429)


def _moment(text: Any) -> float | None:
    try:
        return msgspec.convert(text, datetime).timestamp()
    except msgspec.ValidationError:
        return None
