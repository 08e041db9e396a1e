"""Write a checkpoint as GGUF: `python export.py DIR/checkpoint.pt demo.gguf` (tokenizer.json lies beside it).

Owns the metadata: architecture, vocabulary with its token types, chat template, licence and description. Matrices are
q8_0, norms f32. Works on any checkpoint that `train.py` has written, also in the middle of a run.
"""

import argparse
import hashlib
from pathlib import Path

import chatml
import gguf
import numpy as np
import tokens
import torch
from model import Shape

CONTEXT = 2048
DESCRIPTION = (
    "A tiny demonstration model, trained from scratch on sentences that a script generated. It shows that the "
    "server works: "
    "it greets, does small sums, copies, writes small JSON, calls tools, answers questions about Traghetto and "
    "refuses the rest. "
    "It is not a real assistant."
)


def _metadata(writer: gguf.GGUFWriter, shape: Shape, parameters: int) -> None:
    writer.add_name("Traghetto demo")
    writer.add_basename("traghetto-demo")
    writer.add_description(DESCRIPTION)
    writer.add_author("The Traghetto authors")
    writer.add_license("apache-2.0")
    writer.add_license_name("Apache License 2.0")
    writer.add_languages(["en"])
    writer.add_tags(["text-generation", "demo"])
    writer.add_size_label(f"{parameters / 1e6:.1f}M")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_vocab_size(shape.vocabulary)


def _vocabulary(writer: gguf.GGUFWriter, path: Path) -> None:
    pieces, merges = tokens.tables(tokens.load(path))
    kinds = dict.fromkeys(chatml.CONTROL, gguf.TokenType.CONTROL)
    kinds |= dict.fromkeys(chatml.USER_DEFINED, gguf.TokenType.USER_DEFINED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(pieces)
    writer.add_token_types([kinds.get(piece, gguf.TokenType.NORMAL) for piece in pieces])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(pieces.index(chatml.IM_START))
    writer.add_eos_token_id(pieces.index(chatml.IM_END))
    writer.add_eot_token_id(pieces.index(chatml.IM_END))
    writer.add_pad_token_id(pieces.index(chatml.PAD))
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(chatml.TEMPLATE)


def _tensors(weights: dict[str, torch.Tensor], shape: Shape) -> dict[str, np.ndarray]:
    out = {"token_embd.weight": weights["embed.weight"], "output_norm.weight": weights["norm"]}
    for i in range(shape.layers):
        layer = {
            name.removeprefix(f"blocks.{i}."): tensor
            for name, tensor in weights.items()
            if name.startswith(f"blocks.{i}.")
        }
        q, k, v = layer["qkv.weight"].chunk(3)
        gate, up = layer["gate_up.weight"].chunk(2)
        named = {"attn_q": q, "attn_k": k, "attn_v": v, "attn_output": layer["out.weight"], "ffn_gate": gate,
        "ffn_up": up, "ffn_down": layer["down.weight"],
                 "attn_norm": layer["attn_norm"], "ffn_norm": layer["ffn_norm"]}  # fmt: skip
        out |= {f"blk.{i}.{name}.weight": tensor for name, tensor in named.items()}
    return {name: tensor.detach().float().contiguous().numpy() for name, tensor in out.items()}


def export(checkpoint: Path, target: Path) -> str:
    """Write `target` and return its SHA-256."""
    saved = torch.load(checkpoint, weights_only=True)
    shape = Shape(**saved["shape"])
    writer = gguf.GGUFWriter(target, "llama")
    tensors = _tensors(saved["weights"], shape)
    _metadata(writer, shape, sum(tensor.size for tensor in tensors.values()))
    _vocabulary(writer, checkpoint.with_name("tokenizer.json"))
    for name, tensor in tensors.items():
        if tensor.ndim == 1:
            writer.add_tensor(name, tensor)
            continue
        packed = gguf.quants.quantize(tensor, gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor(name, packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{target}: step {saved['step']}, {saved['tokens'] / 1e6:.1f}M tokens, {target.stat().st_size:,} bytes")
    return hashlib.sha256(target.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    print("sha256", export(options.checkpoint, options.target))


if __name__ == "__main__":
    main()
