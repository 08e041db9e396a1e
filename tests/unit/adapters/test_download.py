"""Files behind URLs from elsewhere, against servers that do not mean well."""

import asyncio
import base64
import contextlib
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from adapters import download
from adapters.download import ANYTHING, AUDIO, IMAGE, Downloaded, Downloads, Want, files_of, sniff
from adapters.guard import UrlPolicy
from adapters.options import VaikerAIOptions
from fakes.hostile_images import picture
from fakes.rawserver import CHUNKED, Peer, RawServer, answer, chunk
from proxy.errors import BadRequest, Fault, UpstreamError

PNG = picture("png", 64, 64)
SMALL = Want("image", 4096, 1.0)

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE_S", 0.001)


class Names:
    """A resolver that answers what it is told, one answer after the other, and keeps to the last."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def says(*responses: bytes) -> Callable[[Peer], Awaitable[None]]:
    """A script: one response for each connection, the last one for all further ones."""
    left = list(responses)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(left.pop(0) if len(left) > 1 else left[0])

    return script


def downloads(server: RawServer, *more: str, names: Names | None = None, token: str | None = None) -> Downloads:
    """For files of a private host whose name the configuration gives, and which `names` places on the loopback."""
    hosts = [f"http://files.internal:{server.port}", *more]
    policy = UrlPolicy(hosts, own=f"http://api.internal:{server.port}")
    return Downloads(policy, BadRequest, authorization=token, resolver=names or Names(["127.0.0.1"]))


def url(server: RawServer, path: str = "/a.png", host: str = "files.internal") -> str:
    return f"http://{host}:{server.port}{path}"


async def refusal(given: Downloads, where: str, want: Want = SMALL) -> str:
    with pytest.raises(BadRequest) as caught:
        await given.get(where, want)
    return caught.value.message


async def test_a_file_comes_with_the_type_that_its_bytes_have() -> None:
    async with RawServer(says(answer(PNG, "200 OK", "content-type: image/jpeg"))) as server:
        got = await downloads(server).get(url(server, "/a/ü.png?X-Sig=%2F+a=#part"), IMAGE)
    assert got == Downloaded(PNG, "image/png")
    (heard,) = server.heard
    assert heard.target == "/a/%C3%BC.png?X-Sig=%2F+a="
    assert heard.header("host") == [f"files.internal:{server.port}"]
    assert heard.header("authorization") == heard.header("cookie") == []


async def test_credentials_go_to_the_apis_own_origin_only() -> None:
    async with RawServer(says(answer(PNG))) as server:
        given = downloads(server, token="Bearer canary")
        await given.get(url(server), IMAGE)
        await given.get(url(server, host="api.internal"), IMAGE)
    assert [heard.header("authorization") for heard in server.heard] == [[], ["Bearer canary"]]


async def test_a_redirect_from_the_api_takes_no_credentials_along() -> None:
    async def script(peer: Peer) -> None:
        heard = await peer.request()
        moved = heard.target == "/v1/files/1"
        to = f"location: http://files.internal:{server.port}/signed"
        await peer.send(answer(b"", "307 Temporary Redirect", to) if moved else answer(PNG))

    async with RawServer(script) as server:
        got = await downloads(server, token="Bearer canary").get(url(server, "/v1/files/1", "api.internal"), IMAGE)
    assert got.body == PNG
    assert [(h.target, h.header("authorization")) for h in server.heard] == [
        ("/v1/files/1", ["Bearer canary"]),
        ("/signed", []),
    ]


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{trap}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://[::1]:{trap}/",
        "//localhost:{trap}/",
        "http://2130706433:{trap}/",
        "http://0x7f.1:{trap}/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{trap}/",
        "http://files.internal:{trap}/",
        "http://user:secret@files.internal:{server}/",
    ],
)
async def test_a_redirect_is_judged_like_any_url(location: str) -> None:
    """Nothing connects to the trap, whatever the policy's own hosts are."""
    async with RawServer(says(answer(b"secret"))) as trap:
        to = f"location: {location}"

        async def script(peer: Peer) -> None:
            await peer.request()
            line = to.replace("{trap}", str(trap.port)).replace("{server}", str(server.port))
            await peer.send(answer(b"", "302 Found", line))

        async with RawServer(script) as server:
            said = await refusal(downloads(server), url(server))
    assert trap.accepted == 0
    assert server.accepted == 1
    assert "secret" not in said


