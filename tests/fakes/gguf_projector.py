"""Builds small projectors (mmproj files) with random weights: a tower of a few layers, and one of three ways out of it.

`mlp` is LLaVA's; `gemma3` pools and wants its pictures read without causal attention; `qwen2vl_merger` takes pictures of
any size and belongs to models with M-RoPE. Real files that llama.cpp's mtmd loads beside a model whose width is `out`.
"""

import dataclasses
import struct
import zlib
from pathlib import Path

import gguf
import numpy as np


@dataclasses.dataclass(frozen=True)
class Tower:
    """`size` pixels square in patches of `patch`; so many squared are the tokens of `out` numbers each (`mlp`)."""

    kind: str = "mlp"
    size: int = 56
    patch: int = 14
    width: int = 32
    heads: int = 2
    ffn: int = 64
    layers: int = 3
    out: int = 64
    seed: int = 7

    @property
    def tokens(self) -> int:
        return (self.size // self.patch) ** 2


def build_projector(path: Path, tower: Tower = Tower(), *, leave_out: str = "") -> Path:
    """Writes the file and returns its path. `leave_out` names a tensor that is forgotten."""
    rng = np.random.default_rng(tower.seed)
    writer = gguf.GGUFWriter(str(path), "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", tower.kind)
    writer.add_bool("clip.use_gelu", True)
    for key, value in {
        "image_size": tower.size,
        "patch_size": tower.patch,
        "embedding_length": tower.width,
        "feed_forward_length": tower.ffn,
        "block_count": tower.layers,
        "projection_dim": tower.out,
        "attention.head_count": tower.heads,
    }.items():
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    d = tower.width

    def tensor(name: str, *shape: int, scale: float | None = None) -> None:
        data = rng.standard_normal(shape, dtype=np.float32)
        if name != leave_out:
            writer.add_tensor(name, data * np.float32(shape[-1] ** -0.5 if scale is None else scale))

    def layer(name: str, rows: int, columns: int) -> None:
        tensor(f"{name}.weight", rows, columns)
        tensor(f"{name}.bias", rows, scale=0.1)

    tensor("v.patch_embd.weight", d, 3, tower.patch, tower.patch, scale=0.1)
    if tower.kind == "mlp":
        tensor("v.class_embd", d)
        tensor("v.position_embd.weight", tower.tokens + 1, d, scale=0.2)
    elif tower.kind == "gemma3":
        writer.add_uint32("clip.vision.projector.scale_factor", 2)
        tensor("v.position_embd.weight", tower.tokens, d, scale=0.2)
    else:
        tensor("v.patch_embd.weight.1", d, 3, tower.patch, tower.patch, scale=0.1)
    for i in range(tower.layers):
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            layer(f"v.blk.{i}.{part}", d, d)
        layer(f"v.blk.{i}.ffn_up", tower.ffn, d)
        layer(f"v.blk.{i}.ffn_down", d, tower.ffn)
        for norm in ("ln1", "ln2"):
            tensor(f"v.blk.{i}.{norm}.weight", d, scale=1.0)
            tensor(f"v.blk.{i}.{norm}.bias", d, scale=0.1)
    if tower.kind == "gemma3":
        tensor("mm.input_projection.weight", d, tower.out, scale=d**-0.5)
        tensor("mm.soft_emb_norm.weight", d, scale=1.0)
    else:
        inner = tower.out if tower.kind == "mlp" else 4 * d
        layer("mm.0", inner, d if tower.kind == "mlp" else inner)
        layer("mm.2", tower.out, inner)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def png(seed: int = 0, width: int = 56, height: int = 56) -> bytes:
    """A picture of coloured squares, other ones for each seed."""
    squares = np.random.default_rng(seed).integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    pixels = squares.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")]
    body = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)
