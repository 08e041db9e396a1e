"""Models, tasks, bodies and loaded instances of the Bytez double, as data."""

import time
from dataclasses import dataclass

from fakes.doubles.shapes import Field, boolean, integer, number, string

TASKS = {
    "openai-community/gpt2": "text-generation",
    "Qwen/Qwen3-4B": "chat",
    "google/gemma-3-4b-it": "image-text-to-text",
    "openai/gpt-4o-mini": "chat",
    "dreamlike-art/dreamlike-photoreal-2.0": "text-to-image",
    "nomic-ai/nomic-embed-text-v1.5": "feature-extraction",
    "suno/bark-small": "text-to-speech",
}
CLOSED = {"openai/gpt-4o-mini"}  # needs the provider's own key
TEXT_TASKS = {"text-generation", "chat", "image-text-to-text"}
TASK_NAMES = (
    "audio-classification", "audio-text-to-text", "automatic-speech-recognition", "chat", "depth-estimation",
    "document-question-answering", "feature-extraction", "fill-mask", "image-classification", "image-feature-extraction",
    "image-segmentation", "image-text-to-text", "image-to-text", "mask-generation", "object-detection",
    "question-answering", "sentence-similarity", "summarization", "text-classification", "text-generation",
    "text-to-audio", "text-to-image", "text-to-speech", "text-to-video", "text2text-generation", "token-classification",
    "translation", "unconditional-image-generation", "video-classification", "video-text-to-text",
    "visual-question-answering", "zero-shot-classification", "zero-shot-object-detection",
)  # fmt: skip
# Generation settings of the transformers library; anything else is not used by a model.
PARAMS = {
    "max_length", "max_new_tokens", "min_length", "min_new_tokens", "early_stopping", "max_time", "do_sample", "num_beams",
    "num_beam_groups", "penalty_alpha", "use_cache", "temperature", "top_k", "top_p", "typical_p", "epsilon_cutoff",
    "eta_cutoff", "diversity_penalty", "repetition_penalty", "encoder_repetition_penalty", "length_penalty",
    "no_repeat_ngram_size", "bad_words_ids", "force_words_ids", "renormalize_logits", "constraints", "forced_bos_token_id",
    "forced_eos_token_id", "remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens",
    "begin_suppress_tokens", "forced_decoder_ids", "num_return_sequences", "return_dict_in_generate", "pad_token_id",
    "bos_token_id", "eos_token_id",
}  # fmt: skip

LOAD = {"model": string(True), "concurrency": integer(1), "expirationPeriodSeconds": integer(1)}
MODEL_ONLY = {"model": string(True)}
INPUTS: dict[str, Field] = {
    "input": Field("string|array|object|number"),
    "messages": Field("array", low=1, item=Field("object")),
}
RUN_V1 = INPUTS | {"model": string(True), "prompt": string(), "params": Field("object"), "stream": boolean()}
RUN_V2 = INPUTS | {
    "text": string(), "url": string(), "base64": string(), "params": Field("object"), "stream": boolean(), "json": boolean(),
}  # fmt: skip
CHAT = {
    "model": string(True),
    "messages": Field("array", True, 1, item=Field("object")),
    "max_tokens": integer(1),
    "max_completion_tokens": integer(1),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "stream": boolean(),
    "stream_options": Field("object", fields={"include_usage": boolean()}),
}


@dataclass(slots=True)
class Instance:
    """A loaded v1 model. It is deploying until `ready`, then runs until `expiry` seconds passed without a run."""

    model: str
    concurrency: int
    expiry: float
    created: float
    ready: float
    used: float
    fails: str | None = None
    inferences: int = 0

    @property
    def status(self) -> str:
        if time.monotonic() < self.ready:
            return "DEPLOYING"
        return "FAILED" if self.fails else "RUNNING"

    @property
    def expired(self) -> bool:
        return time.monotonic() > max(self.used, self.ready) + self.expiry
