"""POST embeddings: what may be asked, and the list of vectors that answers it.

It knows no upstream. Invariants: `Inputs` holds texts or token arrays, never both; vectors come back in the order of the
inputs; base64 is little-endian float32, which is what OpenAI's SDKs ask for when nobody says anything.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw

from proxy.media import vectors
from proxy.wire.body import NO_OPS, unknown_keys
from proxy.wire.chat import refused

MAX_ITEMS = 2048
MAX_TOKENS = 8192  # of one input
MAX_ID = (1 << 31) - 1

VENICE = NO_OPS | {"model", "input", "dimensions", "encoding_format"}


class EmbeddingsRequest(msgspec.Struct):
    """The typed head. A list holds texts, or token ids, or lists of token ids; `inputs` tells them apart."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    input: str | list[str | int | list[int]]
    dimensions: Annotated[int, Meta(ge=1, le=MAX_ID)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None


class Inputs(msgspec.Struct, frozen=True):
    """Checked inputs. One of the two is empty."""

    texts: list[str] = []
    tokens: list[list[int]] = []

    def __len__(self) -> int:
        return len(self.texts) or len(self.tokens)

    def slices(self, size: int, most_tokens: int = 0) -> list["Inputs"]:
        """In the same order, at most `size` of them each, and about `most_tokens` (0: any number) where one has no more.

        Texts are not counted but weighed, rather too heavy: a token for three bytes.
        """
        parts: list[Inputs] = []
        start = weight = 0
        for index, item in enumerate(self.texts or self.tokens):
            tokens = len(item.encode()) // 3 + 1 if isinstance(item, str) else len(item)
            full = index - start >= size or (most_tokens and weight + tokens > most_tokens)
            if full and index > start:
                parts.append(self._part(start, index))
                start, weight = index, 0
            weight += tokens
        return [*parts, self._part(start, len(self))]

    def _part(self, start: int, end: int) -> "Inputs":
        return Inputs(self.texts[start:end], self.tokens[start:end])


def inputs(request: EmbeddingsRequest) -> Inputs:
    """Raises BadRequest naming the item that cannot be."""
    given = request.input
    if isinstance(given, str):
        given = [given]
    if not given:
        raise refused("input", "Array must contain at least 1 element")
    if all(isinstance(item, int) for item in given):
        return Inputs(tokens=[_ids(given, "input")])
    if len(given) > MAX_ITEMS:
        raise refused("input", f"Array must contain at most {MAX_ITEMS} elements")
    if all(isinstance(item, str) for item in given):
        for index, text in enumerate(given):
            if not text:
                where = "input" if isinstance(request.input, str) else f"input[{index}]"
                raise refused(where, "String must contain at least 1 character")
        return Inputs(texts=list(given))  # type: ignore[arg-type]
    if all(isinstance(item, list) for item in given):
        return Inputs(tokens=[_ids(item, f"input[{index}]") for index, item in enumerate(given)])
    raise refused("input", "Expected texts, or token ids, or arrays of token ids; not several kinds at once")


def _ids(items: Any, where: str) -> list[int]:
    if not items:
        raise refused(where, "Array must contain at least 1 element")
    if len(items) > MAX_TOKENS:
        raise refused(where, f"Array must contain at most {MAX_TOKENS} tokens")
    for index, item in enumerate(items):
        if not 0 <= item <= MAX_ID:
            raise refused(f"{where}[{index}]", "Expected a token id, which is 0 or more")
    return list(items)


def venice_only(request: EmbeddingsRequest, fields: dict[str, Raw]) -> None:
    """What Venice's schema refuses and OpenAI's takes. Raises BadRequest naming the field."""
    if unknown := [key for key in fields if key not in VENICE]:
        raise unknown_keys(unknown)
    given = request.input
    if isinstance(given, list):
        if len(given) > MAX_ITEMS:
            raise refused("input", f"Array must contain at most {MAX_ITEMS} elements")
        if 0 in given:
            raise refused(f"input[{given.index(0)}]", "Number must be greater than 0")


def answer(rows: Iterable[Sequence[float]], *, model: str, encoding: str | None, prompt_tokens: int) -> dict[str, Any]:
    """Vectors in the order of the inputs → the body."""
    packed = encoding == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": vectors.to_base64(row) if packed else list(row)}
        for index, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}
