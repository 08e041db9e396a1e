"""From ASGI to a handler and back: one Endpoint per path and prefix. Access is checked here, before any handler, for every
route: deny by default. A handler decodes and returns a Call (which is walked through the pipeline) or an Answer.

Nothing leaves but through `_errors` or `_send`; a crash is an Internal whose cause is in the log only.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any

import msgspec
from litestar.types import Receive, Scope, Send

from proxy import dryrun, log, pipeline
from proxy.accounts import Accounts
from proxy.call import ANYBODY, Call, Dialect, Principal
from proxy.errors import (
    BadRequest,
    ClientGone,
    Internal,
    KeyInvalid,
    MethodNotAllowed,
    PermissionDenied,
    TraghettoError,
)
from proxy.metrics import Metrics
from proxy.ports import Keyring, Reply
from proxy.wire.body import encode
from routes._errors import dialect_of, rendered
from routes._inbound import Inbound, request_id
from routes._outlet import OUTLET, AsgiOutlet, Outlet, Way
from routes._replay import Repeats, asked
from routes._send import Broken, as_headers, packed, send_reply

_log = log.get("routes")


class Access(StrEnum):
    """Who may use a route. What is not OPEN asks for a key as soon as keys are asked for at all."""

    OPEN = "open"
    KEY = "key"
    ADMIN = "admin"


_OPEN, _KEY, _ADMIN = Access.OPEN, Access.KEY, Access.ADMIN


class Answer(msgspec.Struct):
    """What a handler answers that is no call: an object (sent as JSON) or bytes."""

    body: Any
    status: int = 200
    content_type: str = "application/json"
    headers: list[tuple[str, str]] = []


class Desk(msgspec.Struct):
    """What handlers work with. `house` is the current snapshot: take it once per request."""

    house: pipeline.House
    keyring: Keyring
    metrics: Metrics
    max_body: int
    keepalive_s: float
    accounts: Accounts
    reload: Callable[[], Awaitable[list[str]]] | None = None
    repeats: Repeats | None = None
    extra: dict[str, Any] = {}


# What `dry_run` may say. Anything else is refused: a call that was meant to cost nothing must not cost for a slip.
DRY = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}

Handler = Callable[[Inbound, Desk], Awaitable[Call | Answer]]


class Route(msgspec.Struct, frozen=True):
    """One line of the URL table. `prefixed` false: at the root, under neither prefix."""

    method: str
    path: str
    handler: Handler
    access: Access = Access.KEY
    prefixed: bool = True


class Endpoint:
    """All methods of one path under one prefix."""

    def __init__(self, path: str, routes: Mapping[str, Route], desk: Desk) -> None:
        self.path = path
        self.routes = {
            **routes,
            **({"HEAD": routes["GET"]} if "GET" in routes else {}),
        }  # the outlet leaves its body out
        self.dialect = dialect_of(path)
        self._desk = desk
        self._allow = ", ".join(sorted({*self.routes, "OPTIONS"}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        extensions = scope.get("extensions")
        own = extensions.get(OUTLET) if extensions else None
        outlet: Outlet = own if own is not None else AsgiOutlet(receive, send)  # type: ignore[assignment]
        inbound = Inbound(scope, receive, outlet, self.dialect, request_id())
        code = 0
        try:
            route = self.routes.get(inbound.method)
            if route is None:
                await self._no_such_method(inbound)
            else:
                await self._serve(route, inbound)
        except TraghettoError as error:
            self._desk.accounts.failed(inbound.principal, error)
            code = await _refuse(inbound, error)
        except asyncio.CancelledError:
            if not outlet.gone:
                raise
            code = ClientGone.status
        except Broken:
            raise
        except Exception as error:  # noqa: BLE001 - the last door: told as a 500, logged whole
            _log.error("crash", request=inbound.id, path=self.path, exc_info=error)
            code = await _refuse(inbound, Internal(f"An internal error; the log has it under {inbound.id}."))
        finally:
            self._desk.metrics.request(self.path, code or outlet.status, time.perf_counter() - started)

    async def _no_such_method(self, inbound: Inbound) -> None:
        if inbound.method != "OPTIONS":
            raise MethodNotAllowed(
                f"{inbound.method} is not allowed here; allowed: {self._allow}.", headers=(("allow", self._allow),)
            )
        headers = [("allow", self._allow), ("x-request-id", inbound.id)]
        await inbound.outlet.whole(200, as_headers(headers), b"")

    async def _serve(self, route: Route, inbound: Inbound) -> None:
        desk = self._desk
        access = route.access
        if access is not _OPEN:
            try:
                key = principal_of(inbound, access, desk.keyring)
            except KeyInvalid:
                if not await desk.keyring.look_again(_secret(inbound)):
                    raise
                key = principal_of(inbound, access, desk.keyring)
            inbound.principal = key
            if access is _KEY and key is not ANYBODY and desk.accounts.abuse.blocked_s(key.id):
                desk.accounts.let_in(key)
        result = await route.handler(inbound, desk)
        if isinstance(result, Call):
            if _is_dry(inbound):
                asked(inbound.headers)  # refused as it would be
                await send_answer(Answer(await dryrun.told(result, desk.house)), inbound)
                return
            await _infer(result, inbound, desk)
        else:
            await send_answer(result, inbound)


async def _infer(call: Call, inbound: Inbound, desk: Desk) -> None:
    """Walk a call through the house while its client is watched."""
    outlet = inbound.outlet
    outlet.watch()
    way: Way = outlet
    house = desk.house
    house.enter()
    try:
        said = asked(inbound.headers) if desk.repeats is not None else None
        if said is None or desk.repeats is None:
            reply: Reply = await pipeline.run(call, house)
        else:
            reply, way = await desk.repeats.open(said, call, house, outlet, inbound.scope["path"])
        await send_reply(call, reply, way, inbound.header(b"accept-encoding"), desk.keepalive_s)
    except TraghettoError as error:
        error.headers = (*error.headers, *_route_headers(call))
        raise
    finally:
        house.leave()
        way.unwatch()


def _is_dry(inbound: Inbound) -> bool:
    """Raises BadRequest for what is neither yes nor no."""
    asked = inbound.header(b"x-traghetto-dry-run") if b"x-traghetto-dry-run" in inbound.headers else None
    if asked is None and inbound.scope["query_string"]:
        asked = inbound.query().get("dry_run")
    if asked is None:
        return False
    if (word := asked.lower()) not in DRY:
        raise BadRequest(f"'dry_run' is one of {', '.join(DRY)}; got {asked[:50]!r}.", param="dry_run")
    return DRY[word]


def _route_headers(call: Call) -> list[tuple[str, str]]:
    if not call.attempts:
        return []
    last = call.attempts[-1]
    return [("x-traghetto-route", f"{last.target}; attempt={len(call.attempts)}; reason={last.reason}")]


def principal_of(inbound: Inbound, access: Access, keyring: Keyring) -> Principal:
    """Who calls, if they may use a route of this access.

    Raises:
        KeyInvalid: no key, or not a good one. PermissionDenied: an inference key on an admin route.
    """
    if access is _OPEN or not keyring.required:
        return ANYBODY
    given = inbound.headers.get(b"authorization")
    principal = None if given is None else keyring.known(given)
    if principal is None:
        secret = _secret(inbound)
        if not secret:
            raise KeyInvalid("No API key was given. Send it as 'Authorization: Bearer <key>'.", code="invalid_api_key")
        principal = keyring.principal(secret)
    if access is _ADMIN and not principal.admin:
        raise PermissionDenied("This route needs an ADMIN key.")
    return principal


def _secret(inbound: Inbound) -> str:
    value = inbound.header(b"authorization")
    if value:
        scheme, _, secret = value.partition(" ")
        return secret.strip() if scheme.lower() == "bearer" else ""
    return (inbound.header(b"x-api-key") or "").strip()


async def send_answer(answer: Answer, inbound: Inbound) -> None:
    """An Answer → bytes, packed if the client likes."""
    body = answer.body if isinstance(answer.body, bytes) else encode(answer.body)
    headers = [*answer.headers, ("content-type", answer.content_type), ("x-request-id", inbound.id)]
    if len(body) >= 1024 and (accepts := inbound.header(b"accept-encoding")):
        body, encoding = await packed(body, accepts)
        if encoding:
            headers += [("content-encoding", encoding.decode()), ("vary", "accept-encoding")]
    await inbound.outlet.whole(answer.status, as_headers(headers), body)


async def _refuse(inbound: Inbound, error: TraghettoError) -> int:
    """Tell an error, if anybody is there and no answer has begun. The status that the request ended with."""
    if isinstance(error, ClientGone) or inbound.outlet.status:
        return inbound.outlet.status or error.status
    code, headers, body = rendered(error, inbound.dialect, inbound.id)
    pairs = [*headers, ("content-type", "application/json"), ("x-request-id", inbound.id)]
    if inbound.dialect is Dialect.ANTHROPIC:
        pairs.append(("request-id", inbound.id))
    await inbound.outlet.whole(code, as_headers(pairs), body)
    return code
