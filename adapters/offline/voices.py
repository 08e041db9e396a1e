"""The voice names: Kokoro's 54, OpenAI's mapped onto them, and what espeak-ng makes of each.

It owns names, languages and the choice of a language by script; it knows no synthesiser's API. Invariant: no two Kokoro
names sound the same in espeak-ng (language, variant or pitch differs).
"""

import difflib
from types import MappingProxyType
from typing import Final

import msgspec

from proxy.errors import BadRequest

DEFAULT: Final = "af_sky"

# language letter: (espeak-ng's voice, what Kokoro's phonemiser is told)
_LANGUAGES: Final = {
    "a": ("en-us", "en-us"),
    "b": ("en", "en-gb"),
    "z": ("cmn", "cmn"),
    "f": ("fr", "fr-fr"),
    "h": ("hi", "hi"),
    "i": ("it", "it"),
    "j": ("ja", "ja"),
    "p": ("pt-br", "pt-br"),
    "e": ("es", "es"),
}
_NAMES: Final = (
    ("af", "alloy aoede bella heart jadzia jessica kore nicole nova river sarah sky"),
    ("am", "adam echo eric fenrir liam michael onyx puck santa"),
    ("bf", "alice emma lily"),
    ("bm", "daniel fable george lewis"),
    ("zf", "xiaobei xiaoni xiaoxiao xiaoyi"),
    ("zm", "yunjian yunxi yunxia yunyang"),
    ("ff", "siwis"),
    ("hf", "alpha beta"),
    ("hm", "omega psi"),
    ("if", "sara"),
    ("im", "nicola"),
    ("jf", "alpha gongitsune nezumi tebukuro"),
    ("jm", "kumo"),
    ("pf", "dora"),
    ("pm", "alex santa"),
    ("ef", "dora"),
    ("em", "alex santa"),
)
OPENAI: Final = MappingProxyType(
    {
        "alloy": "af_alloy",
        "ash": "am_michael",
        "ballad": "bm_george",
        "cedar": "am_adam",
        "coral": "af_heart",
        "echo": "am_echo",
        "fable": "bm_fable",
        "marin": "af_aoede",
        "nova": "af_nova",
        "onyx": "am_onyx",
        "sage": "af_sarah",
        "shimmer": "af_bella",
        "verse": "am_fenrir",
    }
)
# A sentence mostly in one of these scripts is read in its language, whatever the voice: (first, last, language).
_SCRIPTS: Final = (
    (0x0370, 0x03FF, "el"),
    (0x0400, 0x052F, "ru"),
    (0x0530, 0x058F, "hy"),
    (0x0590, 0x05FF, "he"),
    (0x0600, 0x06FF, "ar"),
    (0x0900, 0x097F, "hi"),
    (0x0980, 0x09FF, "bn"),
    (0x0A00, 0x0A7F, "pa"),
    (0x0A80, 0x0AFF, "gu"),
    (0x0B80, 0x0BFF, "ta"),
    (0x0C00, 0x0C7F, "te"),
    (0x0C80, 0x0CFF, "kn"),
    (0x0D00, 0x0D7F, "ml"),
    (0x0E00, 0x0E7F, "th"),
    (0x10A0, 0x10FF, "ka"),
    (0x1200, 0x137F, "am"),
    (0x3040, 0x30FF, "ja"),
    (0x4E00, 0x9FFF, "cmn"),
    (0xAC00, 0xD7AF, "ko"),
)


class Voice(msgspec.Struct, frozen=True):
    """`name` is Kokoro's. `variant` (`f2`, `m5`) and `pitch` (0-100) are espeak-ng's."""

    name: str
    language: str
    kokoro_language: str
    female: bool
    variant: str
    pitch: int

    def reading(self, sentence: str) -> str:
        """espeak-ng's name of the voice for a sentence: our language, or that of the sentence's script."""
        return f"{language_of(sentence, self.language)}+{self.variant}"


def _build() -> dict[str, Voice]:
    voices = {}
    for prefix, names in _NAMES:
        espeak, kokoro = _LANGUAGES[prefix[0]]
        female = prefix[1] == "f"
        for i, name in enumerate(names.split()):
            variant = f"{prefix[1]}{1 + i % (5 if female else 8)}"
            pitch = (52 if female else 44) + (i * 7) % 17 - 8
            voices[f"{prefix}_{name}"] = Voice(f"{prefix}_{name}", espeak, kokoro, female, variant, pitch)
    return voices


VOICES: Final = MappingProxyType(_build())
NAMES: Final = tuple(VOICES)


def voice(name: str, *, field: str = "voice") -> Voice:
    """By Kokoro's name or OpenAI's. BadRequest naming the nearest ones."""
    wanted = name.strip().lower()
    found = VOICES.get(OPENAI.get(wanted, wanted))
    if found is not None:
        return found
    last = wanted.rpartition("_")[2]
    near = [known for known in NAMES if known.rpartition("_")[2] == last]
    near += difflib.get_close_matches(wanted[:64], [*NAMES, *OPENAI], 4, 0.5)
    near = list(dict.fromkeys(near))[:4] or [DEFAULT, "am_adam", "alloy"]
    text = f"{field}: expected a Kokoro or OpenAI voice, got {name[:64]!r}. Near: {', '.join(near)}."
    raise BadRequest(text, param=field)


def language_of(sentence: str, default: str) -> str:
    """The language of the script that most letters are in, where that is not Latin; else `default`.

    Kana among Han makes it Japanese, and a Japanese voice keeps Han for itself.
    """
    counts: dict[str, int] = {}
    for letter in sentence:
        if letter.isalpha():
            language = _script_language(ord(letter))
            counts[language] = counts.get(language, 0) + 1
    if not counts:
        return default
    if "ja" in counts or default == "ja":
        counts["ja"] = counts.get("ja", 0) + counts.pop("cmn", 0)
    most = max(counts, key=lambda language: counts[language])
    return most or default


def _script_language(code: int) -> str:
    if code < 0x0370:
        return ""
    return next((language for first, last, language in _SCRIPTS if first <= code <= last), "")
