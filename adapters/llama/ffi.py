"""The module that imports llama_cpp (with `vision.native`), in the child process only: model, vocabulary, context, batch.

Owns pointers, their lifetimes and the translation of NULLs and return codes. Refuses to know requests and policies.
Invariants: every pointer is tested with `bool()` (a NULL pointer object is not None); callbacks are held as long as
what may call them; things are freed in the order grammar, context, model; a batch never holds more rows than `n_batch`.
"""

import ctypes
import importlib.util
import sys
import types
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from adapters.llama.utf8_gate import Utf8Table

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

KV_TYPES = {"f16": 1, "q8_0": 8, "q4_0": 2}
_ATTR_CONTROL, _ATTR_USER_DEFINED = 1 << 3, 1 << 4
POOLING = {"mean": 1, "cls": 2, "last": 3}


def _bindings() -> Any:
    """The low-level bindings without the package's `__init__`, which would import its server side (0.3 s, 40 MB)."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None:  # pragma: no cover - it is a dependency
        raise ImportError("llama-cpp-python is not installed")
    if "llama_cpp" not in sys.modules:
        package = types.ModuleType("llama_cpp")
        package.__path__ = list(spec.submodule_search_locations or ())
        package.__spec__ = spec
        sys.modules["llama_cpp"] = package
    return importlib.import_module("llama_cpp.llama_cpp")


lib = _bindings()
_log_lines: deque[str] = deque(maxlen=40)


@lib.llama_log_callback  # type: ignore[untyped-decorator]
def _on_log(level: int, text: bytes, _data: object) -> None:
    if level >= 3 and text:  # warnings, errors and what continues them
        _log_lines.append(text.decode("utf-8", "replace").rstrip())


log_callback = _on_log  # for the libraries beside llama.cpp, too


def start_backend() -> None:
    """Once per process, before anything else."""
    lib.llama_log_set(_on_log, None)
    lib.llama_backend_init()


def last_log(lines: int = 3) -> str:
    """What llama.cpp complained about last, for error messages."""
    return "; ".join(line for line in list(_log_lines)[-lines:] if line)


def supports_gpu() -> bool:
    return bool(lib.llama_supports_gpu_offload())


class LoadFailed(Exception):
    """The file is no model that llama.cpp can load, or its context does not fit."""


class Vocab:
    """Token ids, bytes and tokenising. Its functions may be called from any thread."""

    def __init__(self, model: Any) -> None:
        self.ptr = lib.llama_model_get_vocab(model)
        self.size = int(lib.llama_vocab_n_tokens(self.ptr))
        self.adds_bos = bool(lib.llama_vocab_get_add_bos(self.ptr))
        self.bos = int(lib.llama_vocab_bos(self.ptr))
        self.eos = int(lib.llama_vocab_eos(self.ptr))
        self.eog = np.array([t for t in range(self.size) if lib.llama_vocab_is_eog(self.ptr, t)], dtype=np.int32)
        self.eog_set = frozenset(self.eog.tolist())
        self.pieces = self._all_pieces()
        self.special_texts = self._special_texts()
        self.utf8: Utf8Table | None = None

    def _all_pieces(self) -> list[bytes]:
        """Text bytes per id. Control tokens are empty, but user-defined ones are rendered."""
        buffer = ctypes.create_string_buffer(512)
        to_piece, ptr = lib.llama_token_to_piece, self.ptr
        out: list[bytes] = []
        for token in range(self.size):
            n = to_piece(ptr, token, buffer, 512, 0, False)
            out.append(buffer.raw[:n] if n >= 0 else self._long_piece(token, -n, False))
        return out

    def _special_texts(self) -> dict[int, str]:
        """Control and user-defined tokens, by id."""
        get, ptr = lib.llama_vocab_get_attr, self.ptr
        special = [t for t in range(self.size) if get(ptr, t) & (_ATTR_CONTROL | _ATTR_USER_DEFINED)]
        return {t: self.special_piece(t).decode("utf-8", "replace") for t in special}

    def show(self, texts: Collection[str]) -> None:
        """Renders these control tokens as text from now on: markers that are looked for in the answer."""
        for token, text in self.special_texts.items():
            if text in texts:
                self.pieces[token] = text.encode()

    def _long_piece(self, token: int, size: int, special: bool) -> bytes:
        buffer = ctypes.create_string_buffer(size)
        n = lib.llama_token_to_piece(self.ptr, token, buffer, size, 0, special)
        return bytes(buffer.raw[: max(n, 0)])

    def special_piece(self, token: int) -> bytes:
        """The bytes of any token, control tokens included."""
        return self._long_piece(token, 512, special=True)

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> Ints:
        """int32 ids. Lone surrogates are replaced; NUL bytes are text like any other."""
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        out = np.empty(room, dtype=np.int32)
        n = self._tokenize_into(data, out, add_special, parse_special)
        if n < 0:
            out = np.empty(-n, dtype=np.int32)
            n = self._tokenize_into(data, out, add_special, parse_special)
        return out[:n]

    def _tokenize_into(self, data: bytes, out: Ints, add_special: bool, parse_special: bool) -> int:
        pointer = out.ctypes.data_as(lib.llama_token_p)
        return int(lib.llama_tokenize(self.ptr, data, len(data), pointer, len(out), add_special, parse_special))


def _has_amx() -> bool:
    """Whether llama.cpp would take its AMX kernels: gcc 12 miscompiles them (half a tile configuration, SIGSEGV)."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
            return any(" amx_tile" in line for line in info if line.startswith("flags"))
    except OSError:
        return False


