"""Train the demo model: `python train.py --out DIR --minutes 35` writes DIR/tokenizer.json and DIR/checkpoint.pt.

Owns the schedule. The learning rate follows the wall clock (or `--steps`, which makes the run repeatable), so that the
run fits a budget on any machine. The loss is taken on the assistant's tokens only.
"""

import argparse
import itertools
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from math import cos, pi
from pathlib import Path

import chatml
import corpus
import drills
import numpy as np
import tokens
import torch
from drills import IGNORED
from model import Model, Shape
from tokenizers import Tokenizer
from torch.nn import functional as F

DRILL_STEPS = 600
LENGTH, LONG = 192, 1024
GRAIN = 256
TOKENIZER, CHECKPOINT = "tokenizer.json", "checkpoint.pt"
Sample = tuple[list[int], list[int]]
Row = tuple[list[int], list[int], list[int]]


def encode(tokenizer: Tokenizer, sample: corpus.Conversation) -> Sample:
    """Ids of a conversation and, per position, the id to predict there (or IGNORED)."""
    parts = chatml.segments(sample.messages, sample.tools, sample.thinking)
    encodings = tokenizer.encode_batch([part.text for part in parts])
    ids: list[int] = []
    targets: list[int] = []
    for part, encoding in zip(parts, encodings, strict=True):
        ids += encoding.ids
        targets += encoding.ids if part.produced else [IGNORED] * len(encoding.ids)
    return ids, [*targets[1:], IGNORED]


def packed(samples: Iterator[Sample], length: int) -> Iterator[Row]:
    """Endless rows of `length` tokens: conversations packed first-fit, each with its own document number."""
    open_rows: list[Row] = []
    for ids, targets in samples:
        if len(ids) > length:
            continue
        fitting = next((row for row in open_rows if len(row[0]) + len(ids) <= length), None)
        if fitting is None:
            fitting = ([], [], [])
            open_rows.append(fitting)
        number = fitting[2][-1] + 1 if fitting[2] else 0
        fitting[0].extend(ids)
        fitting[1].extend(targets)
        fitting[2].extend([number] * len(ids))
        if len(fitting[0]) > length - 12 or len(open_rows) > 24:
            fullest = max(open_rows, key=lambda row: len(row[0]))
            open_rows = [row for row in open_rows if row is not fullest]
            gap = length - len(fullest[0])
            yield fullest[0] + [0] * gap, fullest[1] + [IGNORED] * gap, fullest[2] + [-1] * gap


def _samples(tokenizer: Tokenizer, make: Callable[[random.Random], corpus.Conversation], seed: int) -> Iterator[Sample]:
    rng = random.Random(seed)
    while True:
        yield encode(tokenizer, make(rng))


