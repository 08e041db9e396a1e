"""The server's pepper: a secret outside the database, without which its rows prove nothing. It is read, or made, once.

It stands in `TRAGHETTO_PEPPER`, or in a file beside an SQLite database, which only its owner can read. Whoever loses it
has to make new keys; with several machines the variable must be the same on all of them.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from proxy.errors import ConfigError

VARIABLE = "TRAGHETTO_PEPPER"
SIZE = 32


def load(file: Path, env: Mapping[str, str] = os.environ) -> bytes:
    """The pepper; the first who asks makes it. `file` is where it is kept if the variable is not set.

    Raises:
        ConfigError: it is too short, or cannot be read or made.
    """
    given = env.get(VARIABLE, "")
    if given:
        if len(given) < SIZE:
            raise ConfigError("too short", where=VARIABLE, expected=f"{SIZE} characters or more, from a random source")
        return given.encode()
    try:
        return _kept(file)
    except OSError as error:
        raise ConfigError(
            f"the key file {file} cannot be used: {error.strerror}",
            where=VARIABLE,
            expected=f"the variable {VARIABLE}, or a folder that can be written",
        ) from error


def _kept(file: Path) -> bytes:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f"{file.name}.{os.getpid()}-{secrets.token_hex(4)}")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(fd, secrets.token_hex(SIZE).encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        try:
            os.link(draft, file)  # whole or not at all, and never over somebody else's
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    text = file.read_bytes().strip()
    if len(text) < SIZE:
        raise ConfigError(f"the key file {file} is damaged", where=VARIABLE, expected=f"{2 * SIZE} hexadecimal signs")
    return text
