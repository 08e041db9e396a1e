"""The GPU benchmark where there is no GPU: its model loads, its options are accepted, and it says why it does not run."""

import sys
import tomllib
from pathlib import Path

import msgspec
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import gpu

from adapters.llama import ffi
from adapters.llama.fleet import wishes_of
from adapters.llama.footprint import Machine, plan
from adapters.llama.gguf_meta import read
from adapters.llama.spec import Setup
from adapters.options import LlamaOptions
from fakes.gguf_large import EIGHT_B, build_large
from fakes.gguf_model import Shape

SMALL = Shape(layers=2, width=64, heads=4, kv_heads=2, ffn=128, vocab=2000, kind="q8_0", endless=True)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_large(tmp_path_factory.mktemp("large") / "large.gguf", SMALL)


def test_the_file_loads_and_its_logits_are_sane(path: Path) -> None:
    ffi.start_backend()
    model = ffi.Model(str(path), 0, True, lambda share: None)
    context = ffi.Context(model, Setup(n_ctx=256, n_seq=1, threads=1))
    batch = context.batch
    batch.token[0], batch.pos[0], batch.seq[0], batch.logits[0] = 65, 0, 0, 1
    assert context.decode(1) == 0
    row = context.logits(1)[0]
    assert np.isfinite(row).all()
    assert 1.0 < row.std() < 10.0, "neither flat nor decided: sampling costs what it costs with a real model"
    assert (row[model.vocab.eog] == 0.0).all(), "it does not end by itself"
    context.close()
    model.close()


def test_its_header_says_what_will_be_needed(path: Path) -> None:
    meta = read(str(path))
    assert meta.vocab == SMALL.vocab
    assert meta.weight_bytes == pytest.approx(sum(meta.layer_bytes.values()) + meta.other_bytes)
    size = 2 * SMALL.vocab * SMALL.width / gpu_block()
    assert meta.other_bytes == pytest.approx(size, rel=0.01)


def gpu_block() -> float:
    return 32 / 34  # values of q8_0 in a byte


def test_the_shape_has_eight_billion_parameters() -> None:
    kv = EIGHT_B.width // EIGHT_B.heads * EIGHT_B.kv_heads
    layer = EIGHT_B.width * (2 * EIGHT_B.width + 2 * kv + 3 * EIGHT_B.ffn)
    assert EIGHT_B.layers * layer + 2 * EIGHT_B.vocab * EIGHT_B.width == pytest.approx(8e9, rel=0.1)


@pytest.mark.parametrize("backend", [False, True])
def test_our_options_are_options_of_ours(path: Path, backend: bool) -> None:
    lines = tomllib.loads('kind = "llama"\n' + gpu.our_options("q8_0", backend))
    options = msgspec.convert(lines, LlamaOptions)
    setup = plan(read(str(path)), wishes_of(options), Machine(memory=1 << 34, cores=4))
    assert (setup.kv_type, setup.flash_attention, setup.chunk) == ("q8_0", True, 512)
    assert setup.backend_sampling is backend


def test_their_options_are_the_same_settings() -> None:
    assert gpu.their_options("q8_0", True) == "-ngl 999 -fa on -ctk q8_0 -ctv q8_0 --backend-sampling"
    assert "--backend-sampling" not in gpu.their_options("f16", False)


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    gpu.main()
    assert "no NVIDIA GPU" in capsys.readouterr().out
