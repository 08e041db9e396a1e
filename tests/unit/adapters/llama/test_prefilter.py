"""What is selected is what the definitions, and llama.cpp's own chain, select on the whole row."""

import ctypes
import math
import random

import numpy as np
import pytest

from adapters.llama import prefilter
from adapters.llama.constraint import _TOKEN_DATA
from adapters.llama.ffi import lib

SIZES = (5, 63, 320, 4096, 5000, 32_003)


def _rows() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    rows = []
    for size in SIZES:
        rows.append(rng.standard_normal(size).astype(np.float32))
        peaked = rng.standard_normal(size).astype(np.float32) * 2
        peaked[rng.integers(0, size, 8)] += 12
        rows.append(peaked)
    banned = rows[3].copy()
    banned[::3] = -np.inf
    rows.append(banned)
    return rows


def _chain(row: np.ndarray, *samplers: object) -> set[int]:
    """The candidates that llama.cpp leaves."""
    data = np.zeros(len(row), dtype=_TOKEN_DATA)
    data["id"], data["logit"] = np.arange(len(row)), row
    array = lib.llama_token_data_array()
    array.data = ctypes.cast(data.ctypes.data, lib.llama_token_data_p)
    array.size, array.selected, array.sorted = len(row), -1, False
    for sampler in samplers:
        lib.llama_sampler_apply(sampler, ctypes.byref(array))
        lib.llama_sampler_free(sampler)
    return {array.data[i].id for i in range(array.size)}


def _agree(row: np.ndarray, ours: np.ndarray, theirs: set[int]) -> None:
    """Equal, but for the boundary: llama.cpp adds up thousands of probabilities in 32 bits, we in 64."""
    mine = set(ours.tolist())
    differ = mine ^ theirs
    assert len(differ) <= 1 + len(mine) // 100, f"{len(differ)} of {len(mine)}"
    if differ:
        edge = min(row[i] for i in mine & theirs)
        assert all(row[i] <= edge + 1e-3 for i in differ)


@pytest.mark.parametrize("row", _rows())
@pytest.mark.parametrize("k", [1, 4, 40, 100])
def test_top_k_is_llama_cpps(row: np.ndarray, k: int) -> None:
    ids = prefilter.top_ids(row, k)
    assert list(row[ids]) == sorted(row, reverse=True)[:k]
    if np.isfinite(row).all():
        assert set(ids.tolist()) == _chain(row, lib.llama_sampler_init_top_k(k))


@pytest.mark.parametrize("row", [row for row in _rows() if np.isfinite(row).all()])
@pytest.mark.parametrize("p", [0.01, 0.5, 0.9, 0.95, 0.999])
def test_top_p_is_llama_cpps(row: np.ndarray, p: float) -> None:
    _agree(row, prefilter.nucleus(row, p), _chain(row, lib.llama_sampler_init_top_p(p, 1)))


@pytest.mark.parametrize("row", [row for row in _rows() if np.isfinite(row).all()])
@pytest.mark.parametrize("p", [0.02, 0.05, 0.3])
def test_min_p_is_llama_cpps(row: np.ndarray, p: float) -> None:
    ids = prefilter.survivors(row, 0, 1.0, p)
    assert ids is not None
    _agree(row, ids, _chain(row, lib.llama_sampler_init_min_p(p, 1)))


@pytest.mark.parametrize("row", [row for row in _rows() if np.isfinite(row).all()])
def test_all_three_together_are_llama_cpps(row: np.ndarray) -> None:
    ids = prefilter.survivors(row, 40, 0.9, 0.05)
    assert ids is not None
    chain = (
        lib.llama_sampler_init_top_k(40),
        lib.llama_sampler_init_top_p(0.9, 1),
        lib.llama_sampler_init_min_p(0.05, 1),
    )
    _agree(row, ids, _chain(row, *chain))


def test_neutral_values_leave_everything() -> None:
    assert prefilter.survivors(_rows()[0], 0, 1.0, 0.0) is None


def test_a_flat_row_of_a_large_vocabulary() -> None:
    """The nucleus of 60,000 tokens is found without sorting them all, and is exact."""
    row = (np.random.default_rng(2).standard_normal(120_000) * 0.3).astype(np.float32)
    for p in (0.3, 0.7, 0.95):
        ids = prefilter.nucleus(row, p)
        order = np.argsort(-row)
        mass = np.exp(row[order].astype(np.float64))
        expected = int(np.searchsorted(np.cumsum(mass), p * mass.sum())) + 1
        assert abs(len(ids) - expected) <= 3
        assert row[ids].min() >= row[order[expected]] - 1e-4


@pytest.mark.parametrize("size", [3, 400, 4096, 4097, 10_000, 64 * 200 + 63])
def test_a_draw_lands_where_the_cumulated_weights_say(size: int) -> None:
    rng = random.Random(size)
    weights = np.random.default_rng(size).random(size).astype(np.float32)
    weights[rng.randrange(size)] = 0.0
    reached = np.cumsum(weights, dtype=np.float64)
    for _ in range(300):
        point = rng.random()
        at = prefilter.draw(weights, point)
        assert weights[at] > 0
        low = reached[at - 1] if at else 0.0
        assert low - 1e-3 <= point * reached[-1] <= reached[at] + 1e-3
    assert prefilter.draw(weights, 0.0) in (0, 1)
    assert prefilter.draw(weights, math.nextafter(1.0, 0.0)) >= size - 2


def test_draws_follow_the_distribution() -> None:
    rng = random.Random(5)
    row = np.array([2.0, 1.0, 0.0, -np.inf], dtype=np.float32)
    weights = prefilter.weights_of(row, 0.5)
    counts = np.bincount([prefilter.draw(weights, rng.random()) for _ in range(20_000)], minlength=4) / 20_000
    exact = np.exp(row.astype(float) / 0.5)
    assert counts == pytest.approx(exact / exact.sum(), abs=0.01)


def test_dynamic_temperature_is_llama_cpps() -> None:
    """Its temp_ext turns logits into logits / T: the ratio tells T."""
    rng = np.random.default_rng(4)
    for scale in (0.1, 1.0, 4.0):
        row = (rng.standard_normal(50) * scale).astype(np.float32)
        data = np.zeros(50, dtype=_TOKEN_DATA)
        data["id"], data["logit"] = np.arange(50), row
        array = lib.llama_token_data_array()
        array.data = ctypes.cast(data.ctypes.data, lib.llama_token_data_p)
        array.size, array.selected, array.sorted = 50, -1, False
        sampler = lib.llama_sampler_init_temp_ext(1.0, 0.5, 1.0)
        lib.llama_sampler_apply(sampler, ctypes.byref(array))
        lib.llama_sampler_free(sampler)
        theirs = {array.data[i].id: array.data[i].logit for i in range(array.size)}
        temperature = prefilter.dynamic_temperature(row, 0.5, 1.5)
        for token, logit in theirs.items():
            assert row[token] / temperature == pytest.approx(logit, rel=1e-3, abs=1e-4)
    assert prefilter.dynamic_temperature(np.array([1.0], dtype=np.float32), 0.5, 1.5) == 1.5


def test_log_probabilities() -> None:
    row = _rows()[6]
    value, best = prefilter.log_probabilities(row, 17, 6)
    exact = row.astype(np.float64) - row.max()
    exact -= math.log(np.exp(exact).sum())
    assert value == pytest.approx(exact[17], abs=1e-5)
    assert [p for _, p in best] == pytest.approx(sorted(exact)[::-1][:6], abs=1e-5)
    assert prefilter.log_probabilities(row, 17, 0)[1] == []
