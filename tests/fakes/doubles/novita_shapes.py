"""Bodies that the Novita double takes, with the ranges of the seed and the public documentation."""

from fakes.doubles.shapes import Field, boolean, integer, number, string

SAMPLERS = (
    "Euler a", "Euler", "LMS", "Heun", "DPM2", "DPM2 a", "DPM2 Karras", "DPM2 a Karras", "DPM++ 2S a", "DPM++ 2M",
    "DPM++ SDE", "DPM++ Karras", "DPM++ 2S a Karras", "DPM++ 2M Karras", "DPM++ SDE Karras", "DDIM", "PLMS", "UniPC",
)  # fmt: skip
IMAGE_TYPES = ("png", "webp", "jpeg")
ANY_OBJECT = Field("object", null=True)

WEBHOOK = {
    "url": string(True),
    "test_mode": Field("object", fields={"enabled": boolean(), "return_task_status": string()}),
}
EXTRA = Field(
    "object",
    null=True,
    fields={
        "response_image_type": string(enum=IMAGE_TYPES),
        "enable_nsfw_detection": boolean(),
        "nsfw_detection_level": integer(0, 2),
        "webhook": Field("object", fields=WEBHOOK),
        "custom_storage": ANY_OBJECT,
        "enterprise_plan": Field("object", fields={"enabled": boolean()}),
    },
)
LORAS = Field(
    "array",
    null=True,
    high=5,
    item=Field("object", fields={"model_name": string(True), "strength": number(0, 1, null=True)}),
)
EMBEDDINGS = Field("array", null=True, high=5, item=Field("object", fields={"model_name": string(True)}))
HIRES = Field(
    "object",
    null=True,
    fields={
        "target_width": integer(128, 4096, required=True),
        "target_height": integer(128, 4096, required=True),
        "strength": number(0, 1),
        "upscaler": string(null=True),
    },
)

TXT2IMG = {
    "model_name": string(True, 1),
    "prompt": string(True, 1, 1024),
    "negative_prompt": string(False, 0, 1024, null=True),
    "width": integer(128, 2048, True),
    "height": integer(128, 2048, True),
    "image_num": integer(1, 8, True),
    "steps": integer(1, 100, True),
    "guidance_scale": number(1, 30, True),
    "sampler_name": string(True, enum=SAMPLERS),
    "seed": integer(-1, 4294967295, null=True),
    "sd_vae": string(null=True),
    "loras": LORAS,
    "embeddings": EMBEDDINGS,
    "hires_fix": HIRES,
    "refiner": Field("object", null=True, fields={"switch_at": number(0, 1, null=True)}),
    "clip_skip": integer(1, 12, null=True),
}
IMG2IMG = {k: v for k, v in TXT2IMG.items() if k not in ("hires_fix", "refiner")} | {
    "image_base64": string(True, 1),
    "strength": number(0, 1, null=True),
    "controlnet": ANY_OBJECT,
    "extra": ANY_OBJECT,
}
UPSCALE = {"model_name": string(True, 1), "image_base64": string(True, 1), "scale_factor": number(1, 4, True)}
UPSCALER = {
    "image": string(True, 1),
    "resolution": string(enum=("2k", "4k", "8k")),
    "output_format": string(enum=("jpg", "png", "webp")),
}
FLUX = {
    "response_image_type": string(enum=IMAGE_TYPES),
    "prompt": string(True, 1, 1024),
    "seed": integer(0, 4294967295),
    "steps": integer(1, 100, True),
    "width": integer(64, 2048, True),
    "height": integer(64, 2048, True),
    "image_num": integer(1, 8, True),
}
WITH_IMAGE = {"extra": EXTRA, "image_file": string(True, 1)}
WITH_MASK = WITH_IMAGE | {"mask_file": string(True, 1)}
WITH_PROMPT = WITH_IMAGE | {"prompt": string(True, 1)}
SPEECH = {
    "text": string(True, 1, 10000),
    "voice_setting": Field(
        "object",
        True,
        fields={
            "voice_id": string(True),
            "speed": number(0.5, 2),
            "vol": number(0, 10),
            "pitch": integer(-12, 12),
            "emotion": string(),
        },
    ),
    "audio_setting": Field(
        "object",
        fields={
            "format": string(enum=("mp3", "pcm", "flac", "wav")),
            "sample_rate": integer(8000, 44100),
            "bitrate": integer(32000, 256000),
            "channel": integer(1, 2),
        },
    ),
    "output_format": string(enum=("hex", "url")),
    "stream": boolean(),
    "language_boost": string(),
}
GLM_SPEECH = {
    "input": string(True, 1, 1024),
    "voice": string(),
    "speed": number(0.5, 2),
    "response_format": string(enum=("wav", "pcm")),
}

STOP = Field("string|array", null=True, high=4, item=string())
CHAT = {
    "model": string(True, 1),
    "messages": Field("array", True, 1, item=Field("object")),
    "max_tokens": integer(1, required=True),
    "stream": boolean(null=True),
    "stream_options": Field("object", null=True, fields={"include_usage": boolean()}),
    "n": integer(1, 128, null=True),
    "seed": integer(null=True),
    "frequency_penalty": number(-2, 2, null=True),
    "presence_penalty": number(-2, 2, null=True),
    "repetition_penalty": number(0, 2, null=True),
    "stop": STOP._replace(high=None),
    "temperature": number(0, 2, null=True),
    "top_p": number(0, 1, null=True),
    "top_k": integer(1, 128, null=True),
    "min_p": number(0, 1, null=True),
    "logit_bias": ANY_OBJECT,
    "logprobs": boolean(null=True),
    "top_logprobs": integer(0, 20, null=True),
    "tools": Field("array", null=True, item=Field("object")),
    "tool_choice": Field("string|object", null=True),
    "response_format": ANY_OBJECT,
    "separate_reasoning": boolean(null=True),
    "enable_thinking": boolean(null=True),
}
COMPLETION = {k: v for k, v in CHAT.items() if k not in ("messages", "tools", "tool_choice")} | {"prompt": string(True)}
EMBED = {
    "model": string(True, 1),
    "input": Field("string|array", True, 1, item=string()),
    "encoding_format": string(enum=("float", "base64")),
}