async def test_redirects_end() -> None:
    async with RawServer(says(answer(b"", "302 Found", "location: /again"))) as server:
        assert await refusal(downloads(server), url(server)) == "too many redirects"
    assert server.accepted == 4


async def test_an_address_that_was_checked_is_the_one_connected_to() -> None:
    """A resolver that would answer differently the second time is not asked a second time."""
    connections = 0

    async def trapped(reader: Any, writer: Any) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    names = Names(["127.0.0.1"], ["127.0.0.2"])
    async with RawServer(says(answer(PNG))) as server:
        trap = await asyncio.start_server(trapped, "127.0.0.2", server.port)
        async with trap:
            got = await downloads(server, names=names).get(url(server), IMAGE)
    assert got.body == PNG
    assert names.asked == ["files.internal"]
    assert connections == 0


async def test_a_name_that_rebinds_between_two_hops_is_caught_at_the_second() -> None:
    """Each hop is resolved for itself, and its address is checked for itself."""
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    async with RawServer(says(answer(b"", "302 Found", "location: /b"), answer(PNG))) as server:
        said = await refusal(downloads(server, names=names), url(server))
    assert said == "the host has an address that is not public"
    assert names.asked == ["files.internal", "files.internal"]
    assert server.accepted == 1


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:127.0.0.1"], ["fd00::1"]])
async def test_a_public_name_with_a_private_address_is_not_connected_to(addresses: list[str]) -> None:
    async with RawServer(says(answer(PNG))) as server:
        given = Downloads(UrlPolicy([f"files.example.com:{server.port}"]), BadRequest, resolver=Names(addresses))
        said = await refusal(given, f"https://files.example.com:{server.port}/a.png")
        anybody = Downloads(UrlPolicy(None), BadRequest, resolver=Names(addresses))
        assert await refusal(anybody, "https://files.example.com/a.png") == said
    assert said == "the host has an address that is not public"
    assert server.accepted == 0


async def test_an_address_where_nobody_is_does_not_hide_the_others() -> None:
    names = Names(["127.0.0.3", "127.0.0.1"])
    async with RawServer(says(answer(PNG))) as server:
        assert (await downloads(server, names=names).get(url(server), IMAGE)).body == PNG
    assert names.asked == ["files.internal"] * 2


async def test_a_name_without_an_address_is_refused() -> None:
    async def nobody(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    given = Downloads(UrlPolicy(None), BadRequest, resolver=nobody)
    assert await refusal(given, "https://files.example.com/a.png") == "the host could not be resolved"


async def test_an_endless_body_ends_at_the_limit() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        while True:
            await peer.send(chunk(PNG[:1024].ljust(1024, b"\0")))

    async with RawServer(script) as server:
        assert await refusal(downloads(server), url(server)) == "it is larger than 4096 bytes"
        async with asyncio.timeout(2):
            await server.until(lambda: not server.open)
    assert server.accepted == 1  # no other try: it would be as large
    assert server.peers[0].taken < 64 << 20


async def test_a_length_beyond_the_limit_is_refused_before_the_body() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"
    async with RawServer(says(head)) as server:
        assert await refusal(downloads(server), url(server)) == "it is larger than 4096 bytes"


async def test_a_bomb_of_a_coding_is_no_way_around_the_limit() -> None:
    packed = zlib.compress(bytes(50 << 20))
    async with RawServer(says(answer(packed, "200 OK", "content-encoding: deflate"))) as server:
        assert await refusal(downloads(server), url(server), Want("", 1 << 20, 5.0)) == "it is larger than 1 MiB"


async def test_a_slow_body_ends_at_the_time_limit() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(PNG[:16]))
        while not peer.gone.is_set():
            await peer.send(chunk(b"\0"))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await peer.gone.wait()

    async with RawServer(script) as server:
        said = await refusal(downloads(server), url(server), Want("image", 4096, 0.3))
        assert said == "it did not come within 0.3 seconds"
        async with asyncio.timeout(2):
            await server.until(lambda: not server.open)