class Model:
    """A loaded GGUF. `on_progress` is called with shares from 0 to 1 while loading."""

    def __init__(self, path: str, gpu_layers: int, use_mmap: bool, on_progress: Callable[[float], None]) -> None:
        params = lib.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        params.load_mode = -1 if use_mmap else 0
        params.use_extra_bufts = not _has_amx()

        def progress(share: float, _data: object) -> bool:
            on_progress(share)
            return True

        callback = lib.llama_progress_callback(progress)  # alive until loading has returned
        params.progress_callback = callback
        _log_lines.clear()
        self.ptr = lib.llama_model_load_from_file(path.encode("utf-8", "surrogateescape"), params)
        if not self.ptr:
            raise LoadFailed(last_log() or "llama.cpp could not load the file")
        self.vocab = Vocab(self.ptr)
        self.has_decoder = bool(lib.llama_model_has_decoder(self.ptr))
        self.has_encoder = bool(lib.llama_model_has_encoder(self.ptr))
        self.recurrent = bool(lib.llama_model_is_recurrent(self.ptr))
        self.hybrid = bool(lib.llama_model_is_hybrid(self.ptr))
        self.n_swa = int(lib.llama_model_n_swa(self.ptr))
        self.n_embd_out = int(lib.llama_model_n_embd_out(self.ptr))
        self.n_head = int(lib.llama_model_n_head(self.ptr))
        self.size = int(lib.llama_model_size(self.ptr))  # bytes
        width = int(lib.llama_model_n_head_kv(self.ptr)) * int(lib.llama_model_n_embd(self.ptr)) // max(self.n_head, 1)
        self.cell = 4 * width * int(lib.llama_model_n_layer(self.ptr))  # bytes of a token's keys and values, in f16
        self.context_train = int(lib.llama_model_n_ctx_train(self.ptr))

    def meta(self, key: str) -> str | None:
        """One metadata value as text, None if it is not there."""
        room = 1024
        while True:
            buffer = ctypes.create_string_buffer(room)
            n = lib.llama_model_meta_val_str(self.ptr, key.encode(), buffer, room)
            if n < 0:
                return None
            if n < room:
                return bytes(buffer.raw[:n]).decode("utf-8", "replace")
            room = n + 1

    def templates(self) -> dict[str, str]:
        """The chat templates of the metadata, by key."""
        found: dict[str, str] = {}
        buffer = ctypes.create_string_buffer(256)
        for index in range(lib.llama_model_meta_count(self.ptr)):
            n = lib.llama_model_meta_key_by_index(self.ptr, index, buffer, 256)
            key = buffer.value.decode("utf-8", "replace")
            if 0 < n < 256 and key.startswith("tokenizer.chat_template"):
                found[key] = self.meta(key) or ""
        return found

    def numbers(self) -> dict[str, Any]:
        """What `ModelInfo` says about the file."""
        buffer = ctypes.create_string_buffer(256)
        lib.llama_model_desc(self.ptr, buffer, 256)
        return {
            "arch": self.meta("general.architecture") or "",
            "name": self.meta("general.name") or "",
            "description": buffer.value.decode("utf-8", "replace"),
            "parameters": int(lib.llama_model_n_params(self.ptr)),
            "size": self.size,
            "n_vocab": self.vocab.size,
            "n_embd": int(lib.llama_model_n_embd(self.ptr)),
            "n_layer": int(lib.llama_model_n_layer(self.ptr)),
            "context_train": self.context_train,
        }

    def close(self) -> None:
        if self.ptr:
            lib.llama_model_free(self.ptr)
            self.ptr = None


