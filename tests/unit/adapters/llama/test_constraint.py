"""Grammars in the hands of a model that says anything."""

import numpy as np
import pytest

from adapters.llama import ffi
from adapters.llama.constraint import Constraint, Grammar, GrammarError

CALL = 'root ::= "<tool_call>{" [a-z]+ "}</tool_call>"'


def _ids(model: ffi.Model, text: str) -> list[int]:
    return [int(t) for t in model.vocab.tokenize(text, add_special=False, parse_special=True)]


def test_a_bad_grammar_is_an_error_and_no_crash(tiny_model: ffi.Model, capfd: pytest.CaptureFixture[str]) -> None:
    for text in ("root ::= (", "root ::= missing", "", "other ::= [a-z]"):
        with pytest.raises(GrammarError):
            Grammar(tiny_model.vocab, text, "root", ())
    capfd.readouterr()


def test_it_allows_masks_and_accepts(tiny_model: ffi.Model) -> None:
    grammar = Grammar(tiny_model.vocab, 'root ::= "a" [bc] "d"', "root", ())
    one, other = grammar.begin(), grammar.begin()
    a, b, c, d = (tiny_model.vocab.pieces.index(x) for x in (b"a", b"b", b"c", b"d"))
    eog = min(tiny_model.vocab.eog_set)
    assert one.allows(a)
    assert not one.allows(b)
    one.accept(a)
    assert one.mask(np.array([a, b, c, d, eog])).tolist() == [False, True, True, False, False]
    one.accept(c)
    one.accept(d)
    assert one.allows(eog)
    assert not one.allows(a)
    one.accept(eog)  # is left out: llama.cpp would abort on some
    assert other.allows(a), "constraints of one grammar do not share their state"
    one.close()
    other.close()
    one.close()
    grammar.close()


def test_closing_is_counted(tiny_model: ffi.Model) -> None:
    before = Constraint.alive
    grammar = Grammar(tiny_model.vocab, "root ::= [a-z]+", "root", ())
    some = [grammar.begin() for _ in range(5)]
    assert Constraint.alive == before + 5
    for one in some:
        one.close()
    assert Constraint.alive == before


@pytest.mark.parametrize("lead", ["", "Let me see. ", "é\n"])
def test_a_trigger_starts_the_grammar(tiny_model: ffi.Model, lead: str) -> None:
    grammar = Grammar(tiny_model.vocab, CALL, "root", ("(<tool_call>)",))
    one = grammar.begin()
    for token in _ids(tiny_model, lead):
        assert one.allows(token)
        one.accept(token)
    assert not one.active
    for token in _ids(tiny_model, "<tool_call>"):
        one.accept(token)
    assert one.active
    assert not one.allows(tiny_model.vocab.pieces.index(b"x"))
    for token in _ids(tiny_model, "{abc}</tool_call>"):
        assert one.allows(token)
        one.accept(token)
    assert one.allows(min(tiny_model.vocab.eog_set))
    one.close()


def test_a_trigger_within_a_token_replays_the_rest(tiny_model: ffi.Model) -> None:
    """The pattern begins in the middle of the token "the": the grammar goes on with "he"."""
    grammar = Grammar(tiny_model.vocab, 'root ::= "he" [x-z]', "root", ("(he)",))
    one = grammar.begin()
    one.accept(tiny_model.vocab.pieces.index(b"the"))
    assert one.active
    assert one.allows(tiny_model.vocab.pieces.index(b"x"))
    assert not one.allows(tiny_model.vocab.pieces.index(b"h"))
    one.close()


def test_text_at_the_trigger_that_does_not_fit_drops_the_grammar(tiny_model: ffi.Model) -> None:
    """llama.cpp's own lazy grammars abort the process here."""
    grammar = Grammar(tiny_model.vocab, 'root ::= "tX"', "root", ("(t)",))
    one = grammar.begin()
    one.accept(tiny_model.vocab.pieces.index(b"the"))
    assert one.missed
    assert not one.active
    assert one.allows(97)
    one.accept(97)
    one.close()
