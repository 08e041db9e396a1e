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


# LangChain's standard tests for abilities that neither the scripted upstream nor the demo model has (they see no pictures,
# hear nothing, and make no JSON of keys that only the question names), and one that needs recordings of a vendor. Left out
# by name, so that nothing is skipped in silence.
NOT_DECLARED = {
    "test_json_mode",
    "test_pdf_inputs",
    "test_audio_inputs",
    "test_image_inputs",
    "test_image_tool_message",
    "test_pdf_tool_message",
    "test_anthropic_inputs",
    "test_stream_time",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    out = [i for i in items if "langchain.py" in i.nodeid and i.name.partition("[")[0] in NOT_DECLARED]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]


@pytest.fixture(autouse=True)
def forget(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "mock" in request.fixturenames:
        request.getfixturevalue("mock").clear()
