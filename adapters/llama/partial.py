"""A file on its way: what of it has come, whose it is, and the last step from `.part` to its name.

Owns the bytes on disk, the notes beside them, lengths and checksums. Refuses to ask servers (`download` does). Invariants:
under its own name a file is complete and was checked; what a server says of lengths is believed only as far as bytes
come; what was found to be wrong is thrown away, what was only cut is kept.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import msgspec

from adapters._http import HttpResponse
from adapters.llama.gguf_meta import GgufError, read_one
from proxy.errors import Fault, UpstreamError

_RANGE = re.compile(r"^bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)$")
SHA256 = re.compile(r"^[0-9a-f]{64}$")

OnBytes = Callable[[int, int | None], None]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One file: where from, its name below the folder, and what is known beforehand (size in bytes, SHA-256 in hex)."""

    url: str
    name: str
    size: int | None = None
    sha256: str = ""


class Notes(msgspec.Struct, kw_only=True):
    """What stands beside a `.part`: whose beginning it is."""

    url: str
    etag: str = ""
    size: int | None = None
    sha256: str = ""
    packed: bool = False  # it came in a content coding, whose ranges are others: it cannot be gone on with


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """`checked`: whether there was a checksum to compare with. `was_here`: nothing was fetched."""

    path: Path
    size: int
    sha256: str
    checked: bool
    was_here: bool = False


