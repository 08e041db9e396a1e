"""Random models whose memory is no plain one: a sliding window (gemma3), a recurrent state (mamba), both kinds (jamba).

Real files of `fakes.gguf_model`'s vocabulary and header, for what the engine may keep and reuse of such memories.
"""

from pathlib import Path

import gguf
import numpy as np

from fakes.gguf_model import Shape, header

STATE, CONV = 16, 4  # numbers a channel remembers; tokens its convolution sees
WINDOWED = Shape(arch="gemma3", layers=6, window=32)  # every sixth layer sees everything
RECURRENT = Shape(arch="mamba")
HYBRID = Shape(arch="jamba", layers=4, kv_per_layer=(0, 2, 0, 2))


class Tensors:
    """Adds tensors to a file, by the name of their layer."""

    def __init__(self, writer: gguf.GGUFWriter, shape: Shape) -> None:
        self.writer = writer
        self.shape = shape
        self.rng = np.random.default_rng(shape.seed)

    def random(self, name: str, rows: int, columns: int, kind: type[np.floating] = np.float16) -> None:
        """A matrix that keeps the size of what it is applied to."""
        data = self.rng.standard_normal((rows, columns), dtype=np.float32) / np.float32(columns**0.5)
        self.writer.add_tensor(name, data.astype(kind))

    def ones(self, name: str, size: int) -> None:
        self.writer.add_tensor(name, np.ones(size, dtype=np.float32))

    def edges(self) -> None:
        shape = self.shape
        embedding = self.rng.standard_normal((shape.vocab, shape.width), dtype=np.float32)
        self.writer.add_tensor("token_embd.weight", embedding.astype(np.float16))
        out = self.rng.standard_normal((shape.vocab, shape.width), dtype=np.float32)
        self.writer.add_tensor("output.weight", (out * shape.spread / shape.width**0.5).astype(np.float16))
        self.ones("output_norm.weight", shape.width)

    def attention(self, block: str) -> None:
        width, kv = self.shape.width, self.shape.width // self.shape.heads * self.shape.kv_heads
        for name, rows in (("q", width), ("k", kv), ("v", kv), ("output", width)):
            self.random(f"{block}attn_{name}.weight", rows, width)

    def feed_forward(self, block: str) -> None:
        self.random(f"{block}ffn_gate.weight", self.shape.ffn, self.shape.width)
        self.random(f"{block}ffn_up.weight", self.shape.ffn, self.shape.width)
        self.random(f"{block}ffn_down.weight", self.shape.width, self.shape.ffn)

    def recurrence(self, block: str, normed: bool) -> None:
        width, inner, rank = self.shape.width, 2 * self.shape.width, _rank(self.shape)
        self.random(f"{block}ssm_in.weight", 2 * inner, width)
        self.random(f"{block}ssm_conv1d.weight", inner, CONV, np.float32)
        self.random(f"{block}ssm_x.weight", rank + 2 * STATE, inner)
        self.random(f"{block}ssm_dt.weight", inner, rank)
        self.random(f"{block}ssm_out.weight", width, inner)
        for bias in ("ssm_conv1d", "ssm_dt"):
            self.writer.add_tensor(f"{block}{bias}.bias", np.zeros(inner, dtype=np.float32))
        decay = -np.tile(np.arange(1, STATE + 1, dtype=np.float32), (inner, 1)) / STATE
        self.writer.add_tensor(f"{block}ssm_a", decay)  # slow: what was said long ago still counts
        self.ones(f"{block}ssm_d", inner)
        if normed:
            for name, size in (("dt", rank), ("b", STATE), ("c", STATE)):
                self.ones(f"{block}ssm_{name}_norm.weight", size)


def _rank(shape: Shape) -> int:
    return max(1, shape.width // 16)


def build(path: Path, shape: Shape) -> Path:
    """Writes a model of one of the three architectures and returns its path."""
    writer = gguf.GGUFWriter(str(path), shape.arch)
    header(writer, shape, shape.arch)
    head = shape.width // shape.heads
    if shape.arch == "gemma3":
        writer.add_key_length(head)
        writer.add_value_length(head)
    else:
        writer.add_ssm_conv_kernel(CONV)
        writer.add_ssm_inner_size(2 * shape.width)
        writer.add_ssm_state_size(STATE)
        writer.add_ssm_time_step_rank(_rank(shape))
    tensors = Tensors(writer, shape)
    tensors.edges()
    for layer in range(shape.layers):
        block = f"blk.{layer}."
        tensors.ones(f"{block}attn_norm.weight", shape.width)
        if shape.arch == "gemma3":
            for name, size in (("attn_q", head), ("attn_k", head), ("post_attention", shape.width)):
                tensors.ones(f"{block}{name}_norm.weight", size)
            tensors.ones(f"{block}post_ffw_norm.weight", shape.width)
        if shape.arch == "gemma3" or (shape.kv_per_layer and shape.kv_per_layer[layer]):
            tensors.attention(block)
        else:
            tensors.recurrence(block, normed=shape.arch == "jamba")
        if shape.arch != "mamba":
            tensors.ones(f"{block}ffn_norm.weight", shape.width)
            tensors.feed_forward(block)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
