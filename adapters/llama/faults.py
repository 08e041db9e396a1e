"""What goes wrong in the local engine, in the words of the one exception tree.

Owns the table from the engine's codes to faults and the texts. Refuses to know who asks. Invariant: messages name no
path of the file system and no internals beyond the reason.
"""

from adapters.llama import frames, spec
from proxy.errors import Fault, UpstreamError

_FAULTS = {
    spec.REFUSED: Fault.REFUSED,
    spec.CONTEXT: Fault.CONTEXT,
    spec.OVERLOADED: Fault.OVERLOADED,
    spec.RATE_LIMITED: Fault.RATE_LIMITED,
    spec.TIMEOUT: Fault.TIMEOUT,
    spec.SERVER: Fault.SERVER,
    spec.UNSUPPORTED: Fault.UNSUPPORTED,
    spec.MALFORMED: Fault.MALFORMED,
}


def from_frame(error: frames.Error) -> UpstreamError:
    """A call's own error. Refusals were made before any work was done."""
    fault = _FAULTS.get(error.code, Fault.SERVER)
    untouched = fault in (Fault.REFUSED, Fault.CONTEXT, Fault.OVERLOADED, Fault.RATE_LIMITED, Fault.UNSUPPORTED)
    return UpstreamError(
        fault,
        error.message,
        accepted=not untouched,
        param=error.param,
        retry_after_s=error.retry_after_s,
        details=error.details,
    )


def queue_full(retry_after_s: float) -> UpstreamError:
    return UpstreamError(Fault.RATE_LIMITED, "the engine's queue is full", accepted=False, retry_after_s=retry_after_s)


def gone(message: str) -> UpstreamError:
    return UpstreamError(Fault.OVERLOADED, message, accepted=False)


def crashed(reason: str, *, delivered: bool) -> UpstreamError:
    """A process died under a call that cannot begin again (any more)."""
    return UpstreamError(Fault.CUT if delivered else Fault.SERVER, reason, accepted=True)


def not_loadable(failed: frames.Failed) -> UpstreamError:
    return UpstreamError(
        _FAULTS.get(failed.code, Fault.MALFORMED), f"the model cannot be loaded: {failed.message}", accepted=False
    )


def bad_file(reason: str) -> UpstreamError:
    return UpstreamError(Fault.MALFORMED, f"the model cannot be loaded: {reason}", accepted=False)


def quarantined(reason: str, remaining_s: float) -> UpstreamError:
    return UpstreamError(
        Fault.OVERLOADED,
        f"the model keeps crashing and is set aside for now: {reason}",
        accepted=False,
        retry_after_s=max(1.0, remaining_s),
    )


def unencodable(error: Exception) -> UpstreamError:
    return UpstreamError(Fault.REFUSED, f"the request cannot be passed to the engine: {error}", accepted=False)
