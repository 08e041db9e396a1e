"""The servers that run the same GGUF file: how each is built or installed, and started with the same settings.

llama-server is compiled from the llama.cpp inside llama-cpp-python's own source distribution, so that both run the same
kernels; llama-cpp-python's server gets an environment of its own. Both live in ENGINE_PEERS_DIR (`install` makes them;
LLAMA_SERVER names another binary). On a machine with AMX nobody uses the extra weight buffers: gcc 12 miscompiles their
kernels, which is why the engine leaves them, and llama-server gets `--no-repack`, which is the same switch.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peers import ROOT, Subject, answers, free_port, process

CORES = ",".join(map(str, sorted(os.sched_getaffinity(0)))) if hasattr(os, "sched_getaffinity") else "0"
CMAKE_OFF = ("LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES", "LLAMA_BUILD_APP", "LLAMA_BUILD_UI", "LLAMA_USE_PREBUILT_UI")
# llama_cpp.server has no option for the extra buffers; this is the module with its defaults changed.
_WITHOUT_EXTRA = """
import runpy, llama_cpp, llama_cpp.llama_cpp as low
defaults = low.llama_model_default_params
def plain():
    params = defaults()
    params.use_extra_bufts = False
    return params
llama_cpp.llama_model_default_params = low.llama_model_default_params = plain
runpy.run_module("llama_cpp.server", run_name="__main__")
"""


def has_amx() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and " amx_tile" in cpuinfo.read_text(errors="replace")


def folder() -> Path:
    return Path(os.environ.get("ENGINE_PEERS_DIR", ".cache/engine-peers")).resolve()


def binary() -> Path:
    """llama-server, whether it is there or not."""
    given = os.environ.get("LLAMA_SERVER")
    return Path(given) if given else folder() / "llama-server" / "build" / "bin" / "llama-server"


def install(cmake_args: tuple[str, ...] = ("-DGGML_NATIVE=ON",)) -> None:
    """Builds and installs what is not there yet: about ten minutes on two cores."""
    folder().mkdir(parents=True, exist_ok=True)
    if not binary().exists():
        _build_server(folder() / "llama-server", cmake_args)
    environment = folder() / "llama-cpp-python"
    if not environment.exists():
        package = f"llama-cpp-python[server]=={version('llama-cpp-python')}"
        uv = shutil.which("uv") or str(ROOT / ".cache" / "uv" / "bin" / "uv")
        if Path(uv).exists():  # it has the wheel that our own environment was made from
            subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(environment)], check=True)
            python = str(environment / "bin" / "python")
            subprocess.run([uv, "pip", "install", "-q", "--python", python, package], check=True)
        else:
            subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
            subprocess.run([str(environment / "bin" / "pip"), "install", "-q", package], check=True)


def _build_server(target: Path, cmake_args: tuple[str, ...]) -> None:
    if not (target / "source").exists():
        _fetch_source(target)
    build = target / "build"
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    off = [f"-D{name}=OFF" for name in (*CMAKE_OFF, "LLAMA_OPENSSL")]
    configure = ["cmake", *generator, "-S", str(target / "source"), "-B", str(build), "-DCMAKE_BUILD_TYPE=Release"]
    subprocess.run([*configure, *off, *cmake_args], check=True)
    jobs = str(os.cpu_count() or 1)
    subprocess.run(["cmake", "--build", str(build), "--target", "llama-server", "-j", jobs], check=True)


def _fetch_source(target: Path) -> None:
    """`target`/source: the llama.cpp that the installed llama-cpp-python was compiled from."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        package = f"llama-cpp-python=={version('llama-cpp-python')}"
        # pip of an environment of its own: ours may have none
        subprocess.run([sys.executable, "-m", "venv", f"{scratch}/pip"], check=True)
        fetch = ["download", "-q", "--no-binary", ":all:", "--no-deps", "--no-build-isolation"]
        subprocess.run([f"{scratch}/pip/bin/pip", "install", "-q", "scikit-build-core"], check=True)
        subprocess.run([f"{scratch}/pip/bin/pip", *fetch, "-d", scratch, package], check=True)
        archive = next(Path(scratch).glob("llama_cpp_python-*.tar.gz"))
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data")
        unpacked = next(Path(scratch).glob("llama_cpp_python-*/vendor/llama.cpp"))
        shutil.move(unpacked, target / "source")


