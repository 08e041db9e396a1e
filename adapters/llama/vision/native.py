"""A projector through llama.cpp's mtmd: pictures' bytes in, chunks of a prompt out, and their way into a context.

Owns the native pointers of projector, bitmaps and chunks. Refuses to know requests and the scheduler. Invariants:
`tokenize` may be called from the preparing thread (mtmd promises that), everything else by the thread that owns the
context; every chunk is freed once, whoever forgets it; what is no picture is an error, never a subprocess: mtmd would
offer it to ffmpeg.
"""

import ctypes
import importlib
import os
import secrets
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adapters.llama.ffi import Context, LoadFailed, Model, last_log, lib, log_callback
from adapters.llama.gguf_meta import GgufError, read
from adapters.llama.vision.marks import Ints, marks

_NOWHERE = b"/nonexistent"  # where mtmd looks for ffmpeg
_TEXT, _IMAGE = 0, 1


class PictureError(Exception):
    """The pictures of a call cannot be shown to this model."""


@dataclass(slots=True, eq=False)
class Picture:
    """A chunk of pixels: `start` in the prompt, `positions` there, `tokens` of memory (more than positions with M-RoPE)."""

    start: int
    positions: int
    tokens: int
    pointer: Any = field(repr=False, default=None)

    def close(self) -> None:
        """Frees the pixels."""
        pointer, self.pointer = self.pointer, None
        if pointer is not None:
            _mtmd().mtmd_input_chunk_free(pointer)

    def __del__(self) -> None:
        self.close()


@dataclass(slots=True)
class Seen:
    """A prompt with pictures: ids (negative under a picture), and the pictures in order."""

    prompt: Ints
    pictures: tuple[Picture, ...]


def _mtmd() -> Any:
    """The bindings; loaded with the first projector only."""
    return importlib.import_module("llama_cpp.mtmd_cpp")


