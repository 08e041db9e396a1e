"""Which script serves which request."""

import msgspec
import pytest

from proxy.mock.faults import fault
from proxy.mock.script import Queue, Script

CUT, BOM = fault("cut"), fault("bom")


def test_scripts_are_taken_in_order_and_used_up() -> None:
    queue = Queue(0)
    queue.add([Script(faults=(CUT,)), Script(faults=(BOM,), times=2)])
    taken = [queue.take(number, "/models", None).faults for number in range(1, 5)]
    assert taken == [(CUT,), (BOM,), (BOM,), ()]
    assert len(queue) == 0


def test_a_script_waits_for_a_request_that_it_serves() -> None:
    queue = Queue(0)
    queue.add(
        [
            Script(faults=(CUT,), stream=True, path="/chat/completions"),
            Script(faults=(BOM,), where={"model": "m", "user": None}),
        ]
    )
    assert queue.take(1, "/chat/completions", {"model": "x"}).faults == ()
    assert queue.take(2, "/completions", {"model": "m", "stream": True}).faults == (BOM,)
    assert queue.take(3, "/chat/completions", {"model": "m", "stream": True}).faults == (CUT,)


def test_a_script_that_is_queued_twice_serves_twice_and_one_without_an_end_stays() -> None:
    script = Script(content="twice")
    queue = Queue(0)
    queue.add([script, script, Script(content="always", times=0)])
    assert [queue.take(n, "/", None).content for n in range(5)] == ["twice", "twice", "always", "always", "always"]
    assert script.times == 1
    queue.clear()
    assert queue.take(9, "/", None).content is None


@pytest.mark.parametrize("body", [b"", [1], "text", None, 7])
def test_any_body_can_be_matched(body: object) -> None:
    assert Script().serves("/", body)
    assert not Script(where={"model": "m"}).serves("/", body)


def test_faults_by_rate_are_the_same_for_the_same_seed() -> None:
    def drawn(seed: int) -> list[tuple[object, ...]]:
        queue = Queue(seed, (CUT, BOM), 0.5)
        return [queue.take(number, "/", None).faults for number in range(400)]

    assert drawn(1) == drawn(1) != drawn(2)
    hit = sum(bool(faults) for faults in drawn(1))
    assert 150 < hit < 250
    assert {str(fault) for faults in drawn(1) for fault in faults} == {"cut", "bom"}


def test_a_script_in_json_is_strict() -> None:
    text = b'{"faults":[{"name":"cut","params":{"at":3}}],"stream":true}'
    assert msgspec.json.decode(text, type=Script) == Script(faults=(fault("cut", at=3),), stream=True)
    with pytest.raises(msgspec.ValidationError, match="fault"):
        msgspec.json.decode(b'{"fault":"cut"}', type=Script)