@contextmanager
def traghetto(
    model: Path, *, parallel: int, context: int, threads: int, scratch: Path, more: str = ""
) -> Iterator[Subject]:
    """The whole gateway with the model loaded. `more` are further keys of the upstream, as TOML lines."""
    port, config = free_port(), scratch / f"traghetto-{parallel}-{model.stem}.toml"
    config.write_text(
        f'[store]\nurl = "sqlite:///{scratch}/ledger.db"\nfolder = "{scratch}"\n'
        f'[upstreams.local]\nkind = "llama"\nthreads = {threads}\nparallel = {parallel}\ncontext_tokens = {context}\n'
        f"kv_unified = false\nkeep_loaded_s = -1\nqueue = 1024\n{more}\n"
        f'[models.bench]\ntargets = [{{upstream = "local", model = "{model}"}}]\n'
    )
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config), "--port", str(port)]
    with process([*command, "--log-level", "warning"], CORES, cwd=ROOT) as child:
        ready = answers(port, 120, b"GET /readyz HTTP/1.0\r\nhost: x\r\n\r\n")
        yield Subject("traghetto", port, [child.pid], ready_s=ready)


@contextmanager
def llama_server(
    model: Path, *, parallel: int, context: int, threads: int, scratch: Path, more: str = ""
) -> Iterator[Subject]:
    """`more` are further arguments."""
    port = free_port()
    command = [str(binary()), "-m", str(model), "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    command += ["--parallel", str(parallel), "-c", str(parallel * context), "--no-kv-unified"]
    command += ["-t", str(threads), "-tb", str(threads), "--cache-ram", "0", *more.split()]
    if has_amx():
        command.append("--no-repack")
    with process(command, CORES, cwd=scratch) as child:
        ready = _healthy(port)
        yield Subject("llama-server", port, [child.pid], ready_s=ready)


@contextmanager
def llama_cpp_python(
    model: Path, *, parallel: int, context: int, threads: int, scratch: Path, more: str = ""
) -> Iterator[Subject]:
    """It runs one call at a time; by default a new one would even break the one that runs, which is switched off here."""
    port = free_port()
    start = ["-c", _WITHOUT_EXTRA] if has_amx() else ["-m", "llama_cpp.server"]
    command = [
        str(folder() / "llama-cpp-python" / "bin" / "python"),
        *start,
        "--model",
        str(model),
        "--port",
        str(port),
    ]
    command += ["--n_ctx", str(context), "--n_threads", str(threads), "--n_threads_batch", str(threads)]
    command += ["--interrupt_requests", "false", "--host", "127.0.0.1", *more.split()]
    with process(command, CORES, cwd=scratch) as child:
        ready = answers(port, 120, b"GET /v1/models HTTP/1.0\r\nhost: x\r\n\r\n")
        yield Subject("llama-cpp-python", port, [child.pid], ready_s=ready)


def _healthy(port: int) -> float:
    """llama-server answers 503 while it loads."""
    began = time.perf_counter()
    while time.perf_counter() - began < 120:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return time.perf_counter() - began
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("llama-server does not become healthy")


@contextmanager
def llama_server_plain(model: Path, **settings: Any) -> Iterator[Subject]:
    """With plain attention, which the engine takes without a GPU, instead of llama-server's choice (flash attention)."""
    with llama_server(model, **settings, more="-fa off") as subject:
        subject.name = "llama-server -fa off"
        yield subject


SERVERS: dict[str, Callable[..., AbstractContextManager[Subject]]] = {
    "traghetto": traghetto,
    "llama-server": llama_server,
    "llama-server-plain": llama_server_plain,
    "llama-cpp-python": llama_cpp_python,
}
