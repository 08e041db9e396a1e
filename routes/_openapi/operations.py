"""What each line of the URL table is: (method, path) → its Spec. Every route has one; a test holds the two tables together.

It knows types and constants, and handles nothing.
"""

from typing import get_args

from proxy.config import MODEL_TYPES
from proxy.media.audio_formats import FORMATS as SOUNDS
from proxy.media.inspect import CONTENT_TYPES
from proxy.wire import chat, edits, embeddings, images, instances, keys, speech, transcriptions
from proxy.wire.body import NO_OPS
from routes import billing
from routes._openapi import accounts, answers, cards
from routes._openapi.spec import BODY, INFERENCE, PACKED, Body, Query, Spec

WHITE_PNG = (  # 256 pixels square
    "iVBORw0KGgoAAAANSUhEUgAAAQAAAAEAAQAAAAB0CZXLAAAANUlEQVR42u3KoQEAAAgDoOn/P+sHZgNkanLrCIIgCIIgCIIgCIIgCIIg"
    "CIIgCIIgCIIgvA4LAt8C/7gxw98AAAAASUVORK5CYII="
)
_PICTURES = tuple(CONTENT_TYPES[name] for name in get_args(images.Format))
_MOMENT = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}
_FLAGS = ("x-venice-is-blurred", "x-venice-is-content-violation")
_TYPE = Query("type", {"type": "string", "enum": list(MODEL_TYPES), "default": "text"}, "The type of model.")
_TYPES = {"type": "string", "enum": [*MODEL_TYPES, "all", "code"], "default": "text"}


def _fields(type_: type) -> frozenset[str]:
    return NO_OPS | frozenset(type_.__struct_fields__)  # type: ignore[attr-defined]


INFERS: dict[tuple[str, str], Spec] = {
    ("POST", "/chat/completions"): Spec(
        id="createChatCompletion",
        summary="Chat, streamed or whole.",
        tag="Chat",
        body=Body(
            chat.ChatRequest,
            venice=chat.VeniceChatRequest,
            known=chat.VENICE,
            example={"model": "default", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16},
        ),
        answer=answers.ChatCompletion,
        events="`chat.completion.chunk` objects, then `[DONE]`; a comment after 15 s of silence.",
        headers=(PACKED,),
        errors=(*BODY, *INFERENCE),
        infers=True,
    ),
    ("POST", "/embeddings"): Spec(
        id="createEmbedding",
        summary="Texts, or their token ids, into vectors.",
        tag="Embeddings",
        body=Body(
            embeddings.EmbeddingsRequest,
            known=embeddings.VENICE,
            example={"model": "default", "input": ["A ferry", "An oar"], "encoding_format": "float"},
        ),
        answer=answers.Embeddings,
        headers=(PACKED,),
        errors=(*BODY, *INFERENCE),
        infers=True,
    ),
    ("POST", "/audio/speech"): Spec(
        id="createSpeech",
        summary="A text, spoken.",
        tag="Speech",
        body=Body(
            speech.SpeechRequest,
            known=speech.VENICE,
            example={"model": "tts-kokoro", "input": "Hello.", "voice": "af_sky", "response_format": "mp3"},
        ),
        binary=tuple(dict.fromkeys(row.content_type for row in SOUNDS.values())),
        events="With `stream_format: sse`: `speech.audio.delta` events, then `speech.audio.done`.",
        errors=(*BODY, *INFERENCE),
        infers=True,
    ),
    ("POST", "/audio/transcriptions"): Spec(
        id="createTranscription",
        summary="A recording, written down; where an upstream can.",
        tag="Speech",
        body=Body(transcriptions.TranscriptionRequest, known=transcriptions.VENICE, files=("file",), form_only=True),
        answer=answers.Transcription,
        texts=("text/plain", "text/vtt", "application/x-subrip"),
        events="With `stream: true`: `transcript.text.delta` events, then `transcript.text.done`.",
        errors=(*BODY, *INFERENCE),
        infers=True,
    ),
    ("POST", "/image/generate"): Spec(
        id="generateImage",
        summary="A picture, in Venice's dialect.",
        tag="Images",
        body=Body(
            images.GenerateRequest,
            known=_fields(images.GenerateRequest),
            always=True,
            example={"model": "default", "prompt": "A ferry at dusk", "width": 256, "height": 256, "seed": 7},
        ),
        answer=answers.GeneratedImages,
        binary=_PICTURES,
        headers=(PACKED, *_FLAGS),
        errors=(*BODY, *INFERENCE),
        infers=True,
    ),
    ("POST", "/images/generations"): Spec(
        id="simpleGenerateImage",
        summary="Pictures, in OpenAI's dialect; `url` is a data URL.",
        tag="Images",
        body=Body(
            images.GenerationsRequest,
            venice=images.VeniceGenerationsRequest,
            known=_fields(images.GenerationsRequest),
            example={"model": "default", "prompt": "A ferry at dusk", "size": "256x256"},
        ),
        answer=answers.ImageList,
        events="With `stream: true`: `image_generation.*` events.",
        headers=(PACKED, *_FLAGS),
        errors=(*BODY, *INFERENCE),
        infers=True,
    ),
    ("POST", "/image/upscale"): Spec(
        id="upscaleImage",
        summary="A picture, made larger.",
        tag="Images",
        body=Body(
            edits.UpscaleRequest,
            known=_fields(edits.UpscaleRequest),
            always=True,
            files=("image",),
            example={"image": WHITE_PNG, "scale": 2},
        ),
        binary=("image/png",),
        errors=(*BODY, *INFERENCE),
        infers=True,
    ),
    ("POST", "/image/edit"): Spec(
        id="editImage",
        summary="A picture, changed as the prompt says.",
        tag="Images",
        body=Body(
            edits.EditRequest,
            known=_fields(edits.EditRequest),
            always=True,
            files=("image",),
            example={"image": WHITE_PNG, "prompt": "Make the sky a sunrise"},
        ),
        binary=("image/png",),
        errors=(*BODY, *INFERENCE),
        infers=True,
    ),
    ("POST", "/images/edits"): Spec(
        id="createImageEdit",
        summary="Pictures, changed as the prompt says, in OpenAI's dialect.",
        tag="Images",
        body=Body(
            edits.EditsRequest,
            files=("image", "image[]", "mask"),
            example={"image": WHITE_PNG, "prompt": "Make the sky a sunrise"},
        ),
        answer=answers.ImageList,
        events="With `stream: true`: `image_edit.*` events.",
        headers=(PACKED, *_FLAGS),
        errors=(*BODY, *INFERENCE),
        infers=True,
    ),
}

