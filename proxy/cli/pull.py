"""traghetto pull: model files from a hub or a URL, into the folder that the local engine looks in.

Owns options, the progress that is shown and the last words. Refuses to know how files come (`adapters.llama.hub` and
`download`). Invariant: what it says is here is whole, and says whether it was compared with a checksum.
"""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.options import with_config, with_json

if TYPE_CHECKING:
    from adapters.llama.hub import Found
    from adapters.llama.partial import Fetched
    from adapters.options import LlamaOptions

HUB = "https://huggingface.co"


@click.command()
@click.argument("reference")
@with_config
@with_json
@click.option("--upstream", help="The local engine whose models_dir and allow_sha256 count. Default: the first.")
@click.option(
    "--to", "folder", type=click.Path(path_type=Path, file_okay=False), help="Another folder than models_dir."
)
@click.option("--name", help="The file's name there; for a URL that does not end with one.")
@click.option("--sha256", default="", help="What the file's SHA-256 must be. Hubs say it themselves.")
@click.option("--hub", envvar="HF_ENDPOINT", default=HUB, show_default=True, help="The hub. Also from HF_ENDPOINT.")
def pull(path: Path | None, as_json: bool, **options: Any) -> None:
    """Fetch a model: owner/name/file.gguf, owner/name:Q4_K_M or owner/name of the hub (@revision at the end), or a URL.

    What was cut goes on where it stopped when the same command is run again. A token for the hub is taken from HF_TOKEN.
    """
    import msgspec

    engine, name = _engine(path, options["upstream"])
    folder = options["folder"] or Path(engine.models_dir).expanduser()
    job = Job(engine, folder, options["hub"].rstrip("/"), quiet=as_json)
    try:
        found, fetched = asyncio.run(job.run(options["reference"], options["sha256"].lower(), options["name"]))
    except KeyboardInterrupt:
        raise click.ClickException("interrupted; the same command goes on from here") from None
    licence = _licence(fetched[0].path) or found.licence
    if as_json:
        rows = [{"path": str(f.path), "bytes": f.size, "sha256": f.sha256, "checked": f.checked} for f in fetched]
        click.echo(msgspec.json.encode({"model": job.model, "licence": licence, "files": rows}).decode())
        return
    for file in fetched:
        state = "was here already" if file.was_here else "fetched"
        compared = "compared" if file.checked else "there was nothing to compare it with"
        click.echo(f"{file.path}: {state}, {file.size:,} bytes, sha256 {file.sha256} ({compared})")
    click.echo(f"licence: {licence or 'none is named; ask its makers before you use it'}")
    if not options["folder"]:
        click.echo(f'serve it as a target: {{upstream = "{name or "local"}", model = "{job.model}"}}')


class Job:
    """One pull: find, say, fetch."""

    def __init__(self, engine: "LlamaOptions", folder: Path, hub: str, *, quiet: bool) -> None:
        self.model = ""
        self._engine = engine
        self._folder = folder
        self._hub = hub
        self._quiet = quiet

    async def run(self, text: str, sha256: str, name: str | None) -> tuple["Found", list["Fetched"]]:
        """Raises TraghettoError."""
        from adapters.llama import hub
        from adapters.llama.download import Downloader

        downloader = Downloader(token=os.environ.get("HF_TOKEN", ""), origin=self._hub)
        try:
            reference = hub.parse(text, self._hub)
            found = await hub.find(reference, downloader, hub=self._hub, sha256=sha256, name=name or "")
            self.model = found.parts[0].name
            if not self._quiet:
                self._announce(found)
            fetched = []
            with _Bar(self._quiet) as bar:
                for part in found.parts:
                    allowed = frozenset(digest.lower() for digest in self._engine.allow_sha256)
                    told = bar.of(part.name, part.size)
                    fetched.append(await downloader.fetch(part, self._folder, on_bytes=told, allowed=allowed))
            return found, fetched
        finally:
            await downloader.aclose()

    @staticmethod
    def _announce(found: "Found") -> None:
        sizes = [part.size for part in found.parts if part.size is not None]
        size = f", {sum(sizes) / 1e6:,.1f} MB" if len(sizes) == len(found.parts) else ""
        files = f"{len(found.parts)} files, the first " if len(found.parts) > 1 else ""
        click.echo(f"{files}{found.parts[0].name}{size}", err=True)
        if found.page:
            click.echo(f"card: {found.page}  licence: {found.licence or 'none is named on its card'}", err=True)


class _Bar:
    """rich's progress on standard error; nothing where nobody looks."""

    def __init__(self, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (
            *(TextColumn("{task.description}"), BarColumn(), DownloadColumn()),
            *(TransferSpeedColumn(), TimeRemainingColumn()),
        )
        console = Console(stderr=True)
        self._progress = Progress(*columns, console=console, disable=quiet or not console.is_terminal)

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def of(self, name: str, size: int | None) -> Any:
        task = self._progress.add_task(name.rpartition("/")[2], total=size)
        return lambda done, total: self._progress.update(task, completed=done, total=total)


def _engine(path: Path | None, upstream: str | None) -> tuple["LlamaOptions", str]:
    """The options of the local engine that the files are for, and its name. Without a file, or one in it: the defaults."""
    from adapters.options import LlamaOptions
    from proxy.app import read_config
    from proxy.errors import ConfigError

    config, file = read_config(path)
    engines = {name: options for name, options in config.upstreams.items() if isinstance(options, LlamaOptions)}
    if upstream is not None and upstream not in engines:
        expected = ", ".join(engines) or "an upstream of kind llama"
        raise ConfigError(f"there is no local engine {upstream!r}", file=file, where="upstreams", expected=expected)
    name = upstream or next(iter(engines), "")
    return (engines[name], name) if name else (LlamaOptions(), "")


def _licence(path: Path) -> str:
    """As the file's own header has it."""
    from adapters.llama.gguf_meta import GgufError, read_one

    if path.suffix != ".gguf":
        return ""
    try:
        values = read_one(str(path)).values
    except GgufError:
        return ""
    said = [values.get(f"general.license{more}") for more in (".name", "", ".link")]
    return ", ".join(text for text in said if isinstance(text, str) and text)[:300]
