"""Asked twice, paid once: `Idempotency-Key`, and SDKs that say that they try again."""

import concurrent.futures
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from fakes.accounts import Keyed, keyed
from fakes.evil import EvilThread, evil_thread
from fakes.gateway import upstream
from proxy.mock import Script, fault

HELLO = [{"role": "user", "content": "hello"}]
PRICED = "pricing = {input_usd = 1.0, output_usd = 2.0}\n[routing]\nretries = 0\n"
LIMIT_S = 0.1


@pytest.fixture(scope="module")
def mock() -> Iterator[EvilThread]:
    with evil_thread(models=("*",), api_key="upstream-secret-key") as running:
        yield running


@pytest.fixture(scope="module")
def gate(mock: EvilThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    with keyed(tmp_path_factory.mktemp("books"), toml=upstream(mock.url) + PRICED) as running:
        yield running


def ask(gate: Keyed, name: str, path: str = "/v1", key: str | None = None, **more: Any) -> Any:
    """One chat under an Idempotency-Key."""
    body = {"model": "m", "messages": HELLO, **more}
    headers = {"idempotency-key": name, "content-type": "application/json"}
    content = json.dumps(body)
    return gate.ask("POST", f"{path}/chat/completions", key or gate.user, content=content, headers=headers)


@pytest.mark.parametrize("stream", [False, True])
def test_the_second_answer_is_the_first(gate: Keyed, mock: EvilThread, stream: bool) -> None:
    rows = len(gate.rows())
    first, second = (ask(gate, f"twice-{stream}", stream=stream) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.content == second.content
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    for name in ("content-type", "x-request-id", "x-traghetto-route"):
        assert first.headers[name] == second.headers[name]
    assert (len(mock.exchanges), len(gate.rows()) - rows) == (1, 1)
    receipt = gate.ask("GET", f"/v1/requests/{second.headers['x-request-id']}", gate.user)
    assert receipt.json()["ending"] == "finished"
    assert f'traghetto_replays_total{{named="key"}} {1.0 + stream}' in gate.ask("GET", "/metrics", gate.admin).text


def test_the_sdk_under_a_key(gate: Keyed, mock: EvilThread) -> None:
    with openai.OpenAI(base_url=gate.v1, api_key=gate.user, max_retries=0) as client:
        make = client.chat.completions.with_raw_response.create
        answers = [make(model="m", messages=HELLO, extra_headers={"Idempotency-Key": "sdk"}) for _ in range(2)]
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true"]
    assert answers[0].parse() == answers[1].parse()
    assert len(mock.exchanges) == 1


def test_another_body_is_a_400_in_both_dialects(gate: Keyed, mock: EvilThread) -> None:
    for path in ("/v1", "/api/v1"):
        assert ask(gate, "mine", path).status_code == 200
        refused = ask(gate, "mine", path, temperature=0.5)
        assert refused.status_code == 400
        error = refused.json()["error"]
        assert "another request body" in (error if isinstance(error, str) else error["message"])
    assert ask(gate, "x" * 256).status_code == 400
    assert ask(gate, "").status_code == 400
    assert len(mock.exchanges) == 2, "the path is part of the name"


def test_a_name_belongs_to_its_caller(gate: Keyed, mock: EvilThread) -> None:
    other, _ = gate.made()
    for key in (gate.user, other):
        assert "idempotent-replayed" not in ask(gate, "common", key=key).headers
    assert len(mock.exchanges) == 2


def test_what_fails_is_not_kept(gate: Keyed, mock: EvilThread) -> None:
    mock.script(Script(faults=(fault("status", status=500),)))
    assert ask(gate, "better luck").status_code == 502
    again = ask(gate, "better luck")
    assert (again.status_code, again.headers.get("idempotent-replayed")) == (200, None)
    mock.script(Script(faults=(fault("cut", at=300),)))
    assert b"[DONE]" not in ask(gate, "half-way", stream=True).content
    assert b"[DONE]" in ask(gate, "half-way", stream=True).content


@pytest.mark.parametrize("stream", [False, True])
def test_who_asks_meanwhile_gets_the_same(gate: Keyed, mock: EvilThread, stream: bool) -> None:
    mock.script(Script(faults=(fault("stall_head" if not stream else "stall"),)))
    rows = len(gate.rows())
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(ask, gate, f"crowd-{stream}", stream=stream) for _ in range(6)]
        exchange = mock.wait_for(1)
        mock.wait(exchange, "arrived" if not stream else "held")
        mock.release(exchange)
        answers = [future.result(20) for future in asking]
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 5
    assert (len(mock.exchanges), len(gate.rows()) - rows) == (1, 1)


def raw(gate: Keyed, stream: bool, **headers: str) -> socket.socket:
    """A request on a socket of its own, sent and not read."""
    body = json.dumps({"model": "m", "messages": HELLO, "stream": stream}).encode()
    lines = {"host": "x", "authorization": f"Bearer {gate.user}", "content-type": "application/json", **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    client = socket.create_connection(("127.0.0.1", gate.port))
    client.sendall(f"POST /v1/chat/completions HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    return client


def test_under_a_key_a_call_is_carried_through_without_its_client(gate: Keyed, mock: EvilThread) -> None:
    for stream, name, mark in ((False, "stall_head", "arrived"), (True, "stall", "held")):
        mock.clear()
        mock.script(Script(faults=(fault(name),)))
        client = raw(gate, stream, idempotency_key=f"left-{stream}")
        exchange = mock.wait_for(1)
        mock.wait(exchange, mark)
        client.close()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asking = pool.submit(ask, gate, f"left-{stream}", stream=stream)
            time.sleep(2 * LIMIT_S)  # what would have closed the upstream has had its time
            assert "ended" not in exchange.times
            mock.release(exchange)
            answer = asking.result(20)
        assert answer.headers["idempotent-replayed"] == "true"
        assert (b"[DONE]" in answer.content) is stream
        assert exchange.end == "finished"
        assert len(mock.exchanges) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_an_sdk_that_asks_again_joins_the_call_that_runs(gate: Keyed, mock: EvilThread, stream: bool) -> None:
    """Its first connection hangs, and nobody has told us."""
    mock.script(Script(faults=(fault("stall_head" if not stream else "stall"),)))
    rows = len(gate.rows())
    with raw(gate, stream, x_stainless_retry_count="0") as first:
        exchange = mock.wait_for(1)
        mock.wait(exchange, "arrived" if not stream else "held")
        with raw(gate, stream, x_stainless_retry_count="1", connection="close") as second:
            if stream:
                assert second.recv(65536)
            mock.release(exchange)
            got = b""
            while part := second.recv(65536):
                got += part
        assert first.recv(65536)
    assert got.rstrip().endswith(b"0" if stream else b"}")
    assert len(mock.exchanges) == 1
    assert len(gate.rows()) - rows == 1


def test_an_sdk_that_gives_up_waiting_and_asks_again_has_one_call(gate: Keyed, mock: EvilThread) -> None:
    """Its tries wait 0.6 s each, for an answer that takes 1.6 s."""
    mock.script(Script(faults=(fault("stall_head", seconds=1.6),)))
    rows = len(gate.rows())
    with openai.OpenAI(base_url=gate.v1, api_key=gate.user, timeout=0.6, max_retries=3) as client:
        answer = client.chat.completions.with_raw_response.create(model="m", messages=HELLO)  # type: ignore[call-overload]
    assert answer.retries_taken > 0
    assert answer.headers["idempotent-replayed"] == "true"
    assert [exchange.end for exchange in mock.exchanges] == ["finished"]
    assert len(gate.rows()) - rows == 1


def test_an_sdk_that_is_told_to_stop_closes_the_upstream_at_once(gate: Keyed, mock: EvilThread) -> None:
    for name, mark in (("stall_head", "arrived"), ("stall", "held")):
        mock.clear()
        mock.script(Script(faults=(fault(name),)))
        client = raw(gate, True, x_stainless_retry_count="0", x_stainless_read_timeout="600")
        exchange = mock.wait_for(1)
        mock.wait(exchange, mark)
        time.sleep(0.15)
        left = time.monotonic()
        client.close()
        assert mock.wait(exchange, "ended") - left < LIMIT_S


def test_without_a_word_about_retries_every_call_is_its_own(gate: Keyed, mock: EvilThread) -> None:
    for _ in range(2):
        assert "idempotent-replayed" not in gate.chat().headers
    with openai.OpenAI(base_url=gate.v1, api_key=gate.user) as client:
        for _ in range(2):  # both say that they are first tries
            client.chat.completions.create(model="m", messages=HELLO)  # type: ignore[call-overload]
    assert len(mock.exchanges) == 4


def test_an_sdk_that_leaves_closes_the_upstream(gate: Keyed, mock: EvilThread) -> None:
    """At once while it waits, and once it must have had the head; right behind the head after the time of one retry."""
    hold = gate.app.house.config.server.retry_hold_s
    for name, mark, pause, least, most in (
        ("stall_head", "arrived", 0.0, 0.0, LIMIT_S),
        ("stall", "held", 0.5 * hold, 0.0, LIMIT_S),
        ("stall", "held", 0.0, hold - 0.1, hold + 0.5),
    ):
        mock.clear()
        mock.script(Script(faults=(fault(name),)))
        client = raw(gate, True, x_stainless_retry_count="0")
        exchange = mock.wait_for(1)
        mock.wait(exchange, mark)
        if mark == "held":
            assert client.recv(65536)
        time.sleep(pause)
        left = time.monotonic()
        client.close()
        ended = mock.wait(exchange, "ended") - left
        assert least <= ended < most, (name, pause)


def test_answers_outlive_the_server_and_are_everybodys(mock: EvilThread, tmp_path: Path) -> None:
    toml = upstream(mock.url) + PRICED
    with keyed(tmp_path, toml=toml) as one:
        key, admin = one.user, one.admin
        first = ask(one, "kept")
        from fakes.gateway import Gateway

        two = Keyed(f'[store]\nurl = "sqlite:///{tmp_path}/t.db"\nfolder = "{tmp_path}/two"\n{toml}')
        assert isinstance(two, Gateway)
        two.start()
        try:
            assert ask(two, "kept", key=key).content == first.content
            mock.script(Script(faults=(fault("stall_head"),)))
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                here = pool.submit(ask, one, "both")
                exchange = mock.wait_for(2)
                mock.wait(exchange, "arrived")
                there = pool.submit(ask, two, "both", key=key)
                time.sleep(0.3)
                assert not there.done()
                mock.release(exchange)
                assert here.result(20).content == there.result(20).content
            assert there.result().headers["idempotent-replayed"] == "true"
            assert len(mock.exchanges) == 2
        finally:
            two.stop()
    three = Keyed(f'[store]\nurl = "sqlite:///{tmp_path}/t.db"\n{toml}')
    three.start()
    try:
        answer = ask(three, "kept", key=key)
        assert (answer.content, answer.headers["idempotent-replayed"]) == (first.content, "true")
        assert three.ask("GET", f"/v1/requests/{answer.headers['x-request-id']}", admin).status_code == 200
    finally:
        three.stop()


def test_a_form_is_the_same_whatever_stands_between_its_parts(gate: Keyed, tmp_path: Path) -> None:
    import io

    from PIL import Image

    picture = io.BytesIO()
    Image.new("RGB", (300, 300), (200, 30, 30)).save(picture, "png")
    toml = '[upstreams.off]\nkind = "offline"\n[models.up]\ntype = "upscale"\ntargets = [{upstream = "off", model = "upscale"}]\n'
    with keyed(tmp_path, toml=toml) as server:

        def post(scale: str) -> Any:
            files = {"image": ("a.png", picture.getvalue(), "image/png")}
            return server.ask(
                "POST",
                "/api/v1/image/upscale",
                server.user,
                data={"scale": scale, "model": "up"},
                files=files,
                headers={"idempotency-key": "form"},
            )

        first, second = post("2"), post("2")
        assert (first.status_code, second.status_code) == (200, 200), first.text[:300]
        assert first.content == second.content
        assert second.headers["idempotent-replayed"] == "true"
        assert post("4").status_code == 400
        assert len(server.rows()) <= 1
