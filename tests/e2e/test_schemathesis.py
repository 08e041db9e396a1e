"""Schemathesis over our own document: whatever it thinks of, an answer is never a 5xx of ours and always what the document
allows. The whole of it offline, as the program that users run; and chats before an evil upstream.
"""

import copy
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error

from fakes.evil import evil_thread
from fakes.gateway import Gateway, gateway, upstream
from fakes.offline import Offline, offline
from routes._openapi.document import document

TESTS = Path(__file__).resolve().parents[1]
CHECKS = (
    *("no_failure_of_ours", "limits_are_kept", "status_code_conformance", "content_type_conformance"),
    *("response_schema_conformance", "response_headers_conformance", "allow_header_conformance"),
)
ALL, QUICK = "examples,coverage,fuzzing", "examples,fuzzing"
# A server without a configuration file has none to read again: its 501 is the whole answer.
LEFT_OUT = ("--exclude-path", "/admin/reload")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offline]:
    with offline(tmp_path_factory.mktemp("offline")) as running:
        yield running


def resident() -> int:
    """Bytes of this process, in which the gateway runs."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def schemathesis_run(home: Offline, folder: Path, phases: str, examples: int, *more: str, timeout: int) -> int:
    """`schemathesis run` against the gateway, its document as it serves it. How many cases it made; all of them passed."""
    program = Path(sys.executable).with_name("schemathesis")
    done = subprocess.run(
        [
            *(
                str(program),
                "run",
                home.origin + "/openapi.json",
                "-H",
                f"Authorization: {home.headers['authorization']}",
            ),
            *("--phases", phases, "-n", str(examples), "-c", ",".join(CHECKS), "--seed", "7", "--workers", "1"),
            *("--no-color", "--continue-on-failure", *LEFT_OUT, *more),
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(TESTS), "SCHEMATHESIS_HOOKS": "fakes.schemathesis_hooks"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    found = re.search(r"(\d+) generated, \1 passed", done.stdout)
    assert found is not None, done.stdout[-3000:]
    return int(found[1])


CHAT = "/chat/completions$"  # has a thousand edges: they are walked at length, in `make test-slow`


def test_venice_s_prefix_and_the_root(home: Offline, tmp_path: Path) -> None:
    """Every constraint at its edges, and a few inventions; memory stays where it was."""
    before = resident()
    cases = schemathesis_run(home, tmp_path, ALL, 4, "--exclude-path-regex", f"^/v1/|{CHAT}", timeout=170)
    assert cases > 1000
    assert resident() - before < 200 << 20
    assert home.app.stays.gate.running == 0


def test_openai_s_prefix_and_chats(home: Offline, tmp_path: Path) -> None:
    assert schemathesis_run(home, tmp_path, QUICK, 6, "--include-path-regex", f"^/v1/|{CHAT}", timeout=120) > 100


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_both_prefixes_at_length(home: Offline, tmp_path: Path) -> None:
    before = resident()
    assert schemathesis_run(home, tmp_path, ALL, 100, timeout=3500) > 8000
    assert resident() - before < 300 << 20


schema = schemathesis.openapi.from_dict(copy.deepcopy(document()))  # it writes into what it is given
CHATS = schema.include(path_regex=r"/chat/completions$")


@pytest.fixture(scope="module")
def gate() -> Iterator[Gateway]:
    with evil_thread(models=("*",)) as mock, gateway(upstream(mock.url)) as running:
        yield running


@CHATS.parametrize()
@settings(
    max_examples=75,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_chats_before_an_evil_upstream(case: schemathesis.Case, gate: Gateway) -> None:
    if isinstance(case.body, dict):
        case.body["model"] = "m"  # past the first refusal, into the fields
    response = case.call(base_url=gate.origin)
    case.validate_response(response, checks=[not_a_server_error])
    assert response.status_code in (200, 400, 404, 405, 413, 415)
    assert response.headers["x-request-id"][0].startswith("req_")
    if response.status_code >= 400:
        assert response.json()["error"]
