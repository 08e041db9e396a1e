"""What a key looks like: `tgt_<id>_<secret>`. The id (22 signs, a UUID) finds it, the secret (43 signs, 256 bits) proves it.

It knows shapes and one HMAC, no table and no time. A key is compared as a whole, in constant time, by its HMAC only.
"""

import hmac
import re
import secrets
import uuid

import msgspec

PREFIX = "tgt"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUES = {sign: value for value, sign in enumerate(_ALPHABET)}
_KEY = re.compile(rf"{PREFIX}_([0-9A-Za-z]{{22}})_([0-9A-Za-z]{{43}})", re.ASCII)


class Minted(msgspec.Struct, frozen=True):
    """A new key. `text` is shown once and then forgotten."""

    text: str
    id: str
    last6: str


def _base62(number: int, width: int) -> str:
    signs = []
    for _ in range(width):
        number, rest = divmod(number, 62)
        signs.append(_ALPHABET[rest])
    return "".join(reversed(signs))


def mint() -> Minted:
    """A key that nobody has had before."""
    id_ = uuid.uuid4()
    secret = _base62(secrets.randbits(256), 43)
    return Minted(f"{PREFIX}_{_base62(id_.int, 22)}_{secret}", str(id_), secret[-6:])


def id_of(text: str) -> str | None:
    """The id inside a key; None if it does not look like one of ours."""
    found = _KEY.fullmatch(text)
    if found is None:
        return None
    number = 0
    for sign in found[1]:
        number = number * 62 + _VALUES[sign]
    return str(uuid.UUID(int=number)) if number < 1 << 128 else None


def label_of(text: str) -> str | None:
    """The sign for a key's id inside it, which is cheaper than the id; None if it does not look like one of ours."""
    found = _KEY.fullmatch(text)
    return found[1] if found else None


def label(id_: str) -> str:
    """What `label_of` finds in every key of this id."""
    return _base62(uuid.UUID(id_).int, 22)


def mac(pepper: bytes, text: str) -> bytes:
    """What is kept of a key: HMAC-SHA-256 of all of it under the server's pepper."""
    return hmac.digest(pepper, text.encode("utf-8", "surrogateescape"), "sha256")


same = hmac.compare_digest
