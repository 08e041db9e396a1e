"""64 MiB of hostile pictures at once, against a server in a process of its own: each is refused for what it is or worked on
within limits, memory stays within 200 MB of what it was, and comes back."""

import base64
import collections
import contextlib
import http.client
import json
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from fakes import hostile_images as hostile
from fakes.serving import Served, served

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of a process from /proc")

MIB = 1 << 20
MOST = 200 * 10**6
LEFT = 40 * 10**6  # what may stay: caches, fonts, a pool that has grown
EACH = 2 * MIB + 200_000

# name: the bytes padded to `size`, what they call themselves, and the statuses that tell the truth about them
PICTURES: dict[str, tuple[Callable[[int], bytes], str, set[int]]] = {
    "bomb": (lambda size: hostile.png(5760, 5760, padding=size), "image/png", {200, 413}),
    "palette bomb": (lambda size: hostile.png(4000, 4000, colour=3, padding=size), "image/png", {200, 413}),
    "hundred megapixels": (lambda size: hostile.png(10_000, 10_000, rows=0, padding=size), "image/png", {413}),
    "cut short": (lambda size: hostile.png(3000, 3000, padding=size)[:-40], "image/png", {400}),
    "too few pixels": (lambda size: hostile.png(3000, 3000, rows=9, padding=size), "image/png", {400, 413}),
    "noise": (lambda size: random.Random(1).randbytes(size), "image/png", {400}),
    "a growing GIF": (lambda size: hostile.gif_growing() + bytes(size), "image/gif", {400}),
    "a JPEG without a scan": (lambda size: hostile.jpeg_header(4000, 4000) + bytes(size), "image/jpeg", {400, 413}),
    "another type": (lambda size: hostile.png(3000, 3000, padding=size), "image/webp", {400}),
    "an extended WebP": (lambda size: hostile.webp_extended(9_000, 9_000) + bytes(size), "image/webp", {400, 413}),
}
ROUTES = ("/v1/image/upscale", "/api/v1/image/edit", "/v1/images/edits")


def form(route: str, data: bytes, type_: str) -> tuple[bytes, str]:
    fields = {} if "upscale" in route else {"prompt": "blue"}
    request = httpx.Request("POST", "http://x/", data=fields, files={"image": ("a.png", data, type_)})
    return request.read(), request.headers["content-type"]


def as_json(route: str, data: bytes, type_: str) -> tuple[bytes, str]:
    text = f"data:{type_};base64,{base64.b64encode(data).decode()}"
    fields = {} if "upscale" in route else {"prompt": "blue"}
    return json.dumps({"image": text, **fields}).encode(), "application/json"


def memory(server: Served, name: str) -> int:
    """VmRSS, or VmHWM, its highest since `forget_peak`. Bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1]) * 1024


def forget_peak(server: Served) -> None:
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5", encoding="ascii")


def send(server: Served, route: str, body: bytes, type_: str) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection:
        connection.request("POST", route, body, {"content-type": type_})
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.mark.parametrize("pack", [form, as_json], ids=["forms", "json"])
def test_memory_stays_flat(tmp_path: Path, pack: Callable[[str, bytes, str], tuple[bytes, str]]) -> None:
    jobs = []
    for name, (build, type_, _) in PICTURES.items():
        data = build(EACH if pack is form else EACH * 3 // 4)
        jobs += [(name, route, *pack(route, data, type_)) for route in ROUTES]
    assert 64 * MIB <= sum(len(body) for _, _, body, _ in jobs) <= 72 * MIB
    told: dict[str, list[tuple[int, bytes]]] = collections.defaultdict(list)

    def ask(name: str, route: str, body: bytes, type_: str) -> None:
        told[name].append(send(server, route, body, type_))

    with served(cwd=tmp_path) as server:
        for route in ROUTES:  # what the first picture loads stays loaded
            assert send(server, route, *pack(route, hostile.png(512, 512), "image/png"))[0] == 200
        before = memory(server, "VmRSS")
        forget_peak(server)
        threads = [threading.Thread(target=ask, args=job) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        peak = memory(server, "VmHWM")
        patience = time.monotonic() + 10
        while (after := memory(server, "VmRSS")) > before + LEFT and time.monotonic() < patience:
            time.sleep(0.1)  # the kernel's figure has no event
        assert server.ask("GET", "/livez")[0] == 200
    for name, (_, _, statuses) in PICTURES.items():
        assert len(told[name]) == len(ROUTES)
        for status, body in told[name]:
            assert status in statuses, (name, status, body[:300])
            assert status == 200 or "image" in json.dumps(json.loads(body)["error"]), (name, body)
    assert peak - before < MOST, f"grew by {(peak - before) / 1e6:.0f} MB"
    assert after - before < LEFT, f"kept {(after - before) / 1e6:.0f} MB"
