"""Writes large GGUF models with random weights, a tensor at a time: real shapes of 8 billion parameters in seconds.

The blocks of q8_0 are made as bytes (a scale and 32 random integers), never from floating point numbers, so that neither
time nor memory grows with quantising. What such a model says means nothing; what it costs is real.
"""

from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

from fakes.gguf_model import Shape, header, silent

BLOCK, BLOCK_BYTES = 32, 34  # of q8_0: a float16 scale and 32 int8
_SPREAD = 73.6  # standard deviation of the integers from -127 to 127

# Llama 3 8B's shape with Qwen's vocabulary, the larger of the two: 8.3 billion parameters, 8.8 GB.
EIGHT_B = Shape(
    layers=32,
    width=4096,
    heads=32,
    kv_heads=8,
    ffn=14_336,
    vocab=151_936,
    context=16_384,
    kind="q8_0",
    endless=True,
)

Bytes = npt.NDArray[np.uint8]


def build_large(path: Path, shape: Shape, name: str = "random") -> Path:
    """Writes the file and returns its path; `shape.kind` must be q8_0."""
    if shape.kind != "q8_0":
        raise ValueError("only q8_0 is written in this way")
    writer = gguf.GGUFWriter(str(path), shape.arch)
    header(writer, shape, name)
    tensors = _tensors(shape)
    for tensor, rows, columns, _ in tensors:
        if rows:
            size = rows * columns // BLOCK * BLOCK_BYTES
            row = columns // BLOCK * BLOCK_BYTES
            writer.add_tensor_info(tensor, (rows, row), np.dtype(np.uint8), size, gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor_info(tensor, (columns,), np.dtype(np.float32), 4 * columns)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    rng = np.random.default_rng(shape.seed)
    for tensor, rows, columns, scale in tensors:
        data = _blocks(rng, rows, columns, scale) if rows else np.ones(columns, dtype=np.float32)
        if tensor == "output.weight":
            data[silent(shape)] = 0
        writer.write_tensor_data(data)
    writer.close()
    return path


def _blocks(rng: np.random.Generator, rows: int, columns: int, scale: float) -> Bytes:
    """(rows, bytes of a row)."""
    count = rows * columns // BLOCK
    blocks: Bytes = np.frombuffer(bytearray(rng.bytes(count * BLOCK_BYTES)), dtype=np.uint8).reshape(count, BLOCK_BYTES)
    blocks[:, :2] = np.frombuffer(np.float16(scale / _SPREAD).tobytes(), dtype=np.uint8)
    return blocks.reshape(rows, -1)


def _tensors(shape: Shape) -> list[tuple[str, int, int, float]]:
    """(name, rows, columns, standard deviation) in the order of the file; rows 0: a vector of ones."""
    d, kv = shape.width, shape.width // shape.heads * shape.kv_heads
    out = [
        ("token_embd.weight", shape.vocab, d, 1.0),
        ("output.weight", shape.vocab, d, shape.spread / d**0.5),
        ("output_norm.weight", 0, d, 1.0),
    ]
    for i in range(shape.layers):
        block = f"blk.{i}."
        out += [(block + "attn_norm.weight", 0, d, 1.0), (block + "ffn_norm.weight", 0, d, 1.0)]
        out += [(block + f"attn_{part}.weight", rows, d, d**-0.5) for part, rows in (("q", d), ("k", kv), ("v", kv))]
        out += [(block + "attn_output.weight", d, d, d**-0.5)]
        out += [(block + f"ffn_{part}.weight", shape.ffn, d, d**-0.5) for part in ("gate", "up")]
        out += [(block + "ffn_down.weight", d, shape.ffn, shape.ffn**-0.5)]
    return out
