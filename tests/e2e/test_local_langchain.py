"""LangChain's standard chat tests, unmodified, against the local engine: a model of 2 MB, and the grammar of the tools.

What it does not have is left out by capability: pictures, documents, sound, another vendor's content, and JSON of its own
making (`supports_json_mode` asks for keys that only the question names; the structured output tests bind a schema).
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from fakes.engines import local
from fakes.gateway import gateway
from fakes.langchain_chats import ChatsThroughUs

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # the suite's own dependencies warn
    pytest.mark.asyncio(loop_scope="session"),
]


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with gateway(local({"demo": "demo", "again": "demo"}, context_tokens=4096, parallel=4)) as gate:
        yield gate.v1


class TestChat(ChatsThroughUs):
    """All of them."""

    served, another = "demo", "again"
    settings: ClassVar[dict[str, Any]] = {"temperature": 0, "frequency_penalty": 0.4}
