"""`traghetto serve` as a process of its own, for tests of what only a process has: signals, exit codes, standard error."""

import contextlib
import http.client
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Served:
    """A running server. Its standard error is read line by line in a thread."""

    JSON = {"content-type": "application/json"}  # noqa: RUF012

    def __init__(self, *arguments: str, cwd: Path, command: tuple[str, ...] = ("serve", "--port", "0")) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "proxy", *command, *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        ready = self.said(" on http://127.0.0.1:")
        self.port = int(ready.split(" on http://127.0.0.1:")[1].split()[0])

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line)
        self._lines.put(None)

    def said(self, words: str, seconds: float = 30) -> str:
        """The next line of standard error that holds these words, waited for."""
        while True:
            line = self._lines.get(timeout=seconds)
            assert line is not None, f"it ended without saying {words!r}: {self.log}"
            self.log.append(line)
            if words in line:
                return line

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body, self.JSON)
            answer = connection.getresponse()
            return answer.status, answer.read()

    @staticmethod
    def chat(model: str, *, stream: bool = False) -> bytes:
        return json.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}).encode()

    def stop(self) -> int:
        """End it if it still runs; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(20)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait(5)
            self._reader.join(5)
            assert self.process.stderr is not None
            self.process.stderr.close()


@contextlib.contextmanager
def served(*arguments: str, cwd: Path) -> Iterator[Served]:
    running = Served(*arguments, cwd=cwd)
    try:
        yield running
    finally:
        running.stop()
