"""What "auto" means, and what does not fit."""

import os
from pathlib import Path

import msgspec
import pytest

from adapters.llama.footprint import (
    DoesNotFit,
    Machine,
    Wishes,
    estimate,
    kv_bytes_per_token,
    memory_of,
    plan,
    this_machine,
)
from adapters.llama.gguf_meta import Array, GgufMeta, read
from adapters.llama.spec import ALL_LAYERS, AUTO_LAYERS

GIB = 1 << 30
BIG = GgufMeta(  # the shape of an 8B model
    path="/m.gguf",
    version=3,
    values={
        "general.architecture": "llama",
        "llama.block_count": 32,
        "llama.embedding_length": 4096,
        "llama.feed_forward_length": 14336,
        "llama.context_length": 131072,
        "llama.attention.head_count": 32,
        "llama.attention.head_count_kv": 8,
        "tokenizer.ggml.tokens": Array(128256),
    },
    tensors=291,
    layer_bytes=dict.fromkeys(range(32), 220 << 20),
    other_bytes=1 * GIB,
    file_size=8 * GIB,
)
ROOMY = Machine(memory=64 * GIB, cores=16)


def test_kv_bytes() -> None:
    assert kv_bytes_per_token(BIG, "f16") == 2 * 32 * 8 * 128 * 2
    assert kv_bytes_per_token(BIG, "q8_0") == pytest.approx(2 * 32 * 8 * 128 * 34 / 32)
    layered = msgspec.structs.replace(BIG, values=BIG.values | {"llama.attention.head_count_kv": [8] * 16 + [0] * 16})
    assert kv_bytes_per_token(layered, "f16") == 16 * 8 * 256 * 2


def test_auto_for_a_large_model() -> None:
    setup = plan(BIG, Wishes(), ROOMY)
    assert setup.n_ctx // setup.n_seq == 8192
    assert kv_bytes_per_token(BIG, "f16") * setup.n_ctx <= 2 * GIB
    assert setup.unified
    assert setup.threads == 16
    assert setup.gpu_layers == AUTO_LAYERS


def test_auto_for_a_tiny_model(tiny_path: Path) -> None:
    setup = plan(read(str(tiny_path)), Wishes(), Machine(memory=2 * GIB, cores=8))
    assert (setup.n_seq, setup.unified, setup.threads) == (16, False, 1)
    assert setup.context_most == 8192


def test_wishes_are_kept() -> None:
    wishes = Wishes(
        gpu_layers=-1, threads=3, context_tokens=1000, parallel=6, kv_unified=True, kv_type="q8_0", prefill_chunk=99
    )
    setup = plan(BIG, wishes, ROOMY)
    assert (setup.gpu_layers, setup.threads, setup.n_seq, setup.unified) == (ALL_LAYERS, 3, 6, True)
    assert setup.n_ctx == 6 * 1024
    assert (setup.kv_type, setup.flash_attention, setup.chunk) == ("q8_0", True, 99)
    assert plan(BIG, msgspec.structs.replace(wishes, context_tokens=10**9), ROOMY).n_ctx == 6 * 131072


def test_what_does_not_fit_is_said_with_numbers() -> None:
    with pytest.raises(DoesNotFit, match=r"needs about \d+ MiB of memory, and 4096 MiB are free"):
        plan(BIG, Wishes(), Machine(memory=4 * GIB, cores=4))
    assert plan(BIG, Wishes(gpu_layers=99), Machine(memory=4 * GIB, cores=4)), "on a GPU it is not ours to say"


def test_a_small_machine_gets_fewer_sequences() -> None:
    assert plan(BIG, Wishes(), Machine(memory=12 * GIB, cores=4)).n_seq == 1


def test_the_estimate_is_near_what_is_measured(tiny_path: Path) -> None:
    meta = read(str(tiny_path))
    footprint = estimate(meta, plan(meta, Wishes(), ROOMY))
    assert footprint.total == footprint.weights + footprint.kv + footprint.compute
    assert footprint.weights == meta.weight_bytes


def test_encoders_do_not_generate() -> None:
    values = {k.replace("llama", "bert"): v for k, v in BIG.values.items()} | {"general.architecture": "bert"}
    assert not plan(msgspec.structs.replace(BIG, values=values), Wishes(), ROOMY).generates


def test_this_machine() -> None:
    machine = this_machine()
    assert machine.cores >= 1
    assert machine.memory > 1 << 20


def test_the_memory_of_a_process() -> None:
    assert memory_of(os.getpid()) > 1 << 20
    assert memory_of(2**22 + 1) == 0, "there is no such process"