class Projector:
    """An mmproj file beside its model. LoadFailed when it is none, is broken, or belongs to another model."""

    def __init__(self, path: str, model: Model, threads: int, *, gpu: bool) -> None:
        self._stamp = _checked(path)
        self.marker = f"<__picture_{secrets.token_hex(8)}__>"  # nobody can write it into a message
        self.most: int | None = None  # tokens of one picture; None: any number
        self._threads = threads
        mtmd = _mtmd()
        mtmd.mtmd_helper_log_set(log_callback, None)
        params = mtmd.mtmd_context_params_default()
        self._marker = params.media_marker = self.marker.encode()
        params.use_gpu, params.n_threads, params.print_timings, params.warmup = gpu, threads, False, True
        self.ptr = mtmd.mtmd_init_from_file(path.encode("utf-8", "surrogateescape"), model.ptr, params)
        if not self.ptr:
            said = " ".join(last_log().replace(path, os.path.basename(path)).split())
            raise LoadFailed(f"the projector cannot be loaded: {said or 'llama.cpp gives no reason'}")
        if not mtmd.mtmd_support_vision(self.ptr):
            self.close()
            raise LoadFailed("the projector cannot be loaded: it has no eyes (no vision encoder)")
        self.m_rope = bool(mtmd.mtmd_decode_use_mrope(self.ptr))
        self.non_causal = bool(mtmd.mtmd_decode_use_non_causal(self.ptr, None))
        self._options = mtmd.mtmd_helper_init_opt_default()
        self._options.video_params.ffmpeg_bin_dir = _NOWHERE

    def close(self) -> None:
        if self.ptr:
            _mtmd().mtmd_free(self.ptr)
            self.ptr = None

    # -- the preparing thread -------------------------------------------------------------------------------------

    def tokenize(self, text: str, images: list[bytes], *, add_special: bool, parse_special: bool) -> Seen:
        """`text` holds a marker per image. Raises PictureError."""
        mtmd = _mtmd()
        data = text.encode("utf-8", "replace")
        bitmaps: list[Any] = []
        chunks = mtmd.mtmd_input_chunks_init()
        try:
            bitmaps.extend(self._bitmap(image, number) for number, image in enumerate(images))
            given = mtmd.mtmd_input_text(data, len(data), add_special, parse_special)
            array = (mtmd.mtmd_bitmap_p_ctypes * len(bitmaps))(*bitmaps)
            if mtmd.mtmd_tokenize(self.ptr, chunks, ctypes.byref(given), array, len(bitmaps)):
                raise PictureError(f"the images cannot be put into the prompt: {last_log(1)}")
            return self._seen(chunks)
        finally:
            for bitmap in bitmaps:
                mtmd.mtmd_bitmap_free(bitmap)
            mtmd.mtmd_input_chunks_free(chunks)

    def _bitmap(self, image: bytes, number: int) -> Any:
        """Decoded pixels; mtmd gives them the SHA-256 of the bytes as their name."""
        mtmd = _mtmd()
        buffer = (ctypes.c_uint8 * len(image)).from_buffer_copy(image)
        made = mtmd.mtmd_helper_bitmap_init_from_buf_wrapper(self.ptr, buffer, len(image), False, self._options)
        if made.bitmap and not made.video_ctx and not mtmd.mtmd_bitmap_is_audio(made.bitmap):
            return made.bitmap
        if made.bitmap:
            mtmd.mtmd_bitmap_free(made.bitmap)
        if made.video_ctx:
            mtmd.mtmd_helper_video_free(made.video_ctx)
        raise PictureError(f"image {number} cannot be decoded")

    def _seen(self, chunks: Any) -> Seen:
        mtmd = _mtmd()
        parts: list[Ints] = []
        pictures: list[Picture] = []
        at = 0
        for index in range(mtmd.mtmd_input_chunks_size(chunks)):
            chunk = mtmd.mtmd_input_chunks_get(chunks, index)
            kind = mtmd.mtmd_input_chunk_get_type(chunk)
            if kind == _TEXT:
                parts.append(_text_of(chunk))
            elif kind == _IMAGE:
                picture = self._picture(chunk, at)
                name = mtmd.mtmd_input_chunk_get_id(chunk) or os.urandom(16)
                key = b"%b %b %d %d %d" % (self._stamp, name, len(pictures), picture.positions, picture.tokens)
                pictures.append(picture)
                parts.append(marks(key, picture.positions))
            else:
                raise PictureError("only images can be shown to this model")
            at += len(parts[-1])
        if not pictures or pictures[-1].start + pictures[-1].positions == at:
            raise PictureError("the chat template puts nothing behind the last image")
        return Seen(np.concatenate(parts), tuple(pictures))

    def _picture(self, chunk: Any, start: int) -> Picture:
        mtmd = _mtmd()
        tokens = int(mtmd.mtmd_input_chunk_get_n_tokens(chunk))
        positions = int(mtmd.mtmd_input_chunk_get_n_pos(chunk))
        if self.most is not None and tokens > self.most:
            raise PictureError(f"an image takes {tokens} tokens; this model reads at most {self.most} at once")
        return Picture(start, positions, tokens, mtmd.mtmd_input_chunk_copy(chunk))

    # -- the thread that owns the context ---------------------------------------------------------------------------

    def show(self, context: Context, picture: Picture, seq: int) -> int:
        """Encodes a picture and decodes it at its place in a sequence. 0 done; 1 no room; others as `Context.decode`."""
        mtmd = _mtmd()
        if mtmd.mtmd_encode_chunk(self.ptr, picture.pointer):
            return -1
        rows = mtmd.mtmd_get_output_embd(self.ptr)
        end = lib.llama_pos(0)
        nothing = mtmd.mtmd_helper_post_decode_callback()
        return int(
            mtmd.mtmd_helper_decode_image_chunk(
                self.ptr,
                context.ptr,
                picture.pointer,
                rows,
                picture.start,
                seq,
                context.n_batch,
                ctypes.byref(end),
                nothing,
                None,
            )
        )


def _text_of(chunk: Any) -> Ints:
    count = ctypes.c_size_t(0)
    pointer = _mtmd().mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
    if not count.value:
        return np.zeros(0, dtype=np.int32)
    return np.array(np.ctypeslib.as_array(pointer, shape=(count.value,)), dtype=np.int32)


def _checked(path: str) -> bytes:
    """What tells this file from another version of it. Its header is read without trust before mtmd sees it."""
    try:
        meta = read(path)
        stat = os.stat(path)
    except (GgufError, OSError) as error:
        raise LoadFailed(f"the projector cannot be loaded: {error}") from error
    if meta.arch != "clip":
        raise LoadFailed(f"the projector cannot be loaded: it is a model of the architecture {meta.arch[:40]!r}")
    return b"%d %d" % (stat.st_size, stat.st_mtime_ns)
