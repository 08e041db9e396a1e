"""The mock as a server: in the loop, on a socket path, over TLS, in a thread, as a process."""

import asyncio
import os
import signal
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

import msgspec
import openai
import pytest
import trustme
import uvloop

from fakes.evil import evil, evil_thread
from proxy.mock import MockOptions, MockServer, Script, fault
from proxy.mock.scripted import SENTENCES

ROOT = str(Path(__file__).resolve().parents[4])
HI: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]


@pytest.mark.asyncio
async def test_the_official_client_is_answered() -> None:
    async with evil() as mock, openai.AsyncOpenAI(base_url=mock.url, api_key="k", max_retries=0) as client:
        whole = await client.chat.completions.create(model="mock-chat", messages=HI)
        assert whole.choices[0].message.content == SENTENCES[0]
        stream = await client.chat.completions.create(model="mock-chat", messages=HI, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert text == SENTENCES[0]
        vectors = await client.embeddings.create(model="mock-embedding", input=["a", "b"])
        assert len(vectors.data[1].embedding) == 16
        assert {model.id async for model in client.models.list()} >= {"mock-chat", "mock-embedding"}
        mock.script(fault("rate_limit", retry_after="7"))
        with pytest.raises(openai.RateLimitError) as limited:
            await client.chat.completions.create(model="mock-chat", messages=HI)
        assert limited.value.response.headers["retry-after"] == "7"


@pytest.mark.asyncio
async def test_what_was_asked_is_recorded() -> None:
    async with evil() as mock, openai.AsyncOpenAI(base_url=mock.url, api_key="sk-1", max_retries=0) as client:
        await client.chat.completions.create(model="mock-chat", messages=HI, user="me")
        [exchange] = mock.exchanges
        assert (exchange.method, exchange.path, exchange.status) == ("POST", "/v1/chat/completions", 200)
        assert exchange.header("authorization") == "Bearer sk-1"
        assert exchange.json()["user"] == "me"


@pytest.mark.asyncio
async def test_stopping_ends_everything_that_is_open() -> None:
    async with evil() as mock:
        mock.script(fault("stall"))
        reader, writer = await asyncio.open_connection("127.0.0.1", mock.port)
        body = b'{"model":"mock-chat","messages":[{"role":"user","content":"hi"}],"stream":true}'
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        writer.write(head + b"content-length: %d\r\n\r\n%b" % (len(body), body))
        exchange = await mock.journal.wait_for(1)
        await exchange.wait("held")
        await mock.stop()
        assert (exchange.end, mock.journal.open) == ("stopped", 0)
        writer.transport.abort()
        del reader
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", mock.port)


@pytest.mark.asyncio
async def test_on_a_socket_path(tmp_path: Path) -> None:
    path = str(tmp_path / "mock.sock")
    async with MockServer(MockOptions(unix=path)):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"]}"), 5)).startswith(b"HTTP/1.1 200 ")
        writer.transport.abort()


@pytest.mark.asyncio
async def test_over_tls() -> None:
    authority = trustme.CA()
    serving, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    authority.configure_trust(trusting)
    async with evil(tls=serving) as mock:
        assert mock.url.startswith("https://")
        mock.script(Script(body="x" * 3_000_000))
        body = b'{"model":"mock-chat","messages":[{"role":"user","content":"hi"}]}'
        request = urllib.request.Request(mock.url + "/chat/completions", body, {"content-type": "application/json"})

        def read() -> bytes:
            with urllib.request.urlopen(request, context=trusting, timeout=10) as answer:
                return bytes(answer.read())

        assert len(await asyncio.to_thread(read)) == 3_000_000


@pytest.mark.parametrize(("name", "received"), [(None, b"[DONE]"), ("reset", b"<reset>"), ("cut", b"data: ")])
def test_on_another_loop(name: str | None, received: bytes) -> None:
    body = b'{"model":"mock-chat","messages":[{"role":"user","content":"hi"}],"stream":true}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n"

    async def converse() -> bytes:
        async with evil() as mock:
            if name:
                mock.script(fault(name))
            reader, writer = await asyncio.open_connection("127.0.0.1", mock.port)
            writer.write(head + b"content-length: %d\r\n\r\n%b" % (len(body), body))
            try:
                got = await asyncio.wait_for(reader.read(), 5)
            except ConnectionResetError:
                got = b"<reset>"
            writer.transport.abort()
            assert mock.exchanges[0].end == ("faulted" if name else "finished")
            return got

    assert received in uvloop.run(converse())


def test_in_a_thread() -> None:
    with evil_thread(models=("m",)) as mock:
        client = openai.OpenAI(base_url=mock.url, api_key="k", max_retries=0)
        mock.script(Script(content="one coin"), fault("stall"))
        assert client.chat.completions.create(model="m", messages=HI).choices[0].message.content == "one coin"
        stream = client.chat.completions.create(model="m", messages=HI, stream=True)
        exchange = mock.wait_for(2)
        mock.wait(exchange, "held")
        stream.close()
        mock.wait(exchange, "ended")
        assert exchange.end in ("client_closed", "reset")
        mock.clear()
        assert mock.exchanges == []
        client.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(mock.url + "/models", timeout=5)


@pytest.mark.asyncio
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_as_a_process_it_says_where_and_goes_when_told(number: signal.Signals) -> None:
    program = "import asyncio; from proxy.mock import MockOptions, run; asyncio.run(run(MockOptions(models=('m',))))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": ROOT}
    )
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
    url = line.removeprefix("listening on ").strip()

    def ask(path: str, body: bytes | None = None) -> bytes:
        with urllib.request.urlopen(url.removesuffix("/v1") + path, body, timeout=10) as answer:
            return bytes(answer.read())

    script = msgspec.json.encode(Script(path="/models", body='{"object":"list","data":[]}'))
    await asyncio.to_thread(ask, "/__mock/script", script)
    assert await asyncio.to_thread(ask, "/v1/models") == b'{"object":"list","data":[]}'
    seen = msgspec.json.decode(await asyncio.to_thread(ask, "/__mock/wait?number=1&mark=ended"))
    assert (seen["path"], seen["end"]) == ("/v1/models", "finished")
    process.send_signal(number)
    assert await asyncio.wait_for(process.wait(), 10) == 0
