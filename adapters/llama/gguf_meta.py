"""Reads the header of a GGUF file: its metadata and its tensor list, without llama.cpp and without trust.

Owns the format's limits: what is counted, how long, how deep. Refuses to read weights. Invariants: memory and time are
bounded by `MOST_*`, whatever the file claims; everything that is wrong with a file is one GgufError with a reason; a
file shorter than its own tensor list is found out here, not by a crash later.
"""

import os
import re
import struct
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

MOST_HEADER = 256 << 20  # bytes of metadata and tensor list
MOST_KEYS = 4096
MOST_TENSORS = 65_536
MOST_KEY = 1024
MOST_TEXT = 16 << 20
MOST_PARTS = 1000
KEPT = 512  # items of an array that are kept; longer ones are only counted

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
# type: (weights in a block, bytes of a block); a type that is not here is not measured
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66),
    17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54),
    35: (256, 66), 39: (32, 17),
}  # fmt: skip
LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$")
_SPLIT = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")


class GgufError(Exception):
    """The file is no GGUF that can be used; the message says why."""


class Array(msgspec.Struct, frozen=True):
    """A long array of the metadata: only its length is known."""

    length: int


class GgufMeta(msgspec.Struct, frozen=True, kw_only=True):
    """`values` by key; `layer_bytes` of tensors by block number, `other_bytes` of the rest. Sizes in bytes."""

    path: str
    version: int
    values: dict[str, Any]
    tensors: int
    layer_bytes: dict[int, int]
    other_bytes: int
    file_size: int
    parts: int = 1

    @property
    def arch(self) -> str:
        value = self.values.get("general.architecture", "")
        return value if isinstance(value, str) else ""

    def number(self, key: str, default: int = 0) -> int:
        """`<arch>.key` as a number; of a per-layer array the largest."""
        value = self.values.get(f"{self.arch}.{key}", default)
        if isinstance(value, list):
            value = max((v for v in value if isinstance(v, int)), default=default)
        return int(value) if isinstance(value, int | float) and value == value and abs(value) < 1e15 else default

    @property
    def vocab(self) -> int:
        tokens = self.values.get("tokenizer.ggml.tokens")
        return tokens.length if isinstance(tokens, Array) else len(tokens) if isinstance(tokens, list) else 0

    @property
    def weight_bytes(self) -> int:
        return sum(self.layer_bytes.values()) + self.other_bytes


class _Reader:
    """Bounded reads from one file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = min(size, MOST_HEADER)
        self._truncated = size <= MOST_HEADER

    def take(self, count: int) -> bytes:
        if count > self._left:
            raise GgufError("the file is truncated" if self._truncated else "the header is unreasonably large")
        data = self._file.read(count)
        if len(data) < count:
            raise GgufError("the file is truncated")
        self._left -= count
        return data

    def skip(self, count: int) -> None:
        if count > self._left:
            raise GgufError("the file is truncated" if self._truncated else "the header is unreasonably large")
        self._file.seek(count, os.SEEK_CUR)
        self._left -= count

    def one(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self, most: int) -> str:
        size = self.one("<Q")
        if size > most:
            raise GgufError(f"a text of {size} bytes in the header is unreasonable")
        return self.take(size).decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text(MOST_TEXT)
        if kind == _ARRAY:
            return self._array()
        form = _SCALARS.get(kind)
        if form is None:
            raise GgufError(f"a value of unknown type {kind} in the header")
        return self.one(form)

    def _array(self) -> Any:
        kind, count = self.one("<I"), self.one("<Q")
        if kind == _ARRAY:
            raise GgufError("an array of arrays in the header")
        form = _SCALARS.get(kind)
        if form is None and kind != _STRING:
            raise GgufError(f"an array of unknown type {kind} in the header")
        if count > self._left:  # every item has at least a byte
            raise GgufError("the file is truncated, or an array in it has an impossible length")
        if count <= KEPT:
            return [self.value(kind) for _ in range(count)]
        if form is not None:
            self.skip(struct.calcsize(form) * count)
        else:
            for _ in range(count):
                size = self.one("<Q")
                self.skip(size)
        return Array(count)

    def tell(self) -> int:
        return self._file.tell()


def read(path: str) -> GgufMeta:
    """Of a split model, name the first part; the others are found beside it. Raises GgufError."""
    meta = read_one(path)
    count = meta.values.get("split.count", 1)
    if not isinstance(count, int) or count <= 1:
        return meta
    match = _SPLIT.match(Path(path).name)
    if match is None or int(match["count"]) != count or count > MOST_PARTS:
        raise GgufError("the model is split, and its file name does not say into which parts")
    layers, other, size, tensors = dict(meta.layer_bytes), meta.other_bytes, meta.file_size, meta.tensors
    for number in range(1, count + 1):
        if number == int(match["number"]):
            continue
        part = read_one(str(Path(path).with_name(f"{match['stem']}-{number:05}-of-{count:05}.gguf")))
        for block, bytes_ in part.layer_bytes.items():
            layers[block] = layers.get(block, 0) + bytes_
        other, size, tensors = other + part.other_bytes, size + part.file_size, tensors + part.tensors
    return msgspec.structs.replace(
        meta, layer_bytes=layers, other_bytes=other, file_size=size, tensors=tensors, parts=count
    )


def part_names(name: str) -> list[str]:
    """The files of a model, this one first; of a split model all that should be beside it."""
    match = _SPLIT.match(name)
    count = int(match["count"]) if match else 1
    if match is None or not 1 < count <= MOST_PARTS:
        return [name]
    names = (f"{match['stem']}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1))
    return [name, *(other for other in names if other != name)]


def read_one(path: str) -> GgufMeta:
    """One file, whether or not it is all of a model. Raises GgufError."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            return _parse(path, _Reader(file, size), size)
    except FileNotFoundError as error:
        raise GgufError(f"there is no file {Path(path).name}") from error
    except (OSError, ValueError) as error:
        raise GgufError(f"the file cannot be read: {error}") from error