LISTS: dict[tuple[str, str], Spec] = {
    ("GET", "/image/styles"): Spec(
        id="imageStyles", summary="What `style_preset` takes.", tag="Images", answer=answers.StyleList
    ),
    ("GET", "/models"): Spec(
        id="listModels",
        summary="The models, with what they can and cost.",
        tag="Models",
        query=(Query("type", _TYPES, "Without it, text. `code`: text models made for code."),),
        answer=cards.ModelList,
        errors=(400,),
    ),
    ("GET", "/models/traits"): Spec(
        id="listModelTraits",
        summary="Trait → the model that has it now.",
        tag="Models",
        query=(_TYPE,),
        answer=cards.NameList,
        errors=(400,),
    ),
    ("GET", "/models/traits/explain"): Spec(
        id="explainModelTrait",
        summary="Who stood for a trait, with which figures, and why each lost.",
        tag="Models",
        query=(_TYPE, Query("trait", {"type": "string", "minLength": 1}, "Its name.", required=True)),
        answer=cards.TraitExplained,
        errors=(400, 404),
    ),
    ("GET", "/models/compatibility_mapping"): Spec(
        id="listModelCompatibilityMapping",
        summary="Other people's names → ours.",
        tag="Models",
        query=(_TYPE,),
        answer=cards.NameList,
        errors=(400,),
    ),
    ("GET", "/models/{model_id:path}"): Spec(
        id="retrieveModel",
        summary="One model. Slashes in the id raw or as %2F.",
        tag="Models",
        answer=cards.ModelCard,
        errors=(404,),
    ),
    ("GET", "/characters"): Spec(
        id="listCharacters", summary="The characters of the configuration.", tag="Characters",
        answer=cards.CharacterList,
    ),
}  # fmt: skip

