"""The catalogue of faults: names, parameters, the two ways to write one down."""

import msgspec
import pytest

from proxy.mock import frames, transcript, warp, warp_body
from proxy.mock.answers import _SPOILERS
from proxy.mock.faults import CHOICES, FAULTS, Fault, fault, find, listing, of_phase, parse_fault


def test_a_parameter_overrides_its_default_and_the_rest_stay() -> None:
    made = fault("status", status=429, retry_after="7")
    assert (made["status"], made["retry_after"], made["shape"]) == (429, "7", "openai")
    assert made.phase == "answer"


@pytest.mark.parametrize(
    ("name", "params", "text"),
    [
        ("nonsense", {}, "unknown fault 'nonsense'"),
        ("cut", {"size": 3}, "has no parameter 'size'"),
        ("cut", {"at": "3"}, "at must be int"),
        ("cut", {"at": True}, "at must be int"),
        ("cut", {"end": "bang"}, "must be one of fin, reset, clean"),
        ("status", {"shape": "xml"}, "must be one of openai"),
    ],
)
def test_what_the_table_does_not_know_is_refused(name: str, params: dict[str, str | int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Fault(name, dict(params))
    with pytest.raises(msgspec.ValidationError, match=text):
        msgspec.json.decode(msgspec.json.encode({"name": name, "params": params}), type=Fault)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("no_done", fault("no_done")),
        ("cut:at=17,end=reset", fault("cut", at=17, end="reset")),
        ("stall:seconds=1.5", fault("stall", seconds=1.5)),
        ("error_event:done=true,shape=flat", fault("error_event", done=True, shape="flat")),
        ("wrong_type:type=text/plain; charset=x", fault("wrong_type", type="text/plain; charset=x")),
        ("finish:value=", fault("finish", value="")),
    ],
)
def test_a_command_line_can_write_a_fault(text: str, made: Fault) -> None:
    assert parse_fault(text) == made
    assert parse_fault(str(made)) == made


@pytest.mark.parametrize("text", ["bang", "cut:at", "cut:at=x", "cut:size=3", "error_event:done=yes"])
def test_a_mistake_on_the_command_line_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"fault|invalid literal|true or false"):
        parse_fault(text)


def test_the_listing_has_every_fault_once() -> None:
    lines = [line.strip().partition(" ")[0].partition(":")[0] for line in listing().splitlines()]
    assert sorted(line for line in lines if not line.startswith("[")) == sorted(FAULTS)


def test_every_fault_is_carried_out_somewhere_and_nothing_else_is() -> None:
    by_hand = {
        # These are not bent afterwards, but decided where the answer or its framing is made.
        "answer": {"ok_json", "refuse_stream_options", "refusal_shape", "refusal_status", "refusal_type"},
        "wire": {"length_short", "until_close"},
    }
    done = {
        "answer": set(_SPOILERS) | by_hand["answer"],
        "chunk": set(warp._CHUNKS) | set(warp_body._BODIES),
        "frame": set(frames._FRAMES),
        "wire": set(transcript._EARLY) | set(transcript._LATE) | by_hand["wire"],
    }
    for phase, names in done.items():
        assert names == {name for name, spec in FAULTS.items() if spec.phase == phase}


def test_choices_belong_to_parameters_that_exist_and_allow_the_default() -> None:
    for (name, key), allowed in CHOICES.items():
        assert FAULTS[name].defaults[key] in allowed


def test_faults_are_found_by_phase_and_by_name() -> None:
    faults = [fault("crlf"), fault("cut"), fault("bom")]
    assert of_phase(faults, "frame") == [faults[0], faults[2]]
    assert find(faults, "cut") is faults[1]
    assert find(faults, "reset") is None
