"""A hub of models over a real socket: its API, its redirects, ranges done right; and, one answer at a time, done wrong.

`behave("cut", 1000)` makes the next answer to a file's GET do that; afterwards it is good again. It writes raw HTTP/1.1,
so that what it lies about is really on the wire.
"""

import contextlib
import gzip
import hashlib
import json
import re
import socketserver
import threading
from collections.abc import Iterator
from typing import Any


class FakeHub:
    """`files`: "owner/name/file" → content. `heard`: (method, path, headers) of every request."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.licence = "apache-2.0"
        self.checksums = True
        self.token = ""
        self.api = True
        self.cdn = ""  # where `resolve` redirects to; empty: it answers itself
        self.heard: list[tuple[str, str, dict[str, str]]] = []
        self.url = ""
        self._next: list[tuple[str, Any]] = []

    def behave(self, how: str, value: Any = None, times: int = 1) -> None:
        """cut, ignore_range, wrong_range, status, longer, shorter, redirect, gone, packed, packed_cut."""
        self._next += [(how, value)] * times

    def gets(self) -> list[dict[str, str]]:
        """Headers of the requests for files."""
        return [headers for _, path, headers in self.heard if not path.startswith("/api/")]

    # -- answering --------------------------------------------------------------------------------------------------

    def answer(self, path: str, headers: dict[str, str]) -> tuple[bytes, bool]:
        """Raw bytes, and whether the connection is cut behind them."""
        self.heard.append(("GET", path, headers))
        if self.token and headers.get("authorization") != f"Bearer {self.token}":
            return _raw(401, b"gated"), False
        if path.startswith("/api/models/"):
            return self._about(path), False
        path = path.partition("?")[0]
        found = re.match(r"^/([^/]+/[^/]+)/resolve/([^/]+)/(.+)$", path)
        name = f"{found[1]}/{found[3]}" if found else path.lstrip("/")
        content = self.files.get(name)
        if content is None:
            return _raw(404, b"Entry not found"), False
        if found and self.cdn:
            linked = (
                {"x-linked-etag": f'"{_sha(content)}"', "x-linked-size": str(len(content))} if self.checksums else {}
            )
            return _raw(302, b"", {"location": f"{self.cdn}/{name}", **linked}), False
        return self._file(content, headers)

    def _about(self, path: str) -> bytes:
        repository = "/".join(path.split("?")[0].split("/")[3:5])
        names = [name for name in self.files if name.startswith(repository + "/")]
        if not self.api or not names:
            return _raw(404, b'{"error":"Repository not found"}')
        siblings = []
        for name in names:
            row: dict[str, Any] = {"rfilename": name.removeprefix(repository + "/"), "size": len(self.files[name])}
            if self.checksums:
                row["lfs"] = {"sha256": _sha(self.files[name]), "size": len(self.files[name]), "pointerSize": 134}
            siblings.append(row)
        about = {"id": repository, "siblings": siblings, "cardData": {"license": self.licence}, "gated": False}
        return _raw(200, json.dumps(about).encode())

    def _file(self, content: bytes, headers: dict[str, str]) -> tuple[bytes, bool]:
        how, value = self._next.pop(0) if self._next else ("", None)
        etag = f'"{_sha(content)[:16]}"'
        if how == "status":
            return _raw(value, b"not now", {"retry-after": "0"}), False
        if how == "gone":
            return b"", True
        if how == "redirect":
            return _raw(302, b"", {"location": value}), False
        if how in ("packed", "packed_cut"):
            raw = _raw(200, gzip.compress(content), {"etag": etag, "content-encoding": "gzip"})
            return (raw[: len(raw) // 2], True) if how == "packed_cut" else (raw, False)
        wanted = re.match(r"^bytes=(\d+)-$", headers.get("range", ""))
        if headers.get("if-range", etag) != etag or how == "ignore_range":
            wanted = None
        begin = int(wanted[1]) if wanted else 0
        if wanted and begin >= len(content):
            return _raw(416, b"", {"content-range": f"bytes */{len(content)}"}), False
        body = content[begin:]
        more = {"etag": etag, "accept-ranges": "bytes"}
        if wanted:
            shown = begin + (7 if how == "wrong_range" else 0)
            more["content-range"] = f"bytes {shown}-{len(content) - 1}/{len(content)}"
        length = len(body) + {"longer": 50, "shorter": -50}.get(how, 0)
        raw = _raw(206 if wanted else 200, body, more, length)
        if how == "cut":
            head = raw.index(b"\r\n\r\n") + 4
            return raw[: head + value], True
        return raw, how in ("longer", "shorter")


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _raw(status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body) if length is None else length}"]
    lines += [f"{key}: {value}" for key, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextlib.contextmanager
def fake_hub() -> Iterator[FakeHub]:
    hub = FakeHub()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline().decode("latin-1"):
                _, path, _ = line.split(" ", 2)
                headers = {}
                while (field := self.rfile.readline().decode("latin-1").strip()) != "":
                    name, _, value = field.partition(":")
                    headers[name.lower()] = value.strip()
                raw, cut = hub.answer(path, headers)
                with contextlib.suppress(OSError):
                    self.wfile.write(raw)
                if cut:
                    return

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join(5)