class Batch:
    """A `llama_batch` over numpy arrays: filled by slices, one sequence per row."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.token = np.zeros(rows, dtype=np.int32)
        self.pos = np.zeros(rows, dtype=np.int32)
        self.seq = np.zeros(rows, dtype=np.int32)
        self.logits = np.zeros(rows, dtype=np.int8)
        self._n_seq = np.ones(rows, dtype=np.int32)
        item = self.seq.itemsize
        self._seq_ptr = np.array([self.seq.ctypes.data + i * item for i in range(rows)], dtype=np.uintp)
        self.struct = lib.llama_batch(
            n_tokens=0,
            token=self.token.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            embd=None,
            pos=self.pos.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            n_seq_id=self._n_seq.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            seq_id=self._seq_ptr.ctypes.data_as(ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
            logits=self.logits.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )


class Context:
    """One `llama_context`, used by one thread. `embedding` names the pooling of an embeddings context."""

    def __init__(self, model: Model, setup: Any, embedding: str | None = None) -> None:
        self.model = model
        params = lib.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = setup.n_ctx, setup.n_batch, setup.n_ubatch
        params.n_seq_max = setup.n_seq
        params.n_threads = params.n_threads_batch = setup.threads
        params.kv_unified = setup.unified
        params.swa_full = setup.swa_full
        params.no_perf = True
        if setup.flash_attention is not None:
            params.flash_attn_type = int(setup.flash_attention)
        if embedding is None:
            params.type_k = params.type_v = KV_TYPES[setup.kv_type]
            params.n_outputs_max = setup.n_seq
        else:
            params.embeddings = True
            # f32 and no flash attention, which rounds to f16: the same input would differ by 1e-4 in other company
            params.type_k = params.type_v = 0
            params.flash_attn_type = 0
            params.pooling_type = POOLING[embedding]
        self.ptr = lib.llama_init_from_model(model.ptr, params)
        if not self.ptr:
            raise LoadFailed(last_log() or "llama.cpp could not make a context (too little memory?)")
        self.memory = lib.llama_get_memory(self.ptr)
        self.n_ctx = int(lib.llama_n_ctx(self.ptr))
        self.n_ctx_seq = int(lib.llama_n_ctx_seq(self.ptr))
        self.n_seq = int(lib.llama_n_seq_max(self.ptr))
        self.n_batch = int(lib.llama_n_batch(self.ptr))
        self.unified = bool(setup.unified)
        self.batch = Batch(self.n_batch)
        self._n_vocab = model.vocab.size
        self._logits_at = 0
        self._logits: Floats = np.empty((0, self._n_vocab), dtype=np.float32)

    def decode(self, rows: int) -> int:
        """Runs the first `rows` rows of `batch`. 0 done; 1 no room, nothing changed; -1 our mistake; others fatal."""
        self.batch.struct.n_tokens = rows
        return int(lib.llama_decode(self.ptr, self.batch.struct))

    def encode(self, rows: int) -> int:
        self.batch.struct.n_tokens = rows
        return int(lib.llama_encode(self.ptr, self.batch.struct))

    def logits(self, outputs: int) -> Floats:
        """(outputs, n_vocab), a writable view that the next decode overwrites; rows in batch order."""
        pointer = lib.llama_get_logits(self.ptr)
        if not pointer:
            raise RuntimeError("llama.cpp has no logits")
        address = ctypes.addressof(pointer.contents)
        if address != self._logits_at or outputs > len(self._logits):  # making a view costs as much as ten tokens
            self._logits_at = address
            self._logits = np.ctypeslib.as_array(pointer, shape=(outputs, self._n_vocab))
        return self._logits[:outputs]

    def embedding(self, seq: int) -> Floats:
        """A copy of the pooled vector of a sequence."""
        pointer = lib.llama_get_embeddings_seq(self.ptr, seq)
        if not pointer:
            raise RuntimeError("llama.cpp has no pooled embedding")
        return np.ctypeslib.as_array(pointer, shape=(self.model.n_embd_out,)).copy()

    def attach(self, seq: int, chain: "SamplerChain | None") -> bool:
        """A sequence's tokens are sampled in the graph from the next decode on (None: no more). False: it cannot be."""
        return bool(lib.llama_set_sampler(self.ptr, seq, None if chain is None else chain.ptr))

    def sampled(self, row: int) -> int:
        """The token that was sampled in the graph for a row of the batch; -1 where none was."""
        return int(lib.llama_get_sampled_token_ith(self.ptr, row))

    def clear(self) -> None:
        if self.memory:
            lib.llama_memory_clear(self.memory, False)

    def seq_rm(self, seq: int, start: int = -1, end: int = -1) -> bool:
        """Forgets positions; False when this memory cannot be cut there (the sequence is then unchanged)."""
        return bool(lib.llama_memory_seq_rm(self.memory, seq, start, end))

    def seq_cp(self, src: int, dst: int, end: int = -1) -> None:
        """Shares `src` from its start up to `end` with `dst`. Between streams only whole sequences may be copied."""
        if end >= 0 and not self.unified:
            raise ValueError("a partial copy between streams would abort the process")
        lib.llama_memory_seq_cp(self.memory, src, dst, -1 if end < 0 else 0, end)

    def pos_min(self, seq: int) -> int:
        return int(lib.llama_memory_seq_pos_min(self.memory, seq))

    def pos_max(self, seq: int) -> int:
        return int(lib.llama_memory_seq_pos_max(self.memory, seq))

    def save_seq(self, seq: int) -> npt.NDArray[np.uint8]:
        """The state of a sequence, to be given to `load_seq` of a context of the same model and settings."""
        size = int(lib.llama_state_seq_get_size(self.ptr, seq))
        out = np.empty(size, dtype=np.uint8)
        n = int(lib.llama_state_seq_get_data(self.ptr, out.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)), size, seq))
        return out[:n]

    def load_seq(self, seq: int, data: npt.NDArray[np.uint8]) -> bool:
        pointer = data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        return bool(lib.llama_state_seq_set_data(self.ptr, pointer, len(data), seq))

    def close(self) -> None:
        if self.ptr:
            lib.llama_free(self.ptr)
            self.ptr = None


class SamplerChain:
    """top_k, top_p, min_p, temperature and a draw (temperature 0: the likeliest), as llama.cpp's own samplers."""

    def __init__(self, *, temperature: float, top_k: int, top_p: float, min_p: float, seed: int) -> None:
        self.ptr = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        for sampler in _samplers(temperature, top_k, top_p, min_p, seed):
            lib.llama_sampler_chain_add(self.ptr, sampler)  # which owns it from here on

    def accept(self, token: int) -> None:
        lib.llama_sampler_accept(self.ptr, token)

    def close(self) -> None:
        if self.ptr:
            lib.llama_sampler_free(self.ptr)
            self.ptr = None


def _samplers(temperature: float, top_k: int, top_p: float, min_p: float, seed: int) -> list[Any]:
    if temperature <= 0.0:
        return [lib.llama_sampler_init_greedy()]
    chain = [lib.llama_sampler_init_top_k(top_k)] if top_k > 0 else []
    chain += [lib.llama_sampler_init_top_p(top_p, 1)] if top_p < 1.0 else []
    chain += [lib.llama_sampler_init_min_p(min_p, 1)] if min_p > 0.0 else []
    return [*chain, lib.llama_sampler_init_temp(temperature), lib.llama_sampler_init_dist(seed)]
