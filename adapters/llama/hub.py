"""What `traghetto pull` was asked for → the files to fetch: a URL, a file of a hub, or a model of a hub and a quantisation.

Owns references, the hub's API and the choice of a file. Refuses to fetch weights (`download`) and to load anything.
Invariants: the token goes to the hub's own origin only; names of files stay below the folder they are kept in; where
several files could be meant, none is chosen.
"""

import re
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import msgspec

from adapters._http import TransportError
from adapters.llama.download import Downloader
from adapters.llama.gguf_meta import LATER_PART, part_names
from adapters.llama.partial import Broken, Part, failed
from proxy.errors import BadRequest, Fault, UpstreamError

HUB = "https://huggingface.co"
MOST_ANSWER = 32 << 20
LISTED = 12  # names in an error
_PREFERRED = ("Q4_K_M", "Q5_K_M", "Q8_0", "Q4_0", "F16", "BF16")
_REPOSITORY = re.compile(r"^[\w.-]+/[\w.-]+$", re.ASCII)


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Either `url`, or `repository` with a `file` or a `quantisation` (neither: a usual one)."""

    url: str = ""
    repository: str = ""
    file: str = ""
    quantisation: str = ""
    revision: str = "main"


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What to fetch, and what the hub says of it."""

    parts: list[Part]
    licence: str = ""
    page: str = ""
    gated: bool = False


def parse(text: str, hub: str = HUB) -> Reference:
    """`https://…`, `owner/name/file.gguf`, `owner/name` or `owner/name:Q4_K_M`; `@revision` at the end of the hub's.

    A URL of a file's page at the hub is that file. Raises BadRequest.
    """
    if re.match(r"^[a-z][a-z0-9+.-]*://", text, re.IGNORECASE):
        return _of_url(text, hub)
    text, _, revision = text.partition("@")
    base, _, quantisation = text.partition(":")
    pieces = base.split("/")
    repository, file = "/".join(pieces[:2]), "/".join(pieces[2:])
    if not _REPOSITORY.match(repository) or (file and quantisation) or not _is_inside(base):
        raise BadRequest(f"{text!r} is no URL, owner/name/file or owner/name:QUANTISATION.")
    return Reference(repository=repository, file=file, quantisation=quantisation, revision=revision or "main")


def _of_url(text: str, hub: str) -> Reference:
    parts = urlsplit(text)
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise BadRequest(f"{text!r} cannot be fetched: only http and https can.")
    if parts.username or parts.password:
        raise BadRequest("A URL with a password in it would end in logs; leave that out.")
    page = re.match(r"^/([\w.-]+/[\w.-]+)/(?:blob|resolve)/([^/]+)/(.+)$", parts.path)
    if page and parts.netloc == urlsplit(hub).netloc and _is_inside(unquote(page[3])):
        return Reference(repository=page[1], revision=unquote(page[2]), file=unquote(page[3]))
    return Reference(url=text)


def _is_inside(name: str) -> bool:
    """Whether a relative path stays below where it begins, and can be a file."""
    pieces = PurePosixPath(name).parts
    return bool(pieces) and not name.startswith("/") and not ({"..", "."} & set(pieces)) and "\0" not in name


async def find(
    reference: Reference, downloader: Downloader, *, hub: str = HUB, sha256: str = "", name: str = ""
) -> Found:
    """Asks the hub, if it is one's. `sha256` and `name` are what the caller knows of the (one) file, and calls it.

    Raises:
        UpstreamError: the hub does not have it. BadRequest: it is not clear what is meant.
    """
    if reference.url:
        name = name or unquote(urlsplit(reference.url).path.rpartition("/")[2])
        if not _is_inside(name):
            raise BadRequest("The URL does not end with the name of a file; give it with --name.")
        return Found(parts=[Part(url=reference.url, name=name, sha256=sha256)])
    about = await _about(reference, downloader, hub)
    files = _files(about)
    chosen = _chosen(reference, files)
    if (sha256 or name) and len(chosen) > 1:
        raise BadRequest(f"The model has {len(chosen)} files, so one SHA-256 or name says nothing about it.")
    parts = [_part(name, files.get(name, {}), reference, hub, sha256) for name in chosen]
    if name and _is_inside(name):
        parts = [msgspec.structs.replace(part, name=name) for part in parts]
    page = f"{hub}/{reference.repository}"
    return Found(parts=parts, licence=_licence(about), page=page, gated=bool(about.get("gated")))


