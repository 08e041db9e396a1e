"""Embeddings by prediction: texts in, as many vectors out. Models agree on nothing, so that their schema decides the shape.

It knows no prices. Invariant: the vectors are as many as the texts and in their order, or the call fails.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from adapters.replies import Whole
from adapters.together import together
from adapters.vaikerai.api import Api
from adapters.vaikerai.predictions import Predictions
from adapters.vaikerai.reference import Reference
from adapters.vaikerai.schema import first, takes_list
from proxy import tokens
from proxy.call import Call, Usage
from proxy.errors import Fault, NotSupported, UnsupportedParameter, UpstreamError
from proxy.wire import embeddings
from proxy.wire.body import encode

SEVERAL = ("texts", "inputs", "input_texts", "documents", "sentences", "text_batch")
ONE = ("text", "input", "prompt", "sentence", "query")
MAX_PREDICTIONS = 32  # of one call, where a model takes one text at a time


class Vectors:
    """One upstream's."""

    def __init__(self, api: Api, predictions: Predictions) -> None:
        self._api = api
        self._predictions = predictions

    async def embed(self, call: Call, reference: Reference) -> Whole:
        """POST embeddings."""
        assert call.plan is not None
        request: embeddings.EmbeddingsRequest = call.request
        name = call.plan.model.id
        inputs = embeddings.inputs(request)
        if inputs.tokens:
            raise UnsupportedParameter(f"Model {name!r} accepts text input only.", param="input")
        schema = (await self._api.model(reference)).inputs
        wishes = _wishes(inputs.texts, schema, name)
        call.dropped = [key for key in call.fields if key not in ("model", "input", "encoding_format")]
        bodies = await together([partial(self._predictions.result, reference, wish) for wish in wishes])
        rows = [row for body in bodies for row in rows_of(body["output"], flat=len(wishes) > 1 or len(inputs) == 1)]
        if len(rows) != len(inputs):
            said = f"The upstream {self._api.name!r} gave {len(rows)} embeddings for {len(inputs)} texts."
            raise UpstreamError(Fault.MALFORMED, said, accepted=True)
        count, source = await tokens.count(inputs.texts)
        out = embeddings.answer(rows, model=name, encoding=request.encoding_format, prompt_tokens=count)
        return Whole(encode(out), Usage(prompt_tokens=count, source=source))


def _wishes(texts: list[str], schema: Mapping[str, Mapping[str, Any]], model: str) -> list[dict[str, Any]]:
    """The inputs of each prediction. A text input for several texts takes them as a JSON list."""
    if (name := first(schema, SEVERAL)) is not None:
        return [{name: texts if takes_list(schema[name]) else encode(texts).decode()}]
    if (name := first(schema, ONE)) is None:
        raise NotSupported(f"Model {model!r} takes no text, so that it cannot embed.")
    if takes_list(schema[name]):
        return [{name: texts}]
    if len(texts) > MAX_PREDICTIONS:
        said = f"Model {model!r} takes one text at a time, and at most {MAX_PREDICTIONS} in a call."
        raise UnsupportedParameter(said, param="input")
    return [{name: text} for text in texts]


def rows_of(output: Any, *, flat: bool) -> list[Sequence[float]]:
    """The vectors in an output: bare, or in objects under `embedding`, `embeddings`, `vectors` or `output`.

    `flat`: one list of numbers is one vector. What is no vector is left out, so that the count tells.
    """
    if isinstance(output, dict):
        inside = next((output[k] for k in ("embedding", "embeddings", "vectors", "output") if k in output), None)
        return rows_of(inside, flat=flat or "embedding" in output)
    if not isinstance(output, list) or not output:
        return []
    if all(type(item) in (int, float) for item in output):
        return [output] if flat else []
    return [row for item in output for row in rows_of(item, flat=True)]
