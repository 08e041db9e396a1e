"""The byte-level BPE of the demo model, made for easy copying; llama.cpp's "gpt-2" rules give the same ids.

Owns the vocabulary. Two rules make it its own: no merge ever touches a digit, and the space before a word is merged
with it only as the very last step, and only for frequent words. A rare word therefore has the same pieces behind a
space, a quote or a bracket.
"""

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import chatml
import corpus
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

_SPACE = "Ġ"


def _words(conversations: int, seed: int) -> Counter[str]:
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    markers = (*chatml.CONTROL, *chatml.USER_DEFINED)
    counts: Counter[str] = Counter()
    for sample in itertools.islice(corpus.conversations(seed), conversations):
        text = "".join(segment.text for segment in chatml.segments(sample.messages, sample.tools, sample.thinking))
        for marker in markers:
            text = text.replace(marker, "\n")
        counts.update(piece for piece, _ in split.pre_tokenize_str(text))
    return counts


def _takes_space(word: str) -> bool:
    """Whether the word may be merged with the space before it: never a digit, never a lone letter or symbol."""
    body = word[1:]
    return (
        word[:1] == _SPACE and body.isascii() and not any(c.isdigit() for c in body) and (len(body) > 1 or body in "aI")
    )


def train(size: int = 2048, *, conversations: int = 40_000, seed: int = 1, spaced: int = 340) -> Tokenizer:
    """Train a vocabulary of exactly `size` entries on `conversations` samples of the corpus."""
    counts = _words(conversations, seed)
    bare: Counter[str] = Counter()
    for word, count in counts.items():
        if not any(c.isdigit() and c.isascii() for c in word):
            bare[word.lstrip(_SPACE) or _SPACE] += count
    specials = len(chatml.CONTROL) + len(chatml.USER_DEFINED)
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # Counts are damped: the fixed sentences must not take all merges away from ordinary English and from syllables.
    lines = (" ".join([word] * max(1, round(count**0.5))) for word, count in bare.items() if count > 1)
    learner.train_from_iterator(
        lines,
        trainers.BpeTrainer(
            vocab_size=size - specials - spaced,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
            max_token_length=24,
        ),
    )
    model = json.loads(learner.to_str())["model"]
    pieces: list[str] = [piece for piece, _ in sorted(model["vocab"].items(), key=lambda item: item[1])]
    merges = [tuple(merge) for merge in model["merges"]]
    known = set(pieces)
    frequent = (
        word for word, _ in counts.most_common() if _takes_space(word) and word[1:] in known and word not in known
    )
    for word in itertools.islice(frequent, size - specials - len(pieces)):
        merges.append((_SPACE, word[1:]))
        pieces.append(word)
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in chatml.CONTROL])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in chatml.USER_DEFINED])
    return tokenizer


def load(path: Path) -> Tokenizer:
    return Tokenizer.from_file(str(path))


def tables(tokenizer: Tokenizer) -> tuple[list[str], list[str]]:
    """The pieces by id and the merges by rank (two pieces with a space between), as GGUF wants them."""
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    pieces = [tokenizer.id_to_token(index) or "" for index in range(tokenizer.get_vocab_size())]
    return pieces, [" ".join(merge) for merge in model["merges"]]
