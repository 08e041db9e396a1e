"""What a scrape reads."""

from prometheus_client.parser import text_string_to_metric_families

from proxy.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_requests_are_counted_by_route_and_status() -> None:
    metrics = Metrics()
    for status, seconds in ((200, 0.02), (200, 3.0), (503, 0.001)):
        metrics.request("/v1/chat/completions", status, seconds)
    metrics.running.set(2)
    found = samples(metrics)
    route = ("route", "/v1/chat/completions")
    assert found["traghetto_requests_total", (route, ("status", "200"))] == 2
    assert found["traghetto_requests_total", (route, ("status", "503"))] == 1
    assert found["traghetto_request_seconds_count", (route,)] == 3
    assert found["traghetto_request_seconds_bucket", (("le", "0.025"), route)] == 2
    assert found["traghetto_running_calls", ()] == 2


def test_each_process_has_its_own_registry() -> None:
    one, other = Metrics(), Metrics()
    one.request("/livez", 200, 0.1)
    assert ("traghetto_requests_total", (("route", "/livez"), ("status", "200"))) not in samples(other)