KEYS: dict[tuple[str, str], Spec] = {
    ("GET", "/api_keys"): Spec(
        id="getApiKeys",
        summary="The keys that can be used, newest first.",
        tag="Keys",
        answer=accounts.KeyList,
        errors=(503,),
    ),
    ("POST", "/api_keys"): Spec(
        id="createApiKey",
        summary="Make a key; its text is shown once.",
        tag="Keys",
        body=Body(
            keys.NewKey,
            known=frozenset(keys.NewKey.__struct_fields__),
            always=True,
            example={"apiKeyType": "INFERENCE", "description": "For the reader of this"},
        ),
        answer=accounts.KeyMade,
        errors=(*BODY, 409, 429, 503),
    ),
    ("DELETE", "/api_keys"): Spec(
        id="deleteApiKey",
        summary="Revoke a key; every worker knows within a second.",
        tag="Keys",
        query=(Query("id", {"type": "string", "minLength": 1}, "The key's id.", required=True),),
        answer=accounts.Success,
        errors=(400, 503),
    ),
    ("GET", "/api_keys/rate_limits"): Spec(
        id="getApiKeyRateLimits",
        summary="The limits of the key that asks.",
        tag="Keys",
        answer=accounts.RateLimits,
        errors=(503,),
    ),
    ("GET", "/api_keys/rate_limits/log"): Spec(
        id="getApiKeyRateLimitLogs",
        summary="The last 50 times that a limit was met.",
        tag="Keys",
        answer=accounts.LimitLog,
        errors=(503,),
    ),
    ("GET", "/api_keys/generate_web3_key"): Spec(
        id="getApiKeyGenerateWeb3Key",
        summary="A token for a wallet to sign.",
        tag="Keys",
        answer=accounts.Web3TokenMade,
        errors=(501, 503),
    ),
    ("POST", "/api_keys/generate_web3_key"): Spec(
        id="postApiKeyGenerateWeb3Key",
        summary="A key for a wallet of the configuration that signed a token.",
        tag="Keys",
        body=Body(keys.NewWalletKey, known=frozenset(keys.NewWalletKey.__struct_fields__), always=True),
        answer=accounts.KeyMade,
        errors=(*BODY, 401, 403, 409, 429, 501, 503),
    ),
    ("GET", "/billing/usage"): Spec(
        id="getBillingUsage",
        summary="What was charged, line by line; as CSV for who prefers it.",
        tag="Billing",
        query=(
            Query("currency", {"type": "string", "enum": list(billing.CURRENCIES)}, "Lines of this currency."),
            Query("startDate", _MOMENT, "From here on."),
            Query("endDate", _MOMENT, "Up to here."),
            Query("limit", {"type": "integer", "minimum": 1, "maximum": billing.LIMIT_MAX, "default": billing.LIMIT}),
            Query("page", {"type": "integer", "minimum": 1, "maximum": billing.PAGE_MAX, "default": 1}),
            Query("sortOrder", {"type": "string", "enum": list(billing.ORDERS), "default": "desc"}),
            Query("keyId", {"type": "string"}, "Lines of this key."),
        ),
        asks=("accept",),
        answer=accounts.BillingUsage,
        texts=("text/csv",),
        headers=(
            "Content-Disposition",
            *(f"x-pagination-{name}" for name in ("limit", "page", "total", "total-pages")),
        ),
        errors=(400, 501, 503),
    ),
    ("GET", "/requests/{request_id:str}"): Spec(
        id="retrieveReceipt",
        summary="The receipt of one call, by its `x-request-id`.",
        tag="Billing",
        answer=accounts.Receipt,
        errors=(404, 501, 503),
    ),
}

_HOLDING = (*BODY, 404, 409, 503)


def _named(type_: type) -> Body:
    return Body(type_, known=_fields(type_) - NO_OPS, always=True)


OPERATIONS: dict[tuple[str, str], Spec] = {
    ("POST", "/webhooks/{upstream:str}"): Spec(
        id="webhook",
        summary="An upstream's signed report that a job has changed.",
        tag="Operations",
        answer=answers.Received,
        errors=(400, 403, 404, 413, 415, 503),
    ),
    ("GET", "/livez"): Spec(id="live", summary="The process answers.", tag="Operations", answer=answers.Status),
    ("GET", "/readyz"): Spec(
        id="ready", summary="It takes calls.", tag="Operations", answer=answers.Status, errors=(503,)
    ),
    ("GET", "/health"): Spec(
        id="health", summary="As ready, with each upstream's state.", tag="Operations", answer=answers.Health
    ),
    ("GET", "/metrics"): Spec(
        id="metrics", summary="For Prometheus.", tag="Operations", texts=("text/plain",)
    ),
    ("POST", "/admin/reload"): Spec(
        id="reload",
        summary="Read the configuration again; a broken one changes nothing.",
        tag="Operations",
        answer=answers.Reloaded,
        errors=(500, 501),
    ),
    ("POST", "/admin/models/load"): Spec(
        id="loadModel",
        summary="Load a model into memory, or change how long it stays.",
        tag="Operations",
        body=_named(instances.Load),
        answer=answers.ModelInstance,
        errors=_HOLDING,
    ),
    ("POST", "/admin/models/status"): Spec(
        id="modelStatus",
        summary="How it is with one model in memory.",
        tag="Operations",
        body=_named(instances.Named),
        answer=answers.ModelInstance,
        errors=_HOLDING,
    ),
    ("POST", "/admin/models/instances"): Spec(
        id="modelInstances", summary="What is in memory now.", tag="Operations", answer=answers.InstanceList
    ),
    ("POST", "/admin/models/delete"): Spec(
        id="unloadModel",
        summary="Unload a model; the next call for it loads it again.",
        tag="Operations",
        body=_named(instances.Delete),
        answer=answers.ModelInstance,
        errors=_HOLDING,
    ),
    ("GET", "/openapi.json"): Spec(
        id="openapi", summary="This document.", tag="Operations", answer=answers.Document
    ),
    ("GET", "/docs"): Spec(
        id="docs", summary="This document, to be read.", tag="Operations", texts=("text/html",)
    ),
}  # fmt: skip

SPECS: dict[tuple[str, str], Spec] = {**INFERS, **LISTS, **KEYS, **OPERATIONS}
