"""The embedded demo model: one GGUF file and where it lies.

Owns the path and imports nothing heavy; loading the file is the engine's business. How the file was made is told in
`MODEL_CARD.md` beside it and by the scripts in `deploy/demo-model`.
"""

from pathlib import Path

DEMO_MODEL = Path(__file__).with_name("demo.gguf")


def demo_model() -> Path:
    """The path of the demo GGUF inside the installed package."""
    return DEMO_MODEL
