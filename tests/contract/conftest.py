"""What several suites of this folder want: the databases that we speak."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.services import Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all; whoever stops it starts it again."""
    server = Postgres()
    server.start()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database of each kind. PostgreSQL's has what the tests before have left there."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/books.db"
    server: Postgres = request.getfixturevalue("postgres")
    if server.process is None or server.process.poll() is not None:
        server.start()
    return server.url
