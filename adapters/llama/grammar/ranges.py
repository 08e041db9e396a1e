"""Numbers between bounds, digit by digit.

Owns the exact translation of integer and decimal intervals into digit grammars. Refuses to know schemas. Invariants:
every number written lies within the bounds also after parsing as a double (no more than 15 significant digits where
fractions are allowed), without leading zeros, minus zero or exponents.
"""

from decimal import Decimal

from adapters.llama.grammar.gbnf import EMPTY, Expr, alt, char_class, literal, optional, seq

_SIGNIFICANT = 15
FREE_DIGITS = 18  # whole numbers without a bound stay below 10**18
_FREE_DECIMAL = Decimal(10) ** 9 - 1

FREE_INTEGER: Expr = '("0" | "-"? [1-9] [0-9]{0,17})'
FREE_NUMBER: Expr = '"-"? ("0" | [1-9] [0-9]{0,17}) ("." [0-9]{1,16})? ([eE] [+-]? [0-9]{1,2})?'


def digit(low: int, high: int) -> Expr:
    """One digit out of a range."""
    return literal(str(low)) if low == high else char_class([(0x30 + low, 0x30 + high)])


def digits(low: int, high: int) -> Expr:
    """That many digits."""
    if high == 0:
        return EMPTY
    count = f"{{{low}}}" if low == high else f"{{{low},{high}}}"
    return "[0-9]" if low == high == 1 else f"[0-9]{count}"


def integers(low: int | None, high: int | None) -> Expr | None:
    """Whole numbers from `low` to `high`, None for no bound; None when there is none."""
    if low is None and high is None:
        return FREE_INTEGER
    if low is None:
        low = min(-(10**FREE_DIGITS - 1), (high or 0) * 10)
    if high is None:
        high = max(10**FREE_DIGITS - 1, low * 10)
    if low > high:
        return None
    parts = []
    if low < 0:
        parts.append(seq('"-"', _naturals(max(1, -high), -low)))
    if high >= 0:
        parts.append(_naturals(max(0, low), high))
    return alt(parts)


def _naturals(low: int, high: int) -> Expr:
    """low..high, both not negative."""
    parts = []
    if low == 0:
        parts.append(_same_length("0", str(min(high, 9))))
        low = 10
    full: list[int] = []  # numbers of digits that are allowed whole
    for length in range(len(str(low)), len(str(high)) + 1 if low <= high else 0):
        first, last = max(low, 10 ** (length - 1)), min(high, 10**length - 1)
        if first == 10 ** (length - 1) and last == 10**length - 1:
            full.append(length)
        else:
            parts.append(_same_length(str(first), str(last)))
    if full:
        parts.append(seq("[1-9]", digits(full[0] - 1, full[-1] - 1)))
    return alt(parts)


def _same_length(low: str, high: str) -> Expr:
    """Digit strings of one length, from `low` to `high`."""
    if low == high:
        return literal(low) if low else EMPTY
    size = next(at for at in range(len(low)) if low[at] != high[at])
    head = literal(low[:size]) if size else EMPTY
    first, last, rest = int(low[size]), int(high[size]), len(low) - size - 1
    parts = []
    if low[size + 1 :].strip("0"):
        parts.append(seq(digit(first, first), _same_length(low[size + 1 :], "9" * rest)))
        first += 1
    if high[size + 1 :].strip("9"):
        last -= 1
    if first <= last:
        parts.append(seq(digit(first, last), digits(rest, rest)))
    if high[size + 1 :].strip("9"):
        parts.append(seq(digit(last + 1, last + 1), _same_length("0" * rest, high[size + 1 :])))
    return seq(head, alt(parts))


Bound = tuple[Decimal, bool]  # the bound, and whether it is excluded


