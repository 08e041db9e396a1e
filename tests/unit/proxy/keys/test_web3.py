"""A key for a wallet."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from proxy.errors import KeyInvalid, PermissionDenied
from proxy.keys.web3 import LIFE_S, Web3Desk, signed_by
from proxy.ledger.database import connect
from proxy.ledger.keyrows import KeyRows

WALLET = Account.from_key("0x" + "11" * 32)
STRANGER = Account.from_key("0x" + "22" * 32)


class Clock:
    now = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.now


def signature(token: str, wallet: "Account" = WALLET) -> str:
    return "0x" + wallet.sign_message(encode_defunct(text=token)).signature.hex().removeprefix("0x")


def run(work: Callable[[Web3Desk, Clock], Awaitable[None]]) -> None:
    async def main() -> None:
        database = await connect("sqlite://")
        clock = Clock()
        try:
            await work(Web3Desk(KeyRows(database), b"p" * 32, [WALLET.address], clock), clock)
        finally:
            await database.aclose()

    asyncio.run(main())


def test_a_token_signed_by_a_wallet_on_the_list_is_good_once() -> None:
    async def work(desk: Web3Desk, clock: Clock) -> None:
        token = desk.token()
        assert token.count(".") == 2
        with pytest.raises(KeyInvalid, match="not this wallet"):
            await desk.accept(token, STRANGER.address, signature(token))
        await desk.accept(token, WALLET.address.lower(), signature(token))
        with pytest.raises(KeyInvalid, match="used already"):
            await desk.accept(token, WALLET.address, signature(token))

    run(work)


def test_a_wallet_that_is_not_on_the_list_does_not_spend_it() -> None:
    async def work(desk: Web3Desk, clock: Clock) -> None:
        token = desk.token()
        with pytest.raises(PermissionDenied):
            await desk.accept(token, STRANGER.address, signature(token, STRANGER))
        await desk.accept(token, WALLET.address, signature(token))

    run(work)


def test_a_token_that_is_too_old_changed_or_somebody_elses() -> None:
    async def work(desk: Web3Desk, clock: Clock) -> None:
        token = desk.token()
        clock.now += LIFE_S * 1_000_000
        with pytest.raises(KeyInvalid, match="expired"):
            await desk.accept(token, WALLET.address, signature(token))
        fresh = desk.token()
        head, body, seal = fresh.split(".")
        other = Web3Desk(KeyRows(None), b"q" * 32, [WALLET.address], clock).token()  # type: ignore[arg-type]
        unsigned = "eyJhbGciOiJub25lIn0." + body + "."
        for wrong in (f"{head}.{body}x.{seal}", f"{head}.{body}.{seal[:-2]}", other, unsigned, "", "a.b.c", "é" * 40):
            with pytest.raises(KeyInvalid):
                await desk.accept(wrong, WALLET.address, signature(wrong))

    run(work)


@pytest.mark.parametrize("text", ["", "0x", "0x00", "zz", "0x" + "00" * 65, "0x" + "ff" * 65, "0x" + "ab" * 64, "é"])
def test_what_is_no_signature(text: str) -> None:
    assert signed_by("token", text) is None


def test_the_library_is_not_loaded_before_it_is_needed() -> None:
    root = str(Path(__file__).parents[4])
    script = (
        f"import sys; sys.path.insert(0, {root!r}); import proxy.keys.web3; assert 'eth_account' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
