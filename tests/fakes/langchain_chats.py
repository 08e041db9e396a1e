"""What LangChain's standard chat tests are told of us, whoever answers behind the gateway."""

from typing import Any, ClassVar

import pytest
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

NOBODY = "http://127.0.0.1:9/v1"  # while tests are collected there is no gateway yet


class ChatsThroughUs(ChatModelIntegrationTests):  # type: ignore[type-arg]
    """`served` and `another` are the gateway's; `settings` go with each call. Wants a fixture `base_url`."""

    base_url = NOBODY
    served, another = "m", "n"
    settings: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _here(self, base_url: str) -> None:
        type(self).base_url = base_url

    @property
    def chat_model_class(self) -> type[ChatOpenAI]:
        return ChatOpenAI

    @property
    def model_override_value(self) -> str:
        return self.another

    @property
    def chat_model_params(self) -> dict[str, Any]:
        fixed = {
            "base_url": self.base_url,
            "api_key": "k",
            "model": self.served,
            "stream_usage": True,
            "max_retries": 0,
        }
        return fixed | self.settings