def decimals(low: Bound | None, high: Bound | None) -> Expr | None:
    """Numbers between two bounds, None for no bound; None when there is none.

    Raises ValueError when a bound has too many digits to be exact.
    """
    if low is None and high is None:
        return FREE_NUMBER
    if low is None:
        low = (min(-_FREE_DECIMAL, (high or (Decimal(0), False))[0] * 10), False)
    if high is None:
        high = (max(_FREE_DECIMAL, low[0] * 10), False)
    if low[0] > high[0] or (low[0] == high[0] and (low[1] or high[1])):
        return None
    zero = (Decimal(0), True)
    parts = []
    if low[0] < 0:
        upper = (-high[0], high[1]) if high[0] < 0 else zero
        negative = _magnitudes(upper, (-low[0], low[1]))
        if negative is not None:
            parts.append(seq('"-"', negative))
    if high[0] >= 0:
        positive = _magnitudes(low if low[0] >= 0 else (Decimal(0), False), high)
        if positive is not None:
            parts.append(positive)
    return alt(parts) if parts else None


def _magnitudes(low: Bound, high: Bound) -> Expr | None:
    """Decimals between two bounds that are not negative."""
    whole_low, part_low = _split(low[0])
    whole_high, part_high = _split(high[0])
    places = max(0, _SIGNIFICANT - len(str(whole_high)))
    if len(part_low) > places or len(part_high) > places:
        raise ValueError(f"a bound has more than {_SIGNIFICANT} significant digits")
    if whole_low == whole_high:
        fraction = _fraction((part_low, low[1]), (part_high, high[1]), places)
        return None if fraction is None else seq(literal(str(whole_low)), fraction)
    parts = []
    first = _fraction((part_low, low[1]), None, places)
    if first is not None:
        parts.append(seq(literal(str(whole_low)), first))
    if whole_low + 1 <= whole_high - 1:
        free = _fraction(None, None, places)
        parts.append(seq(_naturals(whole_low + 1, whole_high - 1), free or EMPTY))
    last = _fraction(None, (part_high, high[1]), places)
    if last is not None:
        parts.append(seq(literal(str(whole_high)), last))
    return alt(parts) if parts else None


def _split(value: Decimal) -> tuple[int, str]:
    """(whole part, digits behind the point without trailing zeros)."""
    text = format(value, "f")
    whole, _, part = text.partition(".")
    return int(whole), part.rstrip("0")


_Digits = tuple[str, bool]


def _fraction(low: _Digits | None, high: _Digits | None, places: int) -> Expr | None:
    """The point and the digits behind it (or nothing), between bounds on those digits."""
    empty, some = _digits_between(low, high, places)
    if some is None:
        return EMPTY if empty else None
    expr = seq('"."', some)
    return optional(expr) if empty else expr


def _digits_between(low: _Digits | None, high: _Digits | None, places: int) -> tuple[bool, Expr | None]:
    """(whether no digit at all is within, the non-empty digit strings that are) of at most `places` digits."""
    if low is not None and not low[0] and not low[1]:
        low = None
    if high is not None and not high[0] and high[1]:
        return False, None
    empty = low is None
    if places == 0:
        return empty, None
    if low is None and high is None:
        return True, digits(1, places)
    if low is None and high == ("", False):
        return True, f'"0"{{1,{places}}}'
    choices: dict[tuple[_Digits | None, _Digits | None], list[int]] = {}
    for value in range(10):
        below, above = _narrow(low, value), _narrow(high, value)
        if below == "out-low" or above == "out-high":
            continue
        rest_low = None if isinstance(below, str) else below
        rest_high = None if isinstance(above, str) else above
        choices.setdefault((rest_low, rest_high), []).append(value)
    parts = []
    for (rest_low, rest_high), values in choices.items():
        rest_empty, rest = _digits_between(rest_low, rest_high, places - 1)
        head = digit(values[0], values[-1])
        if rest is not None:
            parts.append(seq(head, optional(rest) if rest_empty else rest))
        elif rest_empty:
            parts.append(head)
    return empty, alt(parts) if parts else None


def _narrow(bound: _Digits | None, value: int) -> _Digits | str:
    """What is left of a bound behind the digit `value`: more digits, "free", or on which side it is out."""
    if bound is None:
        return "free"
    text, excluded = bound
    edge = int(text[0]) if text else 0
    if value == edge:
        return text[1:], excluded
    return "out-low" if value < edge else "out-high"