async def test_the_time_limit_holds_while_a_name_is_resolved() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        raise AssertionError

    given = Downloads(UrlPolicy(None), BadRequest, resolver=never)
    assert "0.05 seconds" in await refusal(given, "https://files.example.com/a.png", Want("image", 4096, 0.05))


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + PNG[:1000],
        CHUNKED + chunk(PNG[:1000]),
        b"",
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
    ],
    ids=["shorter than announced", "cut in chunks", "no answer", "503"],
)
async def test_what_may_pass_is_asked_again(cut: bytes) -> None:
    """And a file that comes in the end is whole."""
    async with RawServer(says(cut, cut, answer(PNG))) as server:
        assert (await downloads(server).get(url(server), Want("image", 1 << 20, 5.0))).body == PNG
    assert server.accepted == 3
    async with RawServer(says(cut)) as server:
        said = await refusal(downloads(server), url(server), Want("image", 1 << 20, 5.0))
    assert server.accepted == 3
    assert said in ("the connection broke before it was complete", "its host answered with status 503")


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (answer(b"gone", "404 Not Found"), "its host answered with status 404"),
        (answer(b"", "410 Gone"), "its host answered with status 410"),
        (answer(b"", "204 No Content"), "its host answered with status 204"),
        (answer(b"", "302 Found"), "its host answered with status 302"),
        (answer(b"<html>sorry</html>", "200 OK", "content-type: image/png"), "its bytes are not of a kind of image"),
        (answer(b"", "200 OK", "content-type: image/png"), "it is empty"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "its host sent what is not HTTP"),
    ],
)
async def test_what_cannot_pass_is_asked_once(response: bytes, said: str) -> None:
    async with RawServer(says(response)) as server:
        assert (await refusal(downloads(server), url(server))).startswith(said)
    assert server.accepted == 1


async def test_hosts_that_are_not_listed_are_not_asked() -> None:
    async with RawServer(says(answer(PNG))) as server:
        assert "not on the list" in await refusal(downloads(server), f"http://127.0.0.1:{server.port}/a.png")
        assert "not on the list" in await refusal(downloads(server), "https://evil.example/a.png")
    assert server.accepted == 0


async def test_no_more_than_a_few_files_are_fetched_at_once() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(0.01)
        await peer.send(answer(PNG))

    async with RawServer(script) as server:
        given = downloads(server)
        files = await asyncio.gather(*(given.get(url(server), IMAGE) for _ in range(30)))
    assert all(file.body == PNG for file in files)
    assert server.accepted == 30
    assert server.peak <= download.AT_ONCE


@pytest.mark.parametrize(
    ("given", "want", "found"),
    [
        (f"data:image/webp;base64,{base64.b64encode(PNG).decode()}", IMAGE, Downloaded(PNG, "image/png")),
        ("data:text/plain,a%20b", ANYTHING, Downloaded(b"a b", "text/plain")),
        ("data:;base64,UklGRgAAAABXQVZF", AUDIO, Downloaded(b"RIFF\0\0\0\0WAVE", "audio/wav")),
        ("data:audio/pcm;base64,AAECAwQF", AUDIO, Downloaded(bytes(range(6)), "audio/pcm")),
    ],
)
async def test_a_data_url_is_a_file_as_well(given: str, want: Want, found: Downloaded) -> None:
    assert await Downloads(UrlPolicy([]), BadRequest).get(given, want) == found


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("data:image/png;base64", "its data URL is malformed"),
        ("data:image/png;base64,@@@@", "its data URL is damaged"),
        ("data:image/png;base64," + "A" * 8192, "it is larger than 4096 bytes"),
        ("data:image/png," + "a" * 5000, "it is larger than 4096 bytes"),
        ("data:image/png,", "it is empty"),
        ("data:image/png,%3Csvg%3E", "its bytes are not of a kind of image"),
    ],
)
async def test_a_data_url_has_the_same_limits(given: str, said: str) -> None:
    assert (await refusal(Downloads(UrlPolicy([]), BadRequest), given)).startswith(said)