async def _about(reference: Reference, downloader: Downloader, hub: str) -> dict[str, Any]:
    """What the hub's API says; of a file that is named, nothing is needed, so a hub without an API is none the worse."""
    url = f"{hub}/api/models/{reference.repository}/revision/{quote(reference.revision, safe='')}?blobs=true"
    try:
        async with downloader.opened(url) as response:
            if response.status == 200:
                answer = msgspec.json.decode(await response.read(MOST_ANSWER))
                return answer if isinstance(answer, dict) else {}
            if response.status == 404 and reference.file:
                return {}
            raise failed(response.status, f"{hub}/{reference.repository}")
    except (Broken, TransportError) as error:
        raise UpstreamError(Fault.CONNECT, f"{hub} does not answer ({error})", accepted=False) from None
    except msgspec.DecodeError:
        if reference.file:
            return {}
        raise UpstreamError(Fault.MALFORMED, f"{hub} does not answer as a hub does", accepted=False) from None


def _files(about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """name → what is known of it."""
    listed = about.get("siblings")
    rows = listed if isinstance(listed, list) else []
    named = {row["rfilename"]: row for row in rows if isinstance(row, dict) and isinstance(row.get("rfilename"), str)}
    return {name: row for name, row in named.items() if _is_inside(name)}


def _chosen(reference: Reference, files: dict[str, dict[str, Any]]) -> list[str]:
    """The names to fetch: one, or all parts of a split model."""
    if reference.file:
        if files and reference.file not in files:
            raise _none(reference, list(files), f"There is no file {reference.file!r} in {reference.repository}")
        return part_names(reference.file)
    models = [
        name
        for name in files
        if name.lower().endswith(".gguf") and "mmproj" not in name.lower() and not LATER_PART.search(name)
    ]
    wanted = (reference.quantisation,) if reference.quantisation else _PREFERRED
    for quantisation in wanted:
        found = [name for name in models if _is_of(name, quantisation)]
        if len(found) == 1:
            return part_names(found[0])
        if found:
            raise _none(reference, found, f"{quantisation} could be several files of {reference.repository}")
    if len(models) == 1 and not reference.quantisation:
        return part_names(models[0])
    said = (
        f"no {reference.quantisation} file" if reference.quantisation else "no file that is meant without being named"
    )
    raise _none(reference, models, f"There is {said} in {reference.repository}")


def _is_of(name: str, quantisation: str) -> bool:
    return re.search(rf"(^|[-._/]){re.escape(quantisation)}([-._/]|$)", name, re.IGNORECASE) is not None


def _none(reference: Reference, names: list[str], said: str) -> BadRequest:
    shown = sorted(name for name in names if name.lower().endswith(".gguf"))
    more = f" and {len(shown) - LISTED} more" if len(shown) > LISTED else ""
    listed = ", ".join(f"{reference.repository}/{name}" for name in shown[:LISTED])
    return BadRequest(f"{said}; there {'are' if listed else 'is'} {listed or 'no GGUF file'}{more}.")


def _part(name: str, known: dict[str, Any], reference: Reference, hub: str, sha256: str) -> Part:
    large = known.get("lfs")
    stored = large if isinstance(large, dict) else {}
    digest, size = stored.get("sha256"), stored.get("size", known.get("size"))
    url = f"{hub}/{reference.repository}/resolve/{quote(reference.revision, safe='')}/{quote(name)}"
    return Part(
        url=url,
        name=f"{reference.repository}/{name}",
        size=size if isinstance(size, int) and size >= 0 else None,
        sha256=sha256 or (digest.lower() if isinstance(digest, str) else ""),
    )


def _licence(about: dict[str, Any]) -> str:
    card = about.get("cardData")
    if not isinstance(card, dict):
        return ""
    said = [card.get(key) for key in ("license_name", "license", "license_link")]
    flat = [text for item in said for text in (item if isinstance(item, list) else [item]) if isinstance(text, str)]
    return ", ".join(dict.fromkeys(text for text in flat if text))[:300]
