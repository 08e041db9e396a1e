"""The suite in two processes at once: most of it waits for sockets and clocks, so that one core alone would wait with it.

    python tests/halves.py [FIRST … -- SECOND …]

The first half's words are shown when it has ended, the second's as they come; the last line is the totals of both, in
pytest's form. The exit status is that of the first half that failed.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECOND = ["tests/e2e"]
FIRST = sorted({f"tests/{test.relative_to('tests').parts[0]}" for test in Path("tests").rglob("test_*.py")} - {*SECOND})
COUNTED = re.compile(r"(\d+) (passed|failed|skipped|deselected|xfailed|xpassed|errors?|warnings?)\b")
TOTALS = re.compile(r"^=* ?\d+ (?:passed|failed|skipped|deselected|xfailed|errors?)\b.* in [0-9.]+s", re.MULTILINE)


def totals(said: str) -> dict[str, int]:
    """The figures of the last line of totals; none, if pytest did not come to its end."""
    lines = TOTALS.findall(said)
    return {word: int(number) for number, word in COUNTED.findall(lines[-1])} if lines else {}


def _tell(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> int:
    given = sys.argv[1:]
    at = given.index("--") if "--" in given else 0
    first, second = (given[:at], given[at + 1 :]) if at else (FIRST, SECOND)
    command, began, said = [sys.executable, "-m", "pytest", "-q"], time.monotonic(), ""
    with tempfile.TemporaryFile("w+") as heard:
        # One cache for both would keep the failures of whoever ends last; `--lf` knows those of the second half.
        half = subprocess.Popen([*command, "-p", "no:cacheprovider", *first], stdout=heard, stderr=subprocess.STDOUT)
        other = subprocess.Popen([*command, *second], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert other.stdout is not None
        for line in other.stdout:
            said += line
            _tell(line)
        statuses = [half.wait(), other.wait()]
        heard.seek(0)
        unit = heard.read()
        _tell(unit)
    both = [totals(unit), totals(said)]
    if not all(both):
        _tell("a half of the suite did not run to its end\n")
        return 1
    words = dict.fromkeys(word for part in both for word in part)
    sums = ", ".join(f"{sum(part.get(word, 0) for part in both)} {word}" for word in words)
    _tell(f"{sums} in {time.monotonic() - began:.2f}s\n")
    return next((status for status in statuses if status), 0)


if __name__ == "__main__":
    sys.exit(main())
