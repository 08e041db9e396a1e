"""Answers as bytes: good ones in every framing, and bad ones with what may be said of them.

Owns the tables that the fault suites run through; refuses to know sockets. Where a library knows less than our own transport,
`elsewhere` lists the kinds that it may say instead, and LENIENT what it lets pass.
"""

import gzip
from typing import NamedTuple

from fakes.rawserver import CHUNKED, answer, chunk

BODY = b'data: {"a": 1}\n\ndata: [DONE]\n\n' * 3
ALL_CHUNKED = CHUNKED + b"".join(chunk(BODY[i : i + 7]) for i in range(0, len(BODY), 7)) + chunk(b"")
GOOD: dict[str, tuple[bytes, bytes, bool]] = {  # name: bytes, body, server closes behind it
    "length": (answer(BODY), BODY, False),
    "empty": (answer(b""), b"", False),
    "chunked": (ALL_CHUNKED, BODY, False),
    "chunk extensions": (CHUNKED + b"3;a=b;c\r\nabc\r\n0\r\n\r\n", b"abc", False),
    "upper case chunk size": (CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", False),
    "trailers": (CHUNKED + chunk(b"abc") + b"0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n", b"abc", False),
    "until close": (b"HTTP/1.1 200 OK\r\n\r\n" + BODY, BODY, True),
    "until close, empty": (b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", b"", True),
    "connection: close": (answer(BODY, "200 OK", "connection: close"), BODY, True),
    "http/1.0": (b"HTTP/1.0 200 OK\r\n\r\n" + BODY, BODY, True),
    "http/1.0 keep-alive": (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok", b"ok", False),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", False),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\n\r\n", b"", False),
    "no reason": (b"HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok", b"ok", False),
    "100 before": (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"ok"), b"ok", False),
    "103 before": (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + answer(b"ok"), b"ok", False),
    "102 twice": (b"HTTP/1.1 102 Processing\r\n\r\n" * 2 + answer(b"ok"), b"ok", False),
}


class Bad(NamedTuple):
    """What the server does after the request, and what may be said of it."""

    wire: bytes
    end: str  # "close", "reset" or "wait"
    kinds: set[str]
    elsewhere: frozenset[str] | set[str] = frozenset()  # more kinds that the libraries may say


ANY_CUT = {"reset", "premature_eof", "protocol"}
BAD_HEAD: dict[str, Bad] = {
    "close at once": Bad(b"", "close", {"reset"}, ANY_CUT),
    "reset at once": Bad(b"", "reset", {"reset"}, ANY_CUT),
    "close in the status line": Bad(b"HTTP/1.1 20", "close", {"premature_eof"}, ANY_CUT),
    "close in the headers": Bad(b"HTTP/1.1 200 OK\r\ncontent-le", "close", {"premature_eof"}, ANY_CUT),
    "close after 100": Bad(b"HTTP/1.1 100 Continue\r\n\r\n", "close", {"premature_eof"}, ANY_CUT),
    "reset in the headers": Bad(b"HTTP/1.1 200 OK\r\ncontent-le", "reset", {"reset", "premature_eof"}, ANY_CUT),
    "garbage": Bad(b"\x00\xff hello\r\n\r\n", "wait", {"protocol"}),
    "another protocol": Bad(b"SSH-2.0-OpenSSH_9.6\r\n", "wait", {"protocol"}, {"first_byte_timeout"}),
    "tls alert": Bad(b"\x15\x03\x01\x00\x02\x02\x46", "wait", {"protocol"}),
    "bad header line": Bad(b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n", "wait", {"protocol"}),
    "two lengths": Bad(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", "wait", {"protocol"}),
    "length and chunked": Bad(
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "wait", {"protocol"}
    ),
    "negative length": Bad(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "wait", {"protocol"}),
    "upgrade unasked": Bad(
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", "wait", {"protocol"}
    ),
    "status 099": Bad(b"HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n", "wait", {"protocol"}),
    "huge header": Bad(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000, "wait", {"too_large"}, {"protocol"}),
    "huge status line": Bad(b"HTTP/1.1 200 " + b"y" * 300_000, "wait", {"too_large"}, {"protocol"}),
    "many headers": Bad(
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: y\r\n" % i for i in range(40_000)) + b"\r\n",
        "wait",
        {"too_large"},
        {"protocol"},
    ),
    "endless 102": Bad(b"HTTP/1.1 102 Processing\r\nx-a: bcdefgh\r\n\r\n" * 10_000, "wait", {"too_large"}),
}
# Libraries that let these pass hand over what they understood, which is not a cut answer: that is theirs to answer for.
LENIENT = {
    "aiohttp": {"two lengths", "status 099", "endless 102", "many headers", "upgrade unasked", "length and chunked"},
    "httpx": {"length and chunked", "status 099", "endless 102", "upgrade unasked", "two lengths"},
}


SHORT = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"
BAD_BODY: dict[str, tuple[Bad, bytes]] = {
    "length, close": (Bad(SHORT + b"abc", "close", {"premature_eof"}, ANY_CUT), b"abc"),
    "length, close before any": (Bad(SHORT, "close", {"premature_eof"}, ANY_CUT), b""),
    "length, close one short": (Bad(SHORT + b"x" * 99, "close", {"premature_eof"}, ANY_CUT), b"x" * 99),
    "chunked, close between chunks": (Bad(CHUNKED + chunk(b"abc"), "close", {"premature_eof"}, ANY_CUT), b"abc"),
    "chunked, close in a chunk": (Bad(CHUNKED + b"ff\r\nabc", "close", {"premature_eof"}, ANY_CUT), b"abc"),
    "chunked, close in a size": (Bad(CHUNKED + chunk(b"abc") + b"f", "close", {"premature_eof"}, ANY_CUT), b"abc"),
    "chunked, close before the last CRLF": (
        Bad(CHUNKED + chunk(b"abc") + b"0\r\n", "close", {"premature_eof"}, ANY_CUT),
        b"abc",
    ),
    "chunked, bad size": (Bad(CHUNKED + chunk(b"abc") + b"zz\r\n", "wait", {"protocol"}), b"abc"),
    "chunked, data longer than its size": (Bad(CHUNKED + b"2\r\nabc\r\n", "wait", {"protocol"}), b"ab"),
    "chunked, huge size": (Bad(CHUNKED + chunk(b"abc") + b"f" * 40 + b"\r\n", "wait", {"protocol"}), b"abc"),
    "endless trailer": (
        Bad(CHUNKED + chunk(b"abc") + b"0\r\nx: " + b"y" * 300_000, "wait", {"too_large"}, {"protocol"}),
        b"abc",
    ),
    "gzip, cut": (
        Bad(
            answer(gzip.compress(b"abc" * 1000)[:-6], "200 OK", "content-encoding: gzip"),
            "wait",
            {"premature_eof"},
        ),
        b"abc" * 1000,
    ),
    "gzip, corrupt": (
        Bad(answer(b"\x1f\x8b" + b"\xff" * 40, "200 OK", "content-encoding: gzip"), "wait", {"protocol"}),
        b"",
    ),
}
LENIENT_BODY = {"aiohttp": {"endless trailer"}, "httpx": {"endless trailer", "chunked, huge size"}}
