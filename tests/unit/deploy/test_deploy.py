"""What is in deploy/ says what the program does: files parse, configurations load, options and metrics exist."""

import configparser
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
import yaml

from adapters.options import KINDS
from proxy import catalogue
from proxy import config as configuration
from proxy.cli import cli
from proxy.config import Config, ModelRow, Server
from proxy.metrics import Metrics
from routes import TABLE

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
ENVIRONMENT = {"TRAGHETTO_STORE": "postgresql://u:p@host/db", "TRAGHETTO_REDIS": "redis://host:6379/0"}


def text_of(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def documents(name: str) -> dict[str, Any]:
    """The documents of a Kubernetes file, by kind."""
    return {document["kind"]: document for document in yaml.safe_load_all(text_of(name))}


def accepted(words: list[str]) -> dict[str, Any]:
    """The command line of our own command, parsed as it would be; click refuses what it does not know."""
    command = cli.get_command(click.Context(cli), words[0])
    assert command is not None, words
    return dict(command.make_context(words[0], words[1:]).params)


def paths() -> set[str]:
    return {route.path for route in TABLE if not route.prefixed}


def without_defaults(struct: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(struct)}


# --- the example configuration ---


def test_the_example_loads_without_any_variable() -> None:
    config = configuration.load(DEPLOY / "traghetto.toml", KINDS, {})
    assert {type(o).__struct_config__.tag for o in config.upstreams.values()} == set(KINDS)
    assert catalogue.build(config).models


def uncommented() -> str:
    """The example with its commented keys switched on."""
    return re.sub(r"^# (?=\w+ = )", "", text_of("traghetto.toml"), flags=re.MULTILINE)


def test_the_example_shows_every_key() -> None:
    text = uncommented()
    config = configuration.loads(text, KINDS, {"WEBHOOK_SECRET": "w"})
    assert config.store.redis == "redis://127.0.0.1:6379/0"
    wanted = without_defaults(Config) | without_defaults(Server) | without_defaults(ModelRow)
    for struct in (*KINDS.values(), *nested(Config)):
        wanted |= without_defaults(struct)
    shown = set(re.findall(r"(?<![\w-])([a-z][a-z0-9_]*)\s*=", text)) | set(re.findall(r"^\[(\w+)", text, re.MULTILINE))
    assert sorted(wanted - shown) == []


def nested(struct: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    """Every Struct below one."""
    todo, seen = [msgspec.inspect.type_info(struct)], set()
    while todo:
        info = todo.pop()
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls in seen:
                continue
            seen.add(info.cls)
            yield info.cls
            todo += [field.type for field in info.fields]
        todo += [part for name in ("value_type", "item_type") if (part := getattr(info, name, None))]
        todo += getattr(info, "types", ())


def test_compose_and_kubernetes_configurations_load() -> None:
    for text in (text_of("compose.toml"), documents("k8s.yaml")["ConfigMap"]["data"]["traghetto.toml"]):
        config = configuration.loads(text, KINDS, ENVIRONMENT)
        assert config.auth.required is True
        assert (config.store.url, config.store.redis) == tuple(ENVIRONMENT.values())
        assert catalogue.build(config).models


# --- the image ---


def dockerfile() -> list[tuple[str, str]]:
    """(instruction, rest), continuation lines joined, comments dropped."""
    lines = [line for line in text_of("Dockerfile").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]  # type: ignore[misc]


def test_the_image_is_built_in_two_stages_and_runs_as_nobody() -> None:
    steps = dockerfile()
    assert [rest for step, rest in steps if step == "FROM"] == ["python:3.11-slim AS build", "python:3.11-slim"]
    last = steps[[i for i, (step, _) in enumerate(steps) if step == "FROM"][-1] :]
    assert int(next(rest for step, rest in last if step == "USER")) > 1000
    health = next(rest for step, rest in last if step == "HEALTHCHECK")
    found = re.search(r"http://127\.0\.0\.1:8000(/\w+)", health)
    assert found
    assert found[1] in paths()


def test_the_image_starts_our_command() -> None:
    steps = dict(dockerfile())
    assert json.loads(steps["ENTRYPOINT"]) == ["traghetto"]
    words = json.loads(steps["CMD"])
    assert accepted(words) | {"host": "0.0.0.0", "port": 8000} == accepted(words)


def test_what_the_image_copies_is_there_and_is_let_through() -> None:
    let_through = {line[1:] for line in text_of("Dockerfile.dockerignore").splitlines() if line.startswith("!")}
    copied = [w for step, rest in dockerfile() if step == "COPY" and "--from" not in rest for w in rest.split()[:-1]]
    assert {"requirements.lock", "pyproject.toml", "proxy", "routes", "adapters"} <= set(copied)
    for name in copied:
        assert (ROOT / name).exists(), name
        assert name in let_through, name


# --- compose ---


def test_compose_knows_its_services_volumes_and_files() -> None:
    compose = yaml.safe_load(text_of("compose.yaml"))
    services = compose["services"]
    assert set(services) == {"traghetto", "redis", "postgres"}
    ours = services["traghetto"]
    assert set(ours["depends_on"]) <= set(services)
    assert all("healthcheck" in services[name] for name in ours["depends_on"])
    assert (DEPLOY / ours["build"]["context"] / ours["build"]["dockerfile"]).is_file()
    for service in services.values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"]


def test_compose_gives_every_variable_that_its_configuration_asks_for() -> None:
    given = yaml.safe_load(text_of("compose.yaml"))["services"]["traghetto"]["environment"]
    assert set(re.findall(r"\$\{(\w+)", text_of("compose.toml"))) <= set(given)


# --- systemd ---


@pytest.fixture
def unit() -> dict[str, list[tuple[str, str]]]:
    """section → directives in order; a name may come twice."""
    sections: dict[str, list[tuple[str, str]]] = {}
    section = ""
    for line in text_of("traghetto.service").splitlines():
        if found := re.fullmatch(r"\[(\w+)\]", line):
            section = found[1]
            sections[section] = []
        elif line and not line.startswith("#"):
            name, separator, value = line.partition("=")
            assert separator, line
            sections[section].append((name, value))
    return sections


def test_the_unit_starts_our_command(unit: dict[str, list[tuple[str, str]]]) -> None:
    assert set(unit) == {"Unit", "Service", "Install"}
    service = dict(unit["Service"])
    program, *words = shlex.split(service["ExecStart"])
    assert program.endswith("/traghetto")
    assert accepted(words)["path"] == Path("/etc/traghetto/traghetto.toml")
    assert "HUP" in service["ExecReload"]
    assert service["RestartPreventExitStatus"] == "78"
    assert int(service["TimeoutStopSec"]) > Server().drain_s


def test_the_unit_is_hardened(unit: dict[str, list[tuple[str, str]]]) -> None:
    wanted = {"DynamicUser": "yes", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "CapabilityBoundingSet": ""}
    wanted |= {"ProtectHome": "yes", "PrivateTmp": "yes", "SystemCallFilter": "@system-service"}
    assert wanted.items() <= dict(unit["Service"]).items()
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(text_of("traghetto.service"))
    assert parser["Install"]["WantedBy"] == "multi-user.target"


# --- kubernetes ---


def test_kubernetes_probes_routes_that_exist_and_selects_its_own_pods() -> None:
    found = documents("k8s.yaml")
    pod = found["Deployment"]["spec"]["template"]
    container = pod["spec"]["containers"][0]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in paths()
    labels = pod["metadata"]["labels"].items()
    for selector in (
        found["Deployment"]["spec"]["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert found["Service"]["spec"]["ports"][0]["targetPort"] in ports
    assert ports["http"] == Server().port
    assert accepted(container["args"])["path"] == Path("/etc/traghetto/traghetto.toml")


def test_kubernetes_gives_every_variable_and_volume_and_lets_calls_end() -> None:
    found = documents("k8s.yaml")
    spec = found["Deployment"]["spec"]["template"]["spec"]
    container = spec["containers"][0]
    text = found["ConfigMap"]["data"]["traghetto.toml"]
    assert set(re.findall(r"\$\{(\w+)", text)) <= {row["name"] for row in container["env"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}
    config = configuration.loads(text, KINDS, ENVIRONMENT)
    assert "TRAGHETTO_PEPPER" in {row["name"] for row in container["env"]}, "or no copy knows the keys of another"
    assert config.store.replicas > found["Deployment"]["spec"]["replicas"], "one more runs while a new version comes"
    drain = config.server.drain_s
    assert spec["terminationGracePeriodSeconds"] > drain + int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


# --- watching ---


def metric_names() -> set[str]:
    """Every name that a query can use."""
    names = set()
    for metric in Metrics().registry.collect():
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(metric.type, [""])
        names |= {metric.name + ending for ending in endings}
    return names


def test_prometheus_scrapes_a_route_that_exists() -> None:
    job = yaml.safe_load(text_of("prometheus.yml"))["scrape_configs"][0]
    assert job["metrics_path"] in paths()
    assert job["static_configs"][0]["targets"] == [f"{Server().host}:{Server().port}"]


def test_the_dashboard_asks_for_metrics_and_labels_that_exist() -> None:
    panels = json.loads(text_of("grafana.json"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 6
    labels = {"le"} | {label for family in Metrics().registry.collect() for label in getattr(family, "_labelnames", ())}
    for query in (target["expr"] for panel in panels for target in panel["targets"]):
        assert set(re.findall(r"\btraghetto_\w+", query)) <= metric_names(), query
        for group in re.findall(r"by \(([^)]*)\)", query):
            assert set(re.split(r",\s*", group)) <= labels, query


# --- make ---


def test_make_bench_runs_the_benchmarks_and_nothing_else() -> None:
    found = re.search(r"^BENCH \?= (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    scripts = {
        p.stem for p in (ROOT / "tests/bench").glob("*.py") if "ArgumentParser(" in p.read_text(encoding="utf-8")
    }
    assert set(found[1].split()) == scripts
