"""httpx comes without its command line, and loses nothing by it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]


def said(code: str) -> str:
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return ran.stdout.strip()


def test_the_room_loads_no_command_line() -> None:
    loaded = (
        "import sys, adapters._http; print(*sorted({'httpx', 'httpx._main', 'rich', 'pygments'} & set(sys.modules)))"
    )
    assert said(loaded) == "httpx"


def test_the_command_line_is_still_there_for_who_asks() -> None:
    asked = "import adapters._http, httpx._main; print(httpx._main.main.name)"
    assert said(asked) == "main"


def test_httpx_that_is_there_already_stays_as_it_is() -> None:
    kept = "import httpx, sys; main = httpx.main; import adapters._http; print(httpx.main is main, 'httpx._main' in sys.modules)"
    assert said(kept) == "True True"
