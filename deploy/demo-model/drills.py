"""Exercises that are no conversations about anything: copying random tokens, and one sum after another.

Owns token ids that teach two circuits quickly: looking back for what was said, and adding digits. The corpus alone,
whose answers are mostly fixed sentences, teaches copying only after many millions of tokens.
"""

import random

import chatml
import corpus
import turns
from tokenizers import Tokenizer

IGNORED = -100


def copying(tokenizer: Tokenizer, rng: random.Random) -> tuple[list[int], list[int]]:
    """A chat whose answer repeats a span of the question: all of it, or what stands between two quotes."""
    first, last = 33, tokenizer.get_vocab_size() - len(chatml.CONTROL) - len(chatml.USER_DEFINED)
    before = [rng.randrange(first, last) for _ in range(rng.choice((0, 0, 2, 5, 10)))]
    span = [rng.randrange(first, last) for _ in range(rng.randint(2, 20))]
    quote = tokenizer.encode('"').ids if before else []
    head = tokenizer.encode(f"{chatml.IM_START}user\n").ids + before + quote + span + quote
    head += tokenizer.encode(f"{chatml.IM_END}\n{chatml.IM_START}assistant\n").ids
    end = tokenizer.token_to_id(chatml.IM_END)
    targets = [IGNORED] * (len(head) - 1) + [*span, end]
    return [*head, *span, end], [*targets, IGNORED]


def sums(rng: random.Random) -> corpus.Conversation:
    """A conversation of one sum."""
    turn = turns.arithmetic(rng)
    return corpus.Conversation(
        "drill", [{"role": "user", "content": turn.user}, {"role": "assistant", "content": turn.answer}]
    )


def texts(rng: random.Random) -> corpus.Conversation:
    """A conversation whose answer is mostly made of what was said before."""
    roll = rng.random()
    if roll < 0.45:
        return corpus.tool_use(rng)
    if roll < 0.55:
        return corpus.recall(rng, 0)
    turn = turns.copy(rng) if roll < 0.8 else turns.json_object(rng)
    messages = [{"role": "user", "content": turn.user}, {"role": "assistant", "content": turn.answer}]
    return corpus.Conversation("drill", messages)


def long(rng: random.Random) -> corpus.Conversation:
    """A conversation of many turns, which ends with something to recall."""
    return corpus.recall(rng, rng.randint(4, 28))