async def test_a_large_data_url_is_decoded_beside_the_loop() -> None:
    body = PNG + bytes(2 << 20)
    got = await Downloads(UrlPolicy([]), BadRequest).get(
        "data:image/png;base64," + base64.b64encode(body).decode(), IMAGE
    )
    assert got.body == body


@pytest.mark.parametrize(
    ("head", "type_"),
    [
        (picture("jpeg", 8, 8), "image/jpeg"),
        (picture("webp", 8, 8), "image/webp"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
        (b"OggS\0\2", "audio/ogg"),
        (b"fLaC\0", "audio/flac"),
        (b"ID3\4", "audio/mpeg"),
        (b"\xff\xfb\x90", "audio/mpeg"),
        (b"\xff\xf1\x50", "audio/aac"),
        (b"\0\0\0\x20ftypM4A ", "audio/mp4"),
        (b"\0\0\0\x20ftypisom", "video/mp4"),
        (b"\x1aE\xdf\xa3", "video/webm"),
        (b"<!doctype html>", None),
        (b"", None),
        (b"\xff", None),
    ],
)
async def test_first_bytes_tell_what_a_file_is(head: bytes, type_: str | None) -> None:
    assert sniff(head[:64]) == type_


@pytest.mark.parametrize("body", [b"<html>", b'  {"error": "no"}', b"Internal Server Error"])
async def test_bare_samples_are_taken_on_trust_but_text_is_not(body: bytes) -> None:
    async with RawServer(says(answer(body, "200 OK", "content-type: audio/pcm"))) as server:
        assert "kind of audio" in await refusal(downloads(server), url(server), AUDIO)


async def test_the_outputs_of_an_upstream_are_fetched_as_its_options_say() -> None:
    """Its errors name the upstream and never the URL."""

    async def script(peer: Peer) -> None:
        heard = await peer.request()
        await peer.send(answer(PNG) if heard.target == "/v1/files/1" else answer(b"", "404 Not Found"))

    async with RawServer(script) as server:
        options = VaikerAIOptions(base_url=f"{server.url}/v1", api_key="canary", file_hosts=("127.0.0.1",))
        files = files_of("vk", options)
        assert (await files.get(f"{server.url}/v1/files/1", IMAGE)).body == PNG
        with pytest.raises(UpstreamError) as caught:
            await files.get(f"{server.url}/b?X-Amz-Signature=canary", IMAGE)
    assert caught.value.fault is Fault.SERVER
    assert caught.value.accepted is True
    said = "The file that the upstream 'vk' made could not be fetched: its host answered with status 404."
    assert caught.value.message == said
    assert server.heard[0].header("authorization") == ["Bearer canary"]


async def test_one_file_for_one_purpose() -> None:
    async with RawServer(says(answer(PNG))) as server:
        policy = UrlPolicy([server.url])
        got = await download.download(
            f"{server.url}/a.png", policy=policy, max_bytes=1 << 20, refuse=BadRequest, what="image"
        )
        assert got == Downloaded(PNG, "image/png")
        with pytest.raises(BadRequest, match="larger than 16 bytes"):
            await download.download(f"{server.url}/a.png", policy=policy, max_bytes=16, refuse=BadRequest)
