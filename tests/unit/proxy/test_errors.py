"""The tree: every class has a status that fits its branch; what may be tried again; a configuration's mistake on one line."""

from collections.abc import Iterator

import pytest

from proxy.errors import (
    FAULTS,
    BadRequest,
    BudgetSpent,
    ClientGone,
    ConfigError,
    Fault,
    NotSupported,
    RateExceeded,
    RequestError,
    ServiceError,
    TraghettoError,
    Unavailable,
    UpstreamError,
)


def tree(root: type[TraghettoError]) -> Iterator[type[TraghettoError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


@pytest.mark.parametrize("kind", list(tree(RequestError)))
def test_what_the_caller_can_mend_is_a_4xx(kind: type[TraghettoError]) -> None:
    assert 400 <= kind.status < 500
    assert kind.type != "server_error"
    assert kind("x", code="special").code == "special"


@pytest.mark.parametrize("kind", [k for k in tree(ServiceError) if k is not UpstreamError])
def test_what_it_cannot_mend_is_a_5xx(kind: type[TraghettoError]) -> None:
    assert kind.status >= 500
    assert kind.type == "server_error"


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_is_in_the_table(fault: Fault) -> None:
    status, type_, code, _ = FAULTS[fault]
    error = UpstreamError(fault, "x")
    assert (error.status, error.type, error.code) == (status, type_, code)
    assert (type_ == "server_error") is (status >= 500)
    assert UpstreamError(fault, "x", code="theirs").code == "theirs"


@pytest.mark.parametrize(
    ("fault", "accepted", "exhausted", "again"),
    [
        (Fault.SERVER, False, False, None),
        (Fault.SERVER, None, False, False),
        (Fault.SERVER, True, False, False),
        (Fault.SERVER, False, True, False),
        (Fault.RATE_LIMITED, None, False, None),
    ],
)
def test_a_clients_retry_must_not_start_the_same_work_twice(
    fault: Fault, accepted: bool | None, exhausted: bool, again: bool | None
) -> None:
    error = UpstreamError(fault, "x", accepted=accepted)
    error.exhausted = exhausted
    assert error.should_retry is again


def test_who_else_says_no_to_a_retry() -> None:
    assert [kind("x").should_retry for kind in (BudgetSpent, NotSupported)] == [False, False]
    assert [kind("x").should_retry for kind in (RateExceeded, Unavailable, BadRequest)] == [None, None, None]
    assert Unavailable("x").retry_after_s == 5
    assert Unavailable("x", retry_after_s=1).retry_after_s == 1
    assert ClientGone("x").status == 499


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({}, "what"),
        ({"file": "f.toml"}, "f.toml: what"),
        ({"file": "f.toml", "where": "a.b", "expected": "c"}, "f.toml: a.b: what (expected c)"),
        ({"where": "a"}, "a: what"),
    ],
)
def test_a_mistake_in_the_configuration_is_one_line(given: dict[str, str], line: str) -> None:
    assert ConfigError("what", **given).message == line


def test_it_can_be_placed_by_one_who_knows_more() -> None:
    inner = ConfigError("what", where="verify", expected="c")
    assert inner.placed("f.toml", "upstreams.u").message == "f.toml: upstreams.u.verify: what (expected c)"
    assert ConfigError("what").placed("f.toml", "upstreams.u").where == "upstreams.u"
