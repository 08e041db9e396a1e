"""A key for a wallet: we give a token, the wallet signs it (EIP-191), and whoever is on the list gets a key for it.

The token is ours by its HMAC, lives five minutes, and is spent by its first good use. eth-account is loaded when the
first signature comes, in a thread: it takes its time.
"""

import asyncio
import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Callable, Iterable

import msgspec

from proxy.errors import KeyInvalid, PermissionDenied
from proxy.keys.directory import now_us
from proxy.ledger.keyrows import KeyRows

LIFE_S = 300
_SIGNATURE = re.compile(r"(0x)?[0-9A-Fa-f]{130}", re.ASCII)  # r, s, v
_HEADER = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=").decode()


class Claims(msgspec.Struct):
    nonce: str
    iat: int
    exp: int


class Web3Desk:
    """`wallets` is the allow-list of addresses; without any, nobody gets a key this way."""

    def __init__(self, rows: KeyRows, pepper: bytes, wallets: Iterable[str], clock: Callable[[], int] = now_us) -> None:
        self._rows = rows
        self._secret = hmac.digest(pepper, b"web3 token", "sha256")  # another purpose, another key
        self._wallets = {wallet.lower() for wallet in wallets}
        self._clock = clock

    def token(self) -> str:
        """A new token, for a wallet to sign."""
        now = self._clock() // 1_000_000
        claims = msgspec.json.encode(Claims(secrets.token_urlsafe(16), now, now + LIFE_S))
        body = f"{_HEADER}.{_text(claims)}"
        return f"{body}.{_text(self._seal(body))}"

    async def accept(self, token: str, address: str, signature: str) -> None:
        """Spend a token that the wallet at `address` signed.

        Raises:
            KeyInvalid: the token is not ours, too old or spent, or the signature is not this wallet's.
            PermissionDenied: the wallet is not on the list.
        """
        claims = self._claims(token)
        if claims is None or claims.exp * 1_000_000 <= self._clock():
            raise KeyInvalid("The token is not valid, or has expired.")
        signer = await asyncio.to_thread(signed_by, token, signature)
        if signer is None or signer.lower() != address.lower():
            raise KeyInvalid("The signature is not this wallet's.")
        if signer.lower() not in self._wallets:
            raise PermissionDenied("This wallet may not create API keys here.")
        if not await self._rows.spend(claims.nonce, claims.exp * 1_000_000, self._clock()):
            raise KeyInvalid("The token has been used already.")

    def _seal(self, body: str) -> bytes:
        return hmac.digest(self._secret, body.encode(), "sha256")

    def _claims(self, token: str) -> Claims | None:
        body, _, seal = token.rpartition(".")
        header, _, claims = body.partition(".")
        try:
            given = _bytes(seal)
            if header != _HEADER or not hmac.compare_digest(given, self._seal(body)):
                return None
            return msgspec.json.decode(_bytes(claims), type=Claims)
        except (ValueError, binascii.Error, msgspec.DecodeError, UnicodeEncodeError):
            return None


def signed_by(text: str, signature: str) -> str | None:
    """The address whose key signed this text as a personal message (EIP-191); None for what is no signature."""
    if not _SIGNATURE.fullmatch(signature):
        return None
    from eth_account import Account
    from eth_account.messages import encode_defunct
    from eth_utils.exceptions import ValidationError

    try:
        return str(Account.recover_message(encode_defunct(text=text), signature=signature))
    except (ValueError, TypeError, ValidationError):
        return None
    except Exception as error:  # eth-keys' own errors have no common root with eth-utils'
        if type(error).__module__.startswith("eth_"):
            return None
        raise


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