class Broken(Exception):
    """This attempt failed; another may go on from where it stopped."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def failed(status: int, what: str) -> UpstreamError:
    """A status that no other attempt will mend."""
    if status in (401, 403):
        said = f"{what} is not given out without permission ({status}): set HF_TOKEN, and accept its terms on its page"
        return UpstreamError(Fault.AUTH, said, accepted=False, upstream_status=status)
    if status == 404:
        return UpstreamError(Fault.MISSING, f"there is no {what}", accepted=False, upstream_status=status)
    return UpstreamError(Fault.SERVER, f"{what} answers with status {status}", accepted=False, upstream_status=status)


class PartialFile:
    """One file on its way: what of it is here, and whose it is."""

    def __init__(self, part: Part, target: Path, partial: IO[bytes], on_bytes: OnBytes | None) -> None:
        self.part = part
        self.target = target
        self.done = 0
        self.notes = Notes(url=part.url, size=part.size, sha256=part.sha256)
        self._file = partial
        self._beside = target.with_name(target.name + ".part.json")
        self._hash = hashlib.sha256()
        self._on_bytes = on_bytes
        self._total = part.size

    def begin(self) -> None:
        """What is here from another time, if it is the beginning of the same file."""
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            old = msgspec.json.decode(self._beside.read_bytes(), type=Notes)
            same = old.sha256 == self.part.sha256 if old.sha256 and self.part.sha256 else old.url == self.part.url
            if same and not old.packed and self.part.size in (None, old.size):
                self.notes = old
                self.notes.sha256 = self.part.sha256 or old.sha256
                self._file.seek(0)
                while data := self._file.read(1 << 20):
                    self._hash.update(data)
                    self.done += len(data)
        if not self.done:
            self._forget()

    def headers(self) -> tuple[tuple[str, str], ...]:
        if not self.done or self.notes.packed or not (self.notes.etag or self.notes.sha256):
            return ()  # nothing tells whether the file is still the same
        validator = self.notes.etag
        condition = (("if-range", validator),) if validator.startswith('"') else ()
        return (("range", f"bytes={self.done}-"), *condition)

    def starts(self, response: HttpResponse) -> bool:
        """Whether bytes follow, and where they belong. False: nothing is missing. Raises Broken, UpstreamError."""
        if response.status == 416 and self.done:
            found = _RANGE.match(response.header("content-range") or "")
            total = int(found[3]) if found and found[3] != "*" else self._total
            if self.done == total and total == (self.part.size or total):
                return False
            self._forget()
            raise Broken("the server has another file than the one that was begun")
        if response.status not in (200, 206):
            raise failed(response.status, self.part.name)
        etag = response.header("etag") or ""
        if response.status == 206:
            self._must_continue(response, etag)
        else:
            if self.done:
                self._forget()  # it gives all of it again
            length = response.header("content-length") or ""
            self.notes.packed = response.header("content-encoding") not in (None, "identity")
            self._expect(int(length) if length.isdigit() and not self.notes.packed else None)
        self.notes.etag = etag
        self._linked(response)
        self._beside.write_bytes(msgspec.json.encode(self.notes))
        self._must_have_room()
        return True

    def _must_continue(self, response: HttpResponse, etag: str) -> None:
        found = _RANGE.match(response.header("content-range") or "")
        other = bool(etag and self.notes.etag and etag != self.notes.etag and not self.notes.sha256)
        if found is None or found[1] is None or int(found[1]) != self.done or other:
            self._forget()
            raise Broken("the server does not go on where the file was cut")
        self._expect(int(found[3]) if found[3] != "*" else None)

    def _expect(self, total: int | None) -> None:
        if total is None:
            return
        if self.part.size is not None and total != self.part.size:
            said = f"{self.part.name}: the server announces {total} bytes, and it should have {self.part.size}"
            raise UpstreamError(Fault.MALFORMED, said, accepted=False)
        self._total = self.notes.size = total

    def _linked(self, response: HttpResponse) -> None:
        """A hub's redirect names the checksum and the size of what it leads to."""
        linked = (response.header("x-linked-etag") or "").strip('"').lower()
        if not self.notes.sha256 and SHA256.match(linked):
            self.notes.sha256 = linked

    def _must_have_room(self) -> None:
        missing = (self._total or 0) - self.done
        free = shutil.disk_usage(self.target.parent).free
        if missing > free:
            said = f"{self.part.name}: {missing >> 20} MiB are missing, and {free >> 20} MiB are free there"
            raise UpstreamError(Fault.TOO_LARGE, said, accepted=False)

    def add(self, data: bytes) -> None:
        if self._total is not None and self.done + len(data) > self._total:
            self._forget()
            raise UpstreamError(
                Fault.MALFORMED, f"{self.part.name}: more came than the {self._total} bytes announced", accepted=False
            )
        self._file.write(data)
        self._hash.update(data)
        self.done += len(data)
        if self._on_bytes is not None:
            self._on_bytes(self.done, self._total)

    def must_be_complete(self) -> None:
        if self._total is not None and self.done < self._total:
            raise Broken(f"it ended after {self.done} of {self._total} bytes")

    def _forget(self) -> None:
        """What is here is of no use."""
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.sha256()
        self.done = 0
        self.notes = Notes(url=self.part.url, size=self.part.size, sha256=self.part.sha256)
        self._beside.unlink(missing_ok=True)

    def end(self, allowed: frozenset[str]) -> Fetched:
        """Compared, on disk, and then under its name. Raises UpstreamError: it is not what it should be, and is gone."""
        digest, wanted = self._hash.hexdigest(), self.notes.sha256
        try:
            if wanted and digest != wanted:
                said = f"{self.part.name}: its SHA-256 is {digest}, and it should be {wanted}"
                raise UpstreamError(Fault.MALFORMED, said, accepted=False)
            must_be_allowed(digest, allowed, self.part.name)
            self._file.flush()
            if self.target.suffix == ".gguf":
                read_one(self._file.name)
        except (UpstreamError, GgufError) as error:
            self._forget()
            if isinstance(error, GgufError):
                raise UpstreamError(Fault.MALFORMED, f"{self.part.name}: {error}", accepted=False) from None
            raise
        os.fsync(self._file.fileno())
        os.replace(self._file.name, self.target)
        _sync_folder(self.target.parent)
        self._beside.unlink(missing_ok=True)
        return Fetched(path=self.target, size=self.done, sha256=digest, checked=bool(wanted))


def already(part: Part, target: Path) -> Fetched | None:
    """The file, if it is here and is what is asked for. One of that name with other content is replaced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.is_file() or part.size not in (None, target.stat().st_size):
        return None
    digest = digest_of(target)
    if part.sha256 and digest != part.sha256:
        return None
    size = target.stat().st_size
    return Fetched(path=target, size=size, sha256=digest, checked=bool(part.sha256), was_here=True)


def must_be_allowed(digest: str, allowed: frozenset[str], name: str) -> None:
    if allowed and digest not in allowed:
        said = f"{name} has the SHA-256 {digest}, which is not among those that allow_sha256 names"
        raise UpstreamError(Fault.REFUSED, said, accepted=False)


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked(target: Path) -> Iterator[IO[bytes]]:
    """The `.part` beside the target, opened for us alone. Raises UpstreamError: another process is fetching it."""
    path = target.with_name(target.name + ".part")
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            said = f"{target.name} is being fetched by another process"
            raise UpstreamError(Fault.OVERLOADED, said, accepted=False) from None
        try:
            yield file
        finally:
            file.flush()
            if not os.fstat(file.fileno()).st_size:
                path.unlink(missing_ok=True)  # nothing has come


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
