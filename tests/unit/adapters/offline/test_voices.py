"""All 54 names are there and differ; others are refused with the nearest; foreign scripts choose their language."""

import pytest

from adapters.offline.voices import DEFAULT, NAMES, OPENAI, VOICES, language_of, voice
from proxy.errors import BadRequest

_LISTED = """
af_alloy af_aoede af_bella af_heart af_jadzia af_jessica af_kore af_nicole af_nova af_river af_sarah af_sky am_adam
am_echo am_eric am_fenrir am_liam am_michael am_onyx am_puck am_santa bf_alice bf_emma bf_lily bm_daniel bm_fable
bm_george bm_lewis zf_xiaobei zf_xiaoni zf_xiaoxiao zf_xiaoyi zm_yunjian zm_yunxi zm_yunxia zm_yunyang ff_siwis
hf_alpha hf_beta hm_omega hm_psi if_sara im_nicola jf_alpha jf_gongitsune jf_nezumi jf_tebukuro jm_kumo pf_dora
pm_alex pm_santa ef_dora em_alex em_santa
"""
VENICE = _LISTED.split()
OPENAIS = [
    "alloy",
    "ash",
    "ballad",
    "coral",
    "echo",
    "fable",
    "onyx",
    "nova",
    "sage",
    "shimmer",
    "verse",
    "marin",
    "cedar",
]


def test_the_names_are_venices_in_venices_order():
    assert list(NAMES) == VENICE
    assert len(NAMES) == 54
    assert DEFAULT == "af_sky"


def test_every_voice_sounds_different_and_pitches_are_possible():
    sounds = {(v.language, v.variant, v.pitch) for v in VOICES.values()}
    assert len(sounds) == 54
    assert all(0 <= v.pitch <= 100 for v in VOICES.values())
    assert all(v.variant[0] == v.name[1] for v in VOICES.values())


@pytest.mark.parametrize("name", OPENAIS)
def test_openai_names_are_mapped_to_real_ones(name):
    assert voice(name) is VOICES[OPENAI[name]]
    assert voice(f" {name.upper()} ") is VOICES[OPENAI[name]]


def test_openai_names_stay_apart():
    assert len(set(OPENAI.values())) == len(OPENAI) == 13


@pytest.mark.parametrize(
    ("name", "near"),
    [("af_skye", "af_sky"), ("dora", "pf_dora"), ("aloy", "alloy"), ("bm_sky", "af_sky"), ("", "af_sky")],
)
def test_unknown_names_are_refused_with_the_nearest(name, near):
    with pytest.raises(BadRequest, match=rf"Near: .*\b{near}\b") as caught:
        voice(name)
    assert caught.value.param == "voice"


@pytest.mark.parametrize(
    ("sentence", "default", "language"),
    [
        ("Hello there", "en-us", "en-us"),
        ("Bonjour à tous", "fr", "fr"),
        ("Привет, мир", "en-us", "ru"),
        ("Hello Мир", "en-us", "en-us"),
        ("你好世界", "en-us", "cmn"),
        ("東京に行きます", "en-us", "ja"),
        ("東京", "ja", "ja"),
        ("東京", "en-us", "cmn"),
        ("안녕하세요", "es", "ko"),
        ("नमस्ते", "en-us", "hi"),
        ("12 34!", "it", "it"),
        ("", "it", "it"),
    ],
)
def test_the_script_chooses_the_language(sentence, default, language):
    assert language_of(sentence, default) == language
