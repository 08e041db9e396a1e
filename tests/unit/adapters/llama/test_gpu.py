"""Layers that fit; and a build without a GPU."""

from pathlib import Path

import msgspec

from adapters.llama import gpu
from adapters.llama.gguf_meta import read
from adapters.llama.spec import ALL_LAYERS, AUTO_LAYERS, Setup


def test_without_a_gpu_build_nothing_is_offloaded(tiny_path: Path) -> None:
    assert gpu.free_memory() == 0
    assert gpu.layers_for(str(tiny_path), Setup(gpu_layers=AUTO_LAYERS)) == 0
    assert gpu.layers_for(str(tiny_path), Setup(gpu_layers=7)) == 7


def test_as_many_layers_as_fit(tiny_path: Path) -> None:
    mib = 1 << 20
    meta = msgspec.structs.replace(read(str(tiny_path)), layer_bytes=dict.fromkeys(range(10), 100 * mib), other_bytes=0)
    setup = Setup(n_ctx=1024, n_seq=1)
    assert gpu.fitting_layers(meta, setup, 4096 * mib) == ALL_LAYERS
    assert gpu.fitting_layers(meta, setup, 1024 * mib) == 4
    assert gpu.fitting_layers(meta, setup, 100 * mib) == 0