def batches(tokenizer: Tokenizer, seed: int, budget: int, first: int = 0) -> Iterator[np.ndarray]:
    """Batches of about `budget` tokens, (3, rows, length).

    In the first `DRILL_STEPS` steps most rows are drills in copying; later one row in ten is, and one a drill in sums.
    Every 12th batch holds long conversations instead.
    """

    def stream(make: Callable[[random.Random], corpus.Conversation], index: int) -> Iterator[Row]:
        return packed(_samples(tokenizer, make, seed + index), LENGTH)

    noise = random.Random(seed)
    tokens_ = packed((drills.copying(tokenizer, noise) for _ in itertools.count()), LENGTH)
    sums, texts, plain = stream(drills.sums, 1), stream(drills.texts, 2), stream(corpus.conversation, 3)
    long = packed(_samples(tokenizer, drills.long, seed + 4), LONG)
    count = budget // LENGTH
    for index in itertools.count(first):
        if index % 12 == 11:
            rows = list(itertools.islice(long, 2))
        elif index < DRILL_STEPS:
            rows = [*itertools.islice(tokens_, count * 4 // 10), *itertools.islice(texts, count * 3 // 10), next(sums)]
        else:
            rows = [next(tokens_) if index % 8 == 0 else next(texts), next(sums)]
        if index % 12 != 11:
            rows += itertools.islice(plain, count - len(rows))
        yield np.array(rows, dtype=np.int64).transpose(1, 0, 2)


def _prefetched(source: Iterator[np.ndarray], ready: "queue.Queue[np.ndarray]") -> None:
    for batch in source:
        ready.put(batch)


def _loss(model: Model, ids: torch.Tensor, targets: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
    """Cross entropy at the positions to predict. Their number is rounded up: a matrix size seen before is a fast one."""
    flat = targets.flatten()
    chosen = (flat != IGNORED).nonzero().squeeze(1)
    chosen = F.pad(chosen, (0, -len(chosen) % GRAIN), value=int((flat == IGNORED).nonzero()[0]))
    hidden = model(ids, documents).flatten(0, 1)
    return F.cross_entropy(model.logits(hidden[chosen]).float(), flat[chosen], ignore_index=IGNORED)


def _save(path: Path, model: Model, step: int, seen: int) -> None:
    fresh = path.with_suffix(".new")
    torch.save({"shape": asdict(model.shape), "weights": model.state_dict(), "step": step, "tokens": seen}, fresh)
    fresh.replace(path)


def _optimizers(model: Model, rate: float) -> list[torch.optim.Optimizer]:
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.dim() != 2 or "embed" in name]
    muon = torch.optim.Muon(matrices, lr=rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)]


def _begin(options: argparse.Namespace) -> tuple[Tokenizer, Model, int, int]:
    """The tokenizer, the model, and the steps and tokens that it has behind it."""
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer = tokens.load(options.start / TOKENIZER) if options.start else tokens.train(seed=options.seed)
    tokenizer.save(str(options.out / TOKENIZER))
    model = Model(Shape(vocabulary=tokenizer.get_vocab_size(), layers=options.layers))
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    if not options.start:
        return tokenizer, model, 0, 0
    saved = torch.load(options.start / CHECKPOINT, weights_only=True)
    model.load_state_dict(saved["weights"])
    return tokenizer, model, saved["step"], saved["tokens"]


def train(options: argparse.Namespace) -> None:
    tokenizer, model, behind, seen = _begin(options)
    optimizers = _optimizers(model, options.rate)
    ready: queue.Queue[np.ndarray] = queue.Queue(8)
    source = batches(tokenizer, options.seed + 100 + behind, options.batch, behind)
    threading.Thread(target=_prefetched, args=(source, ready), daemon=True).start()
    start = saved = time.monotonic()
    smooth = 0.0
    for step in itertools.count(1):
        now = time.monotonic()
        done = step / options.steps if options.steps else (now - start) / (60 * options.minutes)
        if done >= 1:
            break
        share = min(1.0, step / 60) * (0.01 + 0.99 * (1 + cos(pi * done)) / 2)
        ids, targets, documents = map(torch.from_numpy, ready.get())
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            loss = _loss(model, ids, targets, documents)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = options.rate * share
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        seen += ids.numel()
        smooth = loss.item() if step == 1 else 0.97 * smooth + 0.03 * loss.item()
        if step % 50 == 0:
            print(f"step {behind + step} loss {smooth:.4f} tokens {seen / 1e6:.2f}M done {done:.2f}", flush=True)
        if now - saved > 120:
            saved = now
            _save(options.out / CHECKPOINT, model, behind + step, seen)
    _save(options.out / CHECKPOINT, model, behind + step - 1, seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--from", dest="start", type=Path, help="the --out of an earlier run, to go on from")
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--steps", type=int, default=0, help="a fixed number of steps instead of a time")
    parser.add_argument("--batch", type=int, default=1920, help="tokens a step")
    parser.add_argument("--rate", type=float, default=6e-3)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-bf16", dest="bf16", action="store_false")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
