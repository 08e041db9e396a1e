"""How early is the first audio of a long text, and how much faster than speaking is the synthesis? Through the route.

    python tests/bench/speech.py [--runs 5] [--sentences 20]

The gateway runs in a process of its own with the offline voice. For each format: the time to the first byte of audio of a
streamed answer, the time to the last, their ratio (the promise: below 0.15), how long the same text takes as one whole
file, and seconds of speech made in a second. Medians of the runs, the first of which only warms up.
"""

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from fakes.decoded_audio import hear  # noqa: E402
from fakes.serving import served  # noqa: E402
from proxy.media.audio_formats import FORMATS  # noqa: E402

PROMISE = 0.15


def asked(
    connection: http.client.HTTPConnection, text: str, format: str, *, streaming: bool
) -> tuple[float, float, bytes]:
    """Seconds to the first byte and to the last, and all bytes."""
    body = {"input": text, "response_format": format, "streaming": streaming}
    began = time.perf_counter()
    connection.request("POST", "/v1/audio/speech", json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    data = answer.read1(1 << 16)
    first = time.perf_counter() - began
    data += answer.read()
    if answer.status != 200:
        raise SystemExit(data.decode())
    return first, time.perf_counter() - began, data


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--sentences", type=int, default=20)
    told = options.parse_args()
    text = " ".join(f"Sentence {n} tells of the boats that come and go on the lagoon." for n in range(told.sentences))
    late = []
    with tempfile.TemporaryDirectory() as folder, served(cwd=Path(folder)) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        print(f"{told.sentences} sentences, {len(text)} characters, median of {told.runs} runs")
        print(f"{'format':8}{'first byte':>12}{'last byte':>12}{'ratio':>8}{'whole file':>12}{'x real time':>13}")
        for format in FORMATS:
            runs = [asked(connection, text, format, streaming=True) for _ in range(told.runs + 1)][1:]
            whole = statistics.median(asked(connection, text, format, streaming=False)[1] for _ in range(told.runs))
            first, last = (statistics.median(run[i] for run in runs) for i in (0, 1))
            seconds = hear(runs[0][2], format).seconds
            print(f"{format:8}{first * 1e3:>9.1f} ms{last * 1e3:>9.1f} ms{first / last:>8.3f}", end="")
            print(f"{whole * 1e3:>9.1f} ms{seconds / last:>13.0f}")
            if first / last >= PROMISE:
                late.append(format)
        connection.close()
    print(f"below {PROMISE:g} of the whole time: " + ("all of them" if not late else f"all but {', '.join(late)}"))
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