def _parse(path: str, reader: _Reader, size: int) -> GgufMeta:
    magic = reader.take(4)
    if magic != b"GGUF":
        raise GgufError(f"not a GGUF file (it begins with {magic!r})")
    version = reader.one("<I")
    if version not in (2, 3):
        raise GgufError(f"GGUF version {version} is not supported")
    tensors, keys = reader.one("<Q"), reader.one("<Q")
    if keys > MOST_KEYS or tensors > MOST_TENSORS:
        raise GgufError(f"the header announces {keys} keys and {tensors} tensors, which is unreasonable")
    values: dict[str, Any] = {}
    for _ in range(keys):
        key = reader.text(MOST_KEY)
        values[key] = reader.value(reader.one("<I"))
    layers, other = _tensors(reader, tensors, values, size)
    meta = GgufMeta(
        path=path,
        version=version,
        values=values,
        tensors=tensors,
        layer_bytes=layers,
        other_bytes=other,
        file_size=size,
    )
    if not meta.arch and "split.no" not in values:
        raise GgufError("the file names no architecture")
    return meta


def _tensors(reader: _Reader, count: int, values: dict[str, Any], size: int) -> tuple[dict[int, int], int]:
    """Bytes by block and outside of blocks; checks that the file holds them all."""
    layers: dict[int, int] = {}
    other = end = 0
    for _ in range(count):
        name = reader.text(MOST_KEY)
        dims = reader.one("<I")
        if dims > 8:
            raise GgufError(f"the tensor {name!r} has {dims} dimensions")
        weights = 1
        for _ in range(dims):
            weights *= reader.one("<Q")
            if weights > 1 << 50:
                raise GgufError(f"the tensor {name!r} has an impossible size")
        kind, offset = reader.one("<I"), reader.one("<Q")
        per_block, block_bytes = _BLOCKS.get(kind, (1, 0))
        bytes_ = -(-weights // per_block) * block_bytes
        end = max(end, offset + bytes_)
        match = re.match(r"blk\.(\d{1,5})\.", name)
        if match:
            layers[int(match[1])] = layers.get(int(match[1]), 0) + bytes_
        else:
            other += bytes_
    alignment = values.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
        raise GgufError("the file's alignment is impossible")
    start = -(-reader.tell() // alignment) * alignment
    if count and start + end > size:
        raise GgufError(f"the file is truncated: it should have {start + end} bytes and has {size}")
    return layers, other
