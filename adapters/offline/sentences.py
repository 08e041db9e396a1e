"""Cut text into sentences to speak one after the other.

It owns where a sentence ends (not behind `Dr.`, not inside `3.14`, at once behind `。`) and knows no voice. Invariants:
nothing but blanks is lost, the order stays, and no piece is longer than the limit.
"""

import re
from typing import Final

LIMIT: Final = 240

_ABBREVIATED: Final = """
mr mrs ms mx dr prof st sr jr rev hon gen col sgt capt lt vs etc approx dept est fig figs no nos vol pp ed eds inc ltd
co corp e.g i.e cf al a.m p.m u.s u.k u.n jan feb mar apr jun jul aug sep sept oct nov dec
bzw z.b d.h usw ca nr str hr fr m mme mlle sra srta dott sig
"""
_ABBREVIATIONS: Final = frozenset(_ABBREVIATED.split())
_CLOSERS: Final = re.escape("\"'”’»)]}›」』）】》")
_END: Final = re.compile(
    rf"[.!?…।॥؟۔]+[{_CLOSERS}]*(?=\s)"  # in scripts with blanks
    rf"|[。！？｡…]+[{_CLOSERS}]*"
    r"|\n\s*\n|\n(?=\s*(?:[-*•]|\d+[.)])\s)"  # a paragraph, an item of a list
)
_CLAUSE: Final = re.compile(r"[,;:)\u2013\u2014](?=\s)|[，、；：]")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def split(text: str, limit: int = LIMIT) -> list[str]:
    """Sentences without surrounding blanks; control characters count as blanks. [] where there is nothing else."""
    text = _CONTROL.sub(" ", text)
    found, start = [], 0
    for end in _END.finditer(text):
        if not _is_abbreviated(text, start, end):
            found.append(text[start : end.end()])
            start = end.end()
    found.append(text[start:])
    return [piece for sentence in found for piece in _shorter(" ".join(sentence.split()), limit) if piece]


def _is_abbreviated(text: str, start: int, end: re.Match[str]) -> bool:
    if end.group() != ".":
        return False
    word = text[start : end.start()].rpartition(" ")[2].rpartition("\n")[2].lstrip("([\"'“‘").lower()
    if len(word) == 1 and word.isalpha():  # an initial: J. S. Bach
        return word != "i"
    return word in _ABBREVIATIONS


def _shorter(sentence: str, limit: int) -> list[str]:
    """Pieces of at most `limit` letters, cut behind a clause where one ends in their second half, else at a blank."""
    pieces = []
    while len(sentence) > limit:
        window = sentence[: limit + 1]
        cuts = [clause.end() for clause in _CLAUSE.finditer(window) if limit // 3 < clause.end() <= limit]
        cut = cuts[-1] if cuts else window.rfind(" ", limit // 3)
        cut = cut if cut > 0 else limit
        pieces.append(sentence[:cut].strip())
        sentence = sentence[cut:].strip()
    return [*pieces, sentence]
