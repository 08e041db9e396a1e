"""The seams: what a stage may ask of another room. Protocols and the data that crosses them; it imports no implementation."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import msgspec

from proxy.call import Call, Ending, Operation, Plan, Principal, Served, Target, Usage
from proxy.lane import Lane

if TYPE_CHECKING:
    from proxy.account import Metered
    from proxy.catalogue import Model
    from proxy.config import ModelType
    from proxy.health import Health
    from proxy.keys.store import KeyStore
    from proxy.params import Sorted

_CHATS = frozenset({Operation.CHAT, Operation.COMPLETIONS, Operation.RESPONSES, Operation.MESSAGES})


class Caps(msgspec.Struct, frozen=True):
    """What a kind of upstream can do, as data.

    `operations` are the routes it serves. Per parameter of the request it *forwards* (same name and meaning),
    *translates* (another name or place) or *refuses* (400 naming it, since leaving it out would change the answer);
    any other parameter is dropped and named in `x-traghetto-dropped`. `refuses` is about chats; the same names mean other
    things elsewhere, so that other operations have their own in `refuses_elsewhere`. `open_ended` forwards unknown keys as
    well; `venice` honours every venice_parameter itself.
    """

    operations: frozenset[Operation]
    forwards: frozenset[str] = frozenset()
    translates: Mapping[str, str] = {}
    refuses: frozenset[str] = frozenset()
    open_ended: bool = False
    venice: bool = False
    refuses_elsewhere: Mapping[Operation, frozenset[str]] = {}

    def refused(self, operation: Operation) -> frozenset[str]:
        """The parameters that this operation refuses."""
        return self.refuses if operation in _CHATS else self.refuses_elsewhere.get(operation, frozenset())


class Reply(Protocol):
    """What came back, already in the dialect of the route. Closing it frees the socket, at once and always.

    `next` gives one or more whole frames (SSE events, or the JSON or binary body), b"" once it has ended well; it raises
    UpstreamError when it ends badly. `ending` and `usage` are set no later than with the last frame that carries content,
    so that the books can be kept before that frame leaves. `close` is synchronous and idempotent; it never depends on a
    generator being finalised.
    """

    status: int
    content_type: str
    headers: list[tuple[str, str]]

    @property
    def ending(self) -> Ending | None: ...

    @property
    def usage(self) -> Usage | None: ...

    async def next(self) -> bytes: ...

    def close(self) -> None: ...


class Flows(Protocol):
    """A Reply that can pass frames on in the moment they come, with no task woken for each."""

    async def flow(self, write: Callable[[bytes], bool], lane: Lane | None = None) -> bytes:
        """Frames to `write`, which must not raise, until it returns False for some or the end comes; those are returned, as
        `next` would: b"" only after the end. Raises as `next` does. What `lane`, the same in each call, takes does not come
        to `write`: who must see every frame hands none on."""
        ...


class Adapter(Protocol):
    """One configured upstream of one kind: its dialect and its socket; never keys, budgets, retries or routes."""

    kind: ClassVar[str]
    caps: Caps
    name: str  # of the upstream, in the configuration

    async def open(self, call: Call, target: Target) -> Reply:
        """Return once the first frame is at hand, so that every failure before it is an UpstreamError raised here."""
        ...

    async def probe(self, target: Target | None = None) -> str:
        """One cheap request: what works, in a line. UpstreamError when it does not."""
        ...

    async def aclose(self) -> None: ...


class Permit(Protocol):
    """The right to spend on one call. Of all three, only the first that is called has an effect, and only once."""

    def cancel(self, ending: Ending) -> None:
        """Nothing was served: the whole reservation goes back. A call that reached an upstream is booked all the same."""
        ...

    def settle(self, served: Served) -> Awaitable[None] | None:
        """The call ended while its client was there: book it, durably, before the last frame leaves. None: that is done;
        else the frame waits for what is returned."""
        ...

    def abandon(self, served: Served) -> None:
        """The call ended without a client (or badly): book it without waiting."""
        ...


class Gate(Protocol):
    """`admit`: key, budget, rate, slot."""

    async def admit(self, call: Call) -> Permit: ...


class Keyring(Protocol):
    """Who a key belongs to. `required` is whether a key is asked for at all. `start` and `aclose` frame its use."""

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...

    async def store(self) -> "KeyStore":
        """Where keys are made and revoked."""
        ...

    @property
    def required(self) -> bool: ...

    def known(self, header: bytes) -> Principal | None:
        """Whose good key an Authorization header brings, where that can be told at once; else None, and `principal` tells."""
        ...

    def principal(self, secret: str) -> Principal:
        """KeyInvalid for a key that is unknown, expired or revoked."""
        ...

    async def look_again(self, secret: str) -> bool:
        """Whether `principal` may know a key now that it did not know: another worker may have made it a moment ago."""
        ...


class Planner(Protocol):
    """`resolve`: pure."""

    def plan(self, call: Call) -> Plan: ...

    def find(
        self, asked: str, type_: "ModelType", operation: Operation | None = None
    ) -> tuple["Model", str, dict[str, object]]:
        """A name → its model, by which rule, and the features of its suffix. ModelUnknown."""
        ...


class Opener(Protocol):
    """`dispatch`."""

    @property
    def health(self) -> "Health": ...

    async def open(self, call: Call) -> Reply: ...


class Bookkeeper(Protocol):
    """`account`."""

    def mark(self, call: Call, target: Target) -> None:
        """A call is about to be sent there. Raises Unavailable: nothing more can be booked."""
        ...

    def metered(self, reply: Reply, permit: Permit) -> "Metered": ...


@runtime_checkable
class ListsModels(Protocol):
    """An adapter that can say which models its upstream has."""

    async def models(self, search: str = "") -> list[dict[str, object]]: ...


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """A model in the memory of an upstream, or what is known of one that is not. Bytes; times are Unix seconds.

    `state`: waiting (for a place) loading ready restarting draining stopping failed unloaded. `concurrency` 0 is not
    decided yet; `keep_s` is how long after its last call it stays, negative for ever; `expires` None: not by itself.
    """

    model: str  # as a Target names it, or the file's name
    state: str
    progress: float = 0.0
    concurrency: int = 0
    running: int = 0
    served: int = 0
    keep_s: float = 0.0
    expires: float | None = None
    created: float | None = None
    modified: float | None = None
    restarts: int = 0
    memory: int = 0
    estimated: int = 0
    context_tokens: int = 0
    reason: str = ""


@runtime_checkable
class HoldsModels(Protocol):
    """An adapter whose models are in memory or not, and that can be told which: a local engine.

    All raise UpstreamError for a model that is not here. What does not `wait` goes on in the background, and
    `instance` tells how.
    """

    async def load(
        self, target: Target, *, concurrency: int | None = None, keep_s: float | None = None, wait: bool = False
    ) -> Instance: ...

    async def unload(self, target: Target, *, wait: bool = False) -> Instance | None:
        """Lets running calls end, then unloads. None: it was not loaded."""
        ...

    def owns(self, target: Target) -> bool:
        """Whether its model is one that anybody may name: without being configured, by its place in our folder."""
        ...

    def instance(self, target: Target) -> Instance: ...

    def instances(self, names: Sequence[str] = ()) -> list[Instance]:
        """What is in memory, each called by the one of `names` (of targets) that leads to it, if one does."""
        ...


@runtime_checkable
class KnowsBalance(Protocol):
    """An adapter whose upstream says what is left of our credit."""

    async def balance(self) -> str:
        """In words, such as `12.34 USD`; starts with `0 ` where nothing is left. UpstreamError when it cannot be asked."""
        ...


@runtime_checkable
class HasShelves(Protocol):
    """An adapter whose upstream keeps more lists than models, each by a name: hardware, versions, deployments, ..."""

    @property
    def shelves(self) -> tuple[str, ...]: ...

    async def shelf(self, name: str, of: str = "") -> list[dict[str, object]]:
        """The rows of one list; `of` names what the list belongs to, where it belongs to something."""
        ...


@runtime_checkable
class TakesReports(Protocol):
    """An adapter whose upstream reports to us when a job has changed."""

    async def report(self, headers: Mapping[str, str], body: bytes) -> None:
        """One report, header names in lower case. PermissionDenied where it is not genuine, NotFound where none is expected."""
        ...


@runtime_checkable
class Previews(Protocol):
    """An adapter that can say what it would make of a call's parameters beyond what its Caps say."""

    def preview(self, call: Call, target: Target) -> "Sorted":
        """What would go out, under which names, and what would not. Asks nobody and leaves the call as it is."""
        ...
