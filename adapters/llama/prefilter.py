"""Exact ways from a row of logits to the few tokens that matter, without sorting the vocabulary.

Owns the numpy arithmetic on one row. Refuses to know requests, grammars and llama.cpp. Invariant: what is selected is
exactly what the textbook definition (and llama.cpp's sampler chain) selects on the whole row, ties aside; nothing is
approximated for speed.
"""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.intp]

BLOCK = 64  # strided blocks: numpy reduces short inner axes badly
SMALL = 4096  # below this a plain partition is as fast


def top_ids(row: Floats, k: int) -> Ids:
    """The k largest, best first."""
    size = len(row)
    k = min(k, size)
    width = size // BLOCK
    if size <= SMALL or width < 2 * k:
        found = np.argpartition(row, size - k)[size - k :] if k < size else np.arange(size)
        values = row[found]
    else:
        # an entry of the top k is at least the k-th largest block maximum, so only those blocks can hold one
        grid = row[: width * BLOCK].reshape(BLOCK, width)
        maxima = grid.max(axis=0)
        floor = np.partition(maxima, width - k)[width - k]
        columns = np.flatnonzero(maxima >= floor)
        values = grid[:, columns].ravel()
        found = (np.arange(BLOCK)[:, None] * width + columns).ravel()
        if size % BLOCK:
            values = np.concatenate((values, row[width * BLOCK :]))
            found = np.concatenate((found, np.arange(width * BLOCK, size)))
    if len(values) > 4 * k:
        best = np.argpartition(values, len(values) - k)[len(values) - k :]
        values, found = values[best], found[best]
    order = np.argsort(-values, kind="stable")[:k]
    return found[order]


def nucleus(row: Floats, share: float) -> Ids:
    """The smallest set of likeliest tokens whose probability (at temperature 1) reaches `share`; never empty."""
    top = row.max()
    mass = np.exp(row - top)
    need = share * float(mass.sum(dtype=np.float64))
    for depth in (4.0, 8.0, 14.0, math.inf):
        ids: Ids = (row > top - np.float32(depth) if depth < math.inf else mass > 0).nonzero()[0]
        weights = mass[ids]
        if depth == math.inf or float(weights.sum(dtype=np.float64)) >= need:
            break
    if len(ids) > SMALL:
        return _large_nucleus(ids, weights, top - row[ids], need)
    return ids[_until(weights, need)]


def _until(weights: Floats, need: float) -> Ids:
    """Indices of the heaviest entries, in order, up to and including the one that reaches `need`."""
    order = (-weights).argsort()
    reached = weights[order].cumsum(dtype=np.float64)
    return order[: int(reached.searchsorted(need)) + 1]


def _large_nucleus(ids: Ids, weights: Floats, depths: Floats, need: float) -> Ids:
    """Sorts only the one band of equal depth in which the boundary lies."""
    bands = np.minimum((depths * 64.0).astype(np.intp), 8191)
    reached = np.cumsum(np.bincount(bands, weights=weights))
    last = min(int(np.searchsorted(reached, need)), len(reached) - 1)
    inner = ids[bands < last]
    edge = np.flatnonzero(bands == last)
    before = float(reached[last - 1]) if last else 0.0
    return np.concatenate((inner, ids[edge[_until(weights[edge], need - before)]]))


def survivors(row: Floats, top_k: int, top_p: float, min_p: float) -> Ids | None:
    """What top_k, then top_p, then min_p leave; None: everything. Neutral values are 0, 1 and 0."""
    ids: Ids | None = None
    if top_k > 0 and top_k < len(row):
        ids = top_ids(row, top_k)
    if top_p < 1.0:
        if ids is None:
            ids = nucleus(row, top_p)
        else:
            values = row[ids]
            weights = np.exp(values - values.max())
            ids = ids[_until(weights, top_p * float(weights.sum(dtype=np.float64)))]
    if min_p > 0.0:
        values = row if ids is None else row[ids]
        kept = (values >= values.max() + np.float32(math.log(min_p))).nonzero()[0]
        ids = kept if ids is None else ids[kept]
    return ids


def weights_of(values: Floats, temperature: float) -> Floats:
    """Unnormalised probabilities at a temperature; the largest is 1."""
    scaled: Floats = values - values.max()
    if temperature != 1.0:
        scaled *= np.float32(1.0 / temperature)
    np.exp(scaled, out=scaled)
    return scaled


def dynamic_temperature(values: Floats, low: float, high: float) -> float:
    """A temperature between low and high by the entropy of the survivors, 1 being as even as it can be."""
    if len(values) < 2:
        return high
    p = weights_of(values, 1.0).astype(np.float64)
    p /= p.sum()
    entropy = -float((p * np.log(np.maximum(p, 1e-300))).sum())
    return max(low + (high - low) * (entropy / math.log(len(values))), 1e-4)


def draw(weights: Floats, point: float) -> int:
    """The index at `point` (0 to 1) of the cumulated weights. Long rows are summed by blocks, without a full cumsum."""
    size = len(weights)
    if size <= SMALL:
        reached = weights.cumsum(dtype=np.float64)
        return min(int(reached.searchsorted(point * reached[-1], side="right")), size - 1)
    width = size // BLOCK
    sums = weights[: width * BLOCK].reshape(BLOCK, width).sum(axis=1, dtype=np.float64)
    rest = weights[width * BLOCK :]
    blocks = np.cumsum(np.append(sums, rest.sum(dtype=np.float64)))
    goal = point * blocks[-1]
    block = min(int(np.searchsorted(blocks, goal, side="right")), BLOCK)
    start = block * width
    inner = np.cumsum(weights[start : start + width] if block < BLOCK else rest, dtype=np.float64)
    if not len(inner):
        return size - 1
    offset = int(np.searchsorted(inner, goal - (blocks[block - 1] if block else 0.0), side="right"))
    return start + min(offset, len(inner) - 1)


def log_probabilities(row: Floats, token: int, top: int) -> tuple[float, list[tuple[int, float]]]:
    """log softmax of `token` and of the `top` likeliest, on the row as the model gave it."""
    highest = row.max()
    total = float(highest) + math.log(float(np.exp(row - highest).sum(dtype=np.float64)))
    best = [(int(i), float(row[i]) - total) for i in top_ids(row, top)] if top > 0 else []
    return float(row[token]) - total, best
