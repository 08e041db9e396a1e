"""The pictures of a chat, before the engine sees them: found in the messages, fetched, measured, and put beside them.

Owns the limits on their number, bytes and pixels, and what a caller is told of one that cannot be had. Refuses to decode
what the engine can decode itself, and to know projectors. Invariants: a URL is fetched under the guard's policy and
nowhere else; what goes on is a whole PNG, JPEG or GIF of bounded size by its header; an error names the part.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from adapters.download import download
from adapters.guard import UrlPolicy
from adapters.llama.spec import Generate
from proxy.errors import BadRequest, BodyTooLarge, TraghettoError
from proxy.media import images
from proxy.media.inspect import MAX_PIXELS, MAX_UPSCALED_PIXELS, ImageHeader, check
from proxy.media.payload import Payload

MOST = 16  # pictures of one call
MOST_BYTES = 16 << 20  # of one, as a file
ALL_BYTES = 40 << 20  # of all, so that a frame to the engine holds them
ALL_PIXELS = MAX_PIXELS
FLATTEST = 200  # times as long as wide, or the other way round
TIMEOUT_S = 20.0
_AT_ONCE = 8
_INLINE = 1 << 20  # bytes that are decoded on the loop
_ORIENTATION, _MOST_TAGS = 0x0112, 200  # of EXIF


class Pictures:
    """`shown` for calls of one upstream. `hosts` as in `UrlPolicy`; none: any public host, by https."""

    def __init__(self, hosts: Sequence[str] = ()) -> None:
        self._policy = UrlPolicy(hosts or None)
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def shown(self, asked: Generate) -> Generate:
        """The call with its pictures beside the messages. BadRequest and BodyTooLarge name the part at fault."""
        found = list(_parts(asked.messages or []))
        if not found:
            return asked
        if len(found) > MOST:
            where = found[MOST][0]
            raise BadRequest(f"{where}: expected at most {MOST} images, got {len(found)}.", param=where)
        wanted = {url: where for where, url, _ in reversed(found)}  # one that is shown twice is fetched once
        async with asyncio.TaskGroup() as group:
            tasks = {url: group.create_task(self._caught(where, url)) for url, where in wanted.items()}
        files: dict[str, bytes] = {}
        pixels = size = 0
        for where, url, _ in found:
            given = tasks[url].result()
            if isinstance(given, TraghettoError):
                raise given
            data, header = given
            files[url] = data
            size, pixels = size + len(data), pixels + header.pixels
            if size > ALL_BYTES or pixels > ALL_PIXELS:
                most = f"{ALL_BYTES >> 20} MiB and {ALL_PIXELS:,} pixels"
                raise BodyTooLarge(
                    f"{where}: expected images of at most {most} together.", param=where, code="image_too_large"
                )
        order = list(files)
        replace = {where: order.index(url) for where, url, _ in found}
        messages = [_with_numbers(message, at, replace) for at, message in enumerate(asked.messages or [])]
        return msgspec.structs.replace(asked, messages=messages, images=[files[url] for url in order])

    async def _caught(self, where: str, url: str) -> tuple[bytes, ImageHeader] | TraghettoError:
        """An error as a value: the first one in the order of the messages is told, not the first in time."""
        try:
            async with self._room:
                return await self._one(where, url)
        except TraghettoError as error:
            return error

    async def _one(self, where: str, url: str) -> tuple[bytes, ImageHeader]:
        payload = await self._payload(where, url)
        header = check(payload, min_pixels=1, max_pixels=MAX_UPSCALED_PIXELS)
        if max(header.width, header.height) > FLATTEST * min(header.width, header.height):
            said = f"expected sides of at most 1:{FLATTEST}, got {header.width}x{header.height}"
            raise BadRequest(f"{where}: {said}.", param=where)
        if header.format == "webp":  # what the engine's own decoder does not know
            return (await images.convert(payload, images.Finish("png"))).data, header
        data = payload.read() if len(payload) <= _INLINE else await asyncio.to_thread(payload.read)
        if header.format == "jpeg" and lies(data):
            return (await images.convert(payload, images.Finish("jpeg", quality=95))).data, header
        return data, header

    async def _payload(self, where: str, url: str) -> Payload:
        if url[:5].lower() == "data:":
            payload = Payload.from_text(url, field=where)
        elif url[:8].lower().startswith(("http://", "https://")):
            got = await download(
                url,
                policy=self._policy,
                max_bytes=MOST_BYTES,
                refuse=_refusal(where),
                timeout_s=TIMEOUT_S,
                what="image",
            )
            payload = Payload(got.body, field=where)
        else:
            raise BadRequest(f"{where}: expected an https URL or a base64 data URL of an image.", param=where)
        if len(payload) > MOST_BYTES:
            text = f"{where}: expected an image of at most {MOST_BYTES >> 20} MiB."
            raise BodyTooLarge(text, param=where, code="image_too_large")
        return payload


def lies(jpeg: bytes) -> bool:
    """Whether a photograph is to be turned before it is looked at, as its EXIF orientation says."""
    at = jpeg.find(b"Exif\0\0", 0, 1 << 16) + 6
    order: Literal["little", "big"] = "little" if jpeg[at : at + 2] == b"II" else "big"
    if at < 6 or jpeg[at : at + 2] not in (b"II", b"MM"):
        return False
    start = at + int.from_bytes(jpeg[at + 4 : at + 8], order)
    count = int.from_bytes(jpeg[start : start + 2], order)
    for entry in range(start + 2, start + 2 + 12 * min(count, _MOST_TAGS), 12):
        if int.from_bytes(jpeg[entry : entry + 2], order) == _ORIENTATION:
            return int.from_bytes(jpeg[entry + 8 : entry + 10], order) > 1
    return False


def _refusal(where: str) -> Callable[[str], TraghettoError]:
    def refuse(reason: str) -> TraghettoError:
        return BadRequest(f"{where}: the image could not be fetched: {reason}.", param=where)

    return refuse


def _parts(messages: list[dict[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(where, URL, part) of every picture, in order. BadRequest for one without a URL."""
    for at, message in enumerate(messages):
        content = message.get("content")
        for index, part in enumerate(content if isinstance(content, list) else ()):
            if not isinstance(part, dict) or part.get("type") != "image_url":
                continue
            where = f"messages[{at}].content[{index}].image_url.url"
            given = part.get("image_url")
            url = given.get("url") if isinstance(given, dict) else given
            if not isinstance(url, str):
                raise BadRequest(f"{where}: expected a URL.", param=where)
            yield where, url, part


def _with_numbers(message: dict[str, Any], at: int, numbers: dict[str, int]) -> dict[str, Any]:
    """The message with the number of the file in place of each picture's URL."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    parts = list(content)
    for index in range(len(parts)):
        number = numbers.get(f"messages[{at}].content[{index}].image_url.url")
        if number is not None:
            parts[index] = {"type": "image_url", "image": number}
    return {**message, "content": parts}
