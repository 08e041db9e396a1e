"""`traghetto`, and `python -m proxy`. First it makes sure that the three packages are ours: other distributions ship the
same names, and pip overwrites silently (docs/adr/0001).
"""

import sys
from importlib.util import find_spec
from pathlib import Path


def _strangers() -> list[str]:
    here = Path(__file__).resolve().parent.parent
    found = {name: find_spec(name) for name in ("routes", "adapters")}
    return [
        name
        for name, spec in found.items()
        if spec is None or spec.origin is None or Path(spec.origin).resolve().parent.parent != here
    ]


def main() -> None:
    if strangers := _strangers():
        sys.stderr.write(
            f"traghetto: another distribution shadows {', '.join(strangers)}; "
            "install traghetto into an environment of its own (uv tool install traghetto, or pipx).\n"
        )
        raise SystemExit(78)
    from proxy.cli import cli

    cli()


if __name__ == "__main__":
    main()
