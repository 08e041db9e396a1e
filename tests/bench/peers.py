"""The gateways that the benchmarks compare: how each is started in front of the same upstream, pinned to one core.

Peers are not dependencies: `PEERS=nginx,vllm-router,portkey,litellm` names those that are wanted, and `PEERS_DIR` the
folder that holds their environments (`install` makes them there: `vllm-router` and `litellm` in virtual environments
of their own, Portkey from npm; nginx comes from the system).
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GATEWAY_CORE, LOAD_CORE = "0", "1"


@dataclass
class Subject:
    """One thing under load. `pids` are whose CPU and memory count; `ready_s` from its start to its first answer."""

    name: str
    port: int
    pids: list[int]
    headers: dict[str, str] = field(default_factory=dict)
    path: str = "/v1/chat/completions"
    ready_s: float = 0.0

    def cpu_s(self) -> float:
        tick = os.sysconf("SC_CLK_TCK")
        total = 0
        for pid in self.pids:
            parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(parts[11]) + int(parts[12])
        return total / tick

    def rss_mb(self) -> float:
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids)
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def process(command: list[str], core: str, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A child pinned to a core, in a session of its own, gone at the end."""
    log = open(os.environ.get("BENCH_LOG", os.devnull), "ab")  # noqa: SIM115 - the child's
    pinned = ["taskset", "-c", core, *command]
    # As installed packages are: compiled once, not at each start.
    asked: dict[str, str] = options.pop("env", dict(os.environ))  # type: ignore[assignment]
    env = {key: value for key, value in asked.items() if key != "PYTHONDONTWRITEBYTECODE"}
    child = subprocess.Popen(pinned, stdout=log, stderr=log, start_new_session=True, env=env, **options)  # type: ignore[call-overload]
    try:
        yield child
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        log.close()


def answers(port: int, seconds: float, request: bytes = b"GET /health HTTP/1.0\r\nhost: x\r\n\r\n") -> float:
    """Seconds until the port answers HTTP at all. Raises TimeoutError."""
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as probe:
                probe.sendall(request)
                if probe.recv(12).startswith(b"HTTP/1."):
                    return time.perf_counter() - began
        except OSError:
            time.sleep(0.01)
    raise TimeoutError(f"nothing answers on port {port}")


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    out, found = [pid], subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout
    for child in found.split():
        out += family(int(child))
    return out


@contextmanager
def upstream() -> Iterator[int]:
    port = free_port()
    with process([sys.executable, str(HERE / "upstream.py"), str(port)], LOAD_CORE):
        answers(port, 10)
        yield port


@contextmanager
def traghetto(upstream_port: int, folder: Path) -> Iterator[Subject]:
    port, config = free_port(), folder / "traghetto.toml"
    config.write_text(
        "[store]\nledger = false\n"
        f'[upstreams.up]\nkind = "openai"\nbase_url = "http://127.0.0.1:{upstream_port}/v1"\napi_key = "k-bench"\n'
        "max_connections = 4096\n"
        '[models.bench]\ntargets = [{upstream = "up", model = "bench"}]\npricing = {input_usd = 1.0, output_usd = 2.0}\n'
        '[models.paced]\ntargets = [{upstream = "up", model = "paced"}]\npricing = {input_usd = 1.0, output_usd = 2.0}\n'
    )
    command = [
        sys.executable,
        "-m",
        "proxy",
        "serve",
        "--config",
        str(config),
        "--port",
        str(port),
        "--log-level",
        "warning",
    ]
    compiled = [sys.executable, "-m", "compileall", "-q", "proxy", "routes", "adapters"]
    subprocess.run(compiled, cwd=ROOT, check=True)
    with process(command, GATEWAY_CORE, cwd=ROOT) as child:
        ready = answers(port, 20, b"GET /readyz HTTP/1.0\r\nhost: x\r\n\r\n")
        yield Subject("traghetto", port, [child.pid], ready_s=ready)


@contextmanager
def nginx(upstream_port: int, folder: Path) -> Iterator[Subject]:
    port, config = free_port(), folder / "nginx.conf"
    config.write_text(
        f"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log /dev/null;\n"
        "events { worker_connections 8192; }\n"
        f"http {{ access_log off; upstream up {{ server 127.0.0.1:{upstream_port}; keepalive 1024; }}\n"
        f"server {{ listen 127.0.0.1:{port} backlog=4096; keepalive_requests 1000000; location / {{ proxy_pass http://up; "
        'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }} }}\n'.replace("}}", "}")
    )
    with process(["nginx", "-p", str(folder), "-c", str(config)], GATEWAY_CORE) as child:
        ready = answers(port, 10)
        yield Subject("nginx", port, family(child.pid), ready_s=ready)


@contextmanager
def vllm_router(upstream_port: int, folder: Path) -> Iterator[Subject]:
    port = free_port()
    binary = Path(os.environ["PEERS_DIR"]) / "vr/bin/vllm-router"
    command = [
        str(binary),
        "--worker-urls",
        f"http://127.0.0.1:{upstream_port}",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    command += ["--policy", "round_robin", "--prometheus-port", str(free_port()), "--log-level", "error"]
    with process(command, GATEWAY_CORE, cwd=folder) as child:
        ready = answers(port, 60)
        time.sleep(2)  # it looks at its workers before it serves
        yield Subject("vllm-router", port, family(child.pid), ready_s=ready)


@contextmanager
def portkey(upstream_port: int, folder: Path) -> Iterator[Subject]:
    port = free_port()
    script = Path(os.environ["PEERS_DIR"]) / "pk/node_modules/@portkey-ai/gateway/build/start-server.js"
    command = [shutil.which("node") or "node", str(script), f"--port={port}", "--headless"]
    with process(command, GATEWAY_CORE, cwd=folder, env={**os.environ, "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}) as child:
        ready = answers(port, 30)
        host = f"http://127.0.0.1:{upstream_port}/v1"
        headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": host, "authorization": "Bearer k"}
        yield Subject("portkey", port, family(child.pid), headers, ready_s=ready)


@contextmanager
def litellm(upstream_port: int, folder: Path) -> Iterator[Subject]:
    port, config = free_port(), folder / "litellm.yaml"
    row = "  - model_name: {0}\n    litellm_params: {{model: openai/{0}, api_base: http://127.0.0.1:{1}/v1, api_key: k}}\n"
    config.write_text("model_list:\n" + row.format("bench", upstream_port) + row.format("paced", upstream_port))
    binary = Path(os.environ["PEERS_DIR"]) / "ll/bin/litellm"
    command = [str(binary), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    key = "sk-bench-0123456789abcdef"  # it refuses to start without one
    production = {"LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    production["LITELLM_MASTER_KEY"] = key
    with process(command, GATEWAY_CORE, cwd=folder, env={**os.environ, **production}) as child:
        ready = answers(port, 120, b"GET /health/liveliness HTTP/1.0\r\nhost: x\r\n\r\n")
        yield Subject("litellm", port, family(child.pid), {"authorization": f"Bearer {key}"}, ready_s=ready)


SUBJECTS = {"traghetto": traghetto, "nginx": nginx, "vllm-router": vllm_router, "portkey": portkey, "litellm": litellm}


def install(folder: Path) -> None:
    """Each peer in an environment of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, package in (("vr", "vllm-router"), ("ll", "litellm[proxy]")):
        if not (folder / name).exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
            subprocess.run([str(folder / name / "bin/pip"), "install", "-q", package], check=True)
    if not (folder / "pk").exists():
        subprocess.run(["npm", "install", "--prefix", str(folder / "pk"), "@portkey-ai/gateway"], check=True)
