"""LangChain's standard tests, unmodified: chats through the gateway to the scripted upstream, vectors of the local engine."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from langchain_openai import OpenAIEmbeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests

from fakes.evil import evil_thread
from fakes.gateway import gateway, upstream
from fakes.langchain_chats import NOBODY, ChatsThroughUs

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


class TestChat(ChatsThroughUs):
    """All of them, but those for capabilities that the scripted upstream does not declare."""


@pytest.fixture(scope="module")
def home_url() -> Iterator[str]:
    """The embedding model of the local engine, nothing between us and it."""
    toml = '[upstreams.local]\nkind = "llama"\n[models.vectors]\ntype = "embedding"\n'
    with gateway(toml + 'targets = [{upstream = "local", model = "demo"}]\n') as gate:
        yield gate.v1


class TestEmbeddings(EmbeddingsIntegrationTests):
    """All of them. LangChain is told not to count tokens itself: it would fetch a vocabulary from the network."""

    @pytest.fixture(autouse=True)
    def _here(self, home_url: str) -> None:
        type(self).base_url = home_url

    @pytest_asyncio.fixture(autouse=True, loop_scope="session")
    async def _closed(self, _here: None, model: OpenAIEmbeddings) -> AsyncIterator[None]:
        """LangChain leaves its clients open."""
        yield
        model.client._client.close()
        await model.async_client._client.close()

    @property
    def embeddings_class(self) -> type[OpenAIEmbeddings]:
        return OpenAIEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        url = getattr(type(self), "base_url", NOBODY)
        return {
            "base_url": url,
            "api_key": "k",
            "model": "vectors",
            "max_retries": 0,
            "check_embedding_ctx_length": False,
        }
