"""A llama-architecture transformer in plain torch, small enough to be trained on two CPU cores.

Owns the arithmetic of the network, in llama.cpp's conventions (rotary pairs adjacent, RMSNorm, SwiGLU, tied output), so
that the export copies weights without permuting them. Knows nothing of text.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; `width` and `feed` must be multiples of 32 for q8_0."""

    vocabulary: int = 2048
    width: int = 192
    layers: int = 4
    heads: int = 6
    feed: int = 512
    rope_base: float = 10_000.0
    epsilon: float = 1e-5


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.epsilon = shape.heads, shape.epsilon
        self.attn_norm = nn.Parameter(torch.ones(shape.width))
        self.ffn_norm = nn.Parameter(torch.ones(shape.width))
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.out = nn.Linear(shape.width, shape.width, bias=False)
        self.gate_up = nn.Linear(shape.width, 2 * shape.feed, bias=False)
        self.down = nn.Linear(shape.feed, shape.width, bias=False)

    def forward(self, x: Tensor, turns: Tensor, mask: Tensor) -> Tensor:
        batch, length, width = x.shape
        normed = F.rms_norm(x, (width,), self.attn_norm, self.epsilon)
        q, k, v = self.qkv(normed).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(_rotate(q, turns), _rotate(k, turns), v, attn_mask=mask)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        gate, up = self.gate_up(F.rms_norm(x, (width,), self.ffn_norm, self.epsilon)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


def _rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turn adjacent pairs of `x` (..., length, size) by the complex `turns` (length, size / 2)."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turns).flatten(-2).to(x.dtype)


class Model(nn.Module):
    """Hidden states for rows of packed conversations; `logits` is separate, since few positions need them."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.Parameter(torch.ones(shape.width))
        scale = 0.02 / (2 * shape.layers) ** 0.5
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=scale if name.endswith(("out.weight", "down.weight")) else 0.02)

    def forward(self, ids: Tensor, documents: Tensor) -> Tensor:
        """`ids` and `documents` are (rows, length); a position sees earlier ones of the same document only."""
        length = ids.shape[1]
        half = self.shape.width // self.shape.heads // 2
        rates = self.shape.rope_base ** (-torch.arange(half) / half)
        turns = torch.polar(torch.ones(length, half), torch.arange(length)[:, None] * rates)
        mask = (documents[:, :, None] == documents[:, None, :]) & torch.ones(length, length, dtype=torch.bool).tril()
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, turns, mask[:, None])
        return F.rms_norm(x, (self.shape.width,), self.norm, self.shape.epsilon)

    def logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.embed.weight)
