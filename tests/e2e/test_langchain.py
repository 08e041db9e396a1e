"""LangChain's standard chat tests, unmodified, through the gateway to the scripted upstream."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

from fakes.evil import evil_thread
from fakes.gateway import gateway, upstream

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # the suite's own dependencies warn
    pytest.mark.asyncio(loop_scope="session"),
]


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with evil_thread(models=("*",)) as mock:
        other = '[models.n]\ntargets = [{upstream = "up", model = "another"}]\n'
        with gateway(upstream(mock.url) + other) as gate:
            yield gate.v1


class TestChat(ChatModelIntegrationTests):  # type: ignore[type-arg]
    """All of them, but those for capabilities that the scripted upstream does not declare."""

    @pytest.fixture(autouse=True)
    def _here(self, base_url: str) -> None:
        type(self).base_url = base_url

    @property
    def chat_model_class(self) -> type[ChatOpenAI]:
        return ChatOpenAI

    @property
    def model_override_value(self) -> str:
        return "n"

    @property
    def chat_model_params(self) -> dict[str, Any]:
        url = getattr(type(self), "base_url", "http://127.0.0.1:9/v1")
        return {"base_url": url, "api_key": "k", "model": "m", "stream_usage": True, "max_retries": 0}
