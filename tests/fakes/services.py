"""Our own redis-server and PostgreSQL, each on a free port, from the system's packages. Nothing that runs already is used.

Where a program is not installed the fixture of its name is skipped, saying which. `Redis.pause` stops the process as a
machine that hangs does; `Redis.slow` puts a delaying pipe in front of it, for which `slow_url` is the address.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def wait_for_port(port: int, process: "subprocess.Popen[bytes]", within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended at once, with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)
    raise RuntimeError("the server did not listen in time")


class Redis:
    """One redis-server without persistence, unless `persist`."""

    def __init__(self, folder: Path, *, persist: bool = False) -> None:
        found = shutil.which("redis-server")
        if found is None:
            pytest.skip("redis-server is not installed")
        self._program = found
        self._folder = folder
        self._persist = persist
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        keep = ["--appendonly", "yes", "--appendfsync", "always"] if self._persist else ["--appendonly", "no"]
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *keep]
        command += ["--dir", str(self._folder), "--loglevel", "warning"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_port(self.port, self.process)
        with socket.create_connection(("127.0.0.1", self.port), 2) as line:
            while True:
                line.sendall(b"PING\r\n")
                if line.recv(64).startswith(b"+PONG"):
                    return
                time.sleep(0.02)

    def kill(self) -> None:
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def pause(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)


class Delay:
    """A pipe to a port that holds every chunk back by `seconds`, both ways; change it while it runs."""

    def __init__(self, to_port: int) -> None:
        self._to = to_port
        self.port = 0
        self.seconds = 0.0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    def to(self, port: int) -> None:
        """From now on another server stands behind this address."""
        self._to = port

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, far_writer}
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.ensure_future(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if self.seconds:
                    await asyncio.sleep(self.seconds / 2)
                sink.write(data)
                await sink.drain()
        sink.close()

    async def aclose(self) -> None:
        if self._server:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)


class Postgres:
    """One PostgreSQL cluster in a folder of its own, made by initdb; trust on loopback only."""

    def __init__(self) -> None:
        self._bin = _postgres_folder()
        self._folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self.port = free_port()
        self.url = f"postgresql://traghetto@127.0.0.1:{self.port}/postgres"
        self.process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, int] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            account = _account()
            os.chown(self._folder, account[0], account[1])
            self._as = {"user": account[0], "group": account[1]}
        command = [self._bin / "initdb", "-D", self._folder / "data", "-U", "traghetto", "-A", "trust", "-N"]
        done = subprocess.run(command, capture_output=True, cwd=self._folder, check=False, **self._as)
        if done.returncode:
            raise RuntimeError(done.stderr.decode())

    def start(self) -> None:
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self._folder}"]
        options += ["-c", "fsync=off", "-p", str(self.port)]
        command = [self._bin / "postgres", "-D", self._folder / "data", *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self._folder, **self._as
        )
        wait_for_port(self.port, self.process)
        ready = [self._bin / "pg_isready", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, capture_output=True, check=False).returncode:
            time.sleep(0.05)

    def stop(self) -> None:
        """At once, as a crash does to its clients."""
        if self.process:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def _postgres_folder() -> Path:
    found = shutil.which("initdb")
    places = (
        [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    )
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    pytest.skip("PostgreSQL is not installed")


def _account() -> tuple[int, int]:
    import pwd

    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    pytest.skip("PostgreSQL needs an account other than root")
