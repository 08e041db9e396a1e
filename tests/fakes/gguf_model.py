"""Builds small GGUF models with random weights: real files that llama.cpp loads, in under a second.

The vocabulary is byte-level BPE: 256 byte tokens, a few merges, ChatML's control tokens, tool and think tags as
user-defined tokens, padding. `Shape` gives the size; larger ones serve as bench models.
"""

import dataclasses
from pathlib import Path
from typing import Any

import gguf
import numpy as np

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HERMES = (
    "{% if tools %}<|im_start|>system\nTools: {{ tools | tojson }}\n"
    "Call with <tool_call>{...}</tool_call><|im_end|>\n{% endif %}" + CHATML
)
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TAGS = ("<think>", "</think>", "<tool_call>", "</tool_call>")
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5


@dataclasses.dataclass(frozen=True)
class Shape:
    """A llama-architecture shape. `kind` f32, f16 or q8_0 is the type of the matrices. `spread` scales the logits."""

    layers: int = 2
    width: int = 64
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 128
    vocab: int = 320
    context: int = 8192
    kind: str = "f16"
    seed: int = 1
    spread: float = 4.0
    template: str | None = CHATML
    arch: str = "llama"
    pooling: int | None = None
    licence: str | None = None
    window: int | None = None  # sliding window attention; `fakes.gguf_memories` has an architecture with it
    kv_per_layer: tuple[int, ...] = ()  # of a hybrid: none where a layer is recurrent
    sections: tuple[int, int, int, int] | None = None  # M-RoPE, with arch="qwen2vl": halves of a head per axis
    endless: bool = (
        False  # a greedy answer goes on to its limit, each token with a text: `silent` ones have the logit 0
    )


def byte_alphabet() -> list[str]:
    """GPT-2's printable stand-in for each of the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, extra = {}, 0
    for byte in range(256):
        if byte in printable:
            table[byte] = chr(byte)
        else:
            table[byte] = chr(256 + extra)
            extra += 1
    return [table[byte] for byte in range(256)]


def vocabulary(size: int) -> tuple[list[str], list[int], list[str]]:
    """Tokens, their types and merges; `size` at least 320."""
    alphabet = byte_alphabet()
    tokens, kinds = list(alphabet), [NORMAL] * 256
    merges = []
    for a, b in (("t", "h"), ("th", "e"), ("i", "n"), ("a", "n"), ("e", "r"), ("Ġ", "t"), ("o", "n"), ("r", "e")):
        merges.append(f"{a} {b}")
        tokens.append(a + b)
        kinds.append(NORMAL)
    for text in SPECIALS:
        tokens.append(text)
        kinds.append(CONTROL)
    for text in TAGS:
        tokens.append(text)
        kinds.append(USER_DEFINED)
    if size > 1024:  # a realistic large vocabulary: distinct printable words
        while len(tokens) < size:
            tokens.append(f"w{len(tokens)}")
            kinds.append(NORMAL)
    while len(tokens) < size:
        tokens.append(f"<|unused{len(tokens)}|>")
        kinds.append(UNUSED)
    return tokens, kinds, merges


def silent(shape: Shape) -> list[int]:
    """Tokens that an endless model does not say: control tokens, and bytes that are only a part of a character.

    The latter would be text with a later token: who watches an answer would see none come and then two.
    """
    tokens = vocabulary(shape.vocab)[0]
    return [*range(128, 256), *(tokens.index(text) for text in SPECIALS)] if shape.endless else []


def _quantised(matrix: np.ndarray, kind: str) -> tuple[np.ndarray, Any]:
    if kind == "q8_0":
        return gguf.quants.quantize(matrix, gguf.GGMLQuantizationType.Q8_0), gguf.GGMLQuantizationType.Q8_0
    if kind == "f16":
        return matrix.astype(np.float16), None
    return matrix, None


def header(writer: gguf.GGUFWriter, shape: Shape, name: str) -> None:
    writer.add_name(name)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_per_layer or shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(shape.vocab)
    if shape.pooling is not None:
        writer.add_pooling_type(gguf.PoolingType(shape.pooling))
    if shape.window is not None:
        writer.add_sliding_window(shape.window)
    if shape.sections is not None:
        writer.add_array(f"{shape.arch}.rope.dimension_sections", list(shape.sections))
    tokens, kinds, merges = vocabulary(shape.vocab)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    end = tokens.index("<|im_end|>")
    writer.add_eos_token_id(end)
    writer.add_eot_token_id(end)
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_add_bos_token(False)
    if shape.template is not None:
        writer.add_chat_template(shape.template)
    if shape.licence is not None:
        writer.add_license(shape.licence)


def build(path: Path, shape: Shape = Shape(), name: str = "random") -> Path:
    """Writes the file and returns its path."""
    rng = np.random.default_rng(shape.seed)
    writer = gguf.GGUFWriter(str(path), shape.arch)
    header(writer, shape, name)
    d, head = shape.width, shape.width // shape.heads
    kv = head * shape.kv_heads

    def matrix(tensor: str, rows: int, columns: int, scale: float, empty: list[int] | None = None) -> None:
        data = rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(scale)
        data[empty or []] = 0.0
        packed, kind = _quantised(data, shape.kind)
        writer.add_tensor(tensor, packed, raw_dtype=kind)

    def ones(tensor: str, size: int) -> None:
        writer.add_tensor(tensor, np.ones(size, dtype=np.float32))

    matrix("token_embd.weight", shape.vocab, d, 1.0)
    matrix("output.weight", shape.vocab, d, shape.spread / d**0.5, silent(shape))
    ones("output_norm.weight", d)
    for i in range(shape.layers):
        block = f"blk.{i}."
        ones(block + "attn_norm.weight", d)
        ones(block + "ffn_norm.weight", d)
        matrix(block + "attn_q.weight", d, d, d**-0.5)
        matrix(block + "attn_k.weight", kv, d, d**-0.5)
        matrix(block + "attn_v.weight", kv, d, d**-0.5)
        matrix(block + "attn_output.weight", d, d, d**-0.5)
        matrix(block + "ffn_gate.weight", shape.ffn, d, d**-0.5)
        matrix(block + "ffn_up.weight", shape.ffn, d, d**-0.5)
        matrix(block + "ffn_down.weight", d, shape.ffn, shape.ffn**-0.5)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
