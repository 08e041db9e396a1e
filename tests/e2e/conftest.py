"""One evil upstream and one gateway in front of it for a module; both forget between tests."""

from collections.abc import Iterator

import pytest

from fakes.evil import EvilThread, evil_thread
from fakes.gateway import Gateway, gateway, upstream

TIMEOUT = {"connect_s": 2, "first_byte_s": 1.0, "between_bytes_s": 1.0, "total_s": 8}


@pytest.fixture(scope="module")
def mock() -> Iterator[EvilThread]:
    with evil_thread(models=("*",), embedding_models=("*",), api_key="upstream-secret-key") as running:
        yield running


@pytest.fixture(scope="module")
def gate(mock: EvilThread) -> Iterator[Gateway]:
    toml = upstream(mock.url, timeout=TIMEOUT) + "\n[routing]\nretries = 0\nbreaker = {failures = 1000000}\n"
    with gateway(toml) as running:
        yield running


@pytest.fixture(autouse=True)
def forget(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "mock" in request.fixturenames:
        request.getfixturevalue("mock").clear()
