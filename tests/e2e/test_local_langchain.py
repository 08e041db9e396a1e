"""LangChain's standard chat tests, unmodified, against the local engine: a model of 2 MB, and the grammar of the tools.

What it does not have is left out by capability: pictures, documents, sound, another vendor's content, and JSON of its own
making (`supports_json_mode` asks for keys that only the question names; the structured output tests bind a schema).
"""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

from fakes.engines import local
from fakes.gateway import gateway

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # the suite's own dependencies warn
    pytest.mark.asyncio(loop_scope="session"),
]


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with gateway(local({"demo": "demo", "again": "demo"}, context_tokens=4096, parallel=4)) as gate:
        yield gate.v1


class TestChat(ChatModelIntegrationTests):  # type: ignore[type-arg]
    """All of them."""

    @pytest.fixture(autouse=True)
    def _here(self, base_url: str) -> None:
        type(self).base_url = base_url

    @property
    def chat_model_class(self) -> type[ChatOpenAI]:
        return ChatOpenAI

    @property
    def model_override_value(self) -> str:
        return "again"

    @property
    def chat_model_params(self) -> dict[str, Any]:
        url = getattr(type(self), "base_url", "http://127.0.0.1:9/v1")
        return {
            "base_url": url,
            "api_key": "k",
            "model": "demo",
            "temperature": 0,
            "frequency_penalty": 0.4,
            "stream_usage": True,
            "max_retries": 0,
        }
