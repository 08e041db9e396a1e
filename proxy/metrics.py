"""Counters and histograms in Prometheus' format. Overhead is a call's time less the time its upstreams had it.

Label values are few and ours: paths of the route table, upstream names, endings. Nothing a caller chooses becomes a label.
"""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from proxy import NAME
from proxy.call import Call, Ending, Usage

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """One registry per process. `request` is on the hot path: children are looked up once and kept."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            f"{NAME}_requests", "Requests by route and status", ["route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            f"{NAME}_request_seconds",
            "From the request to the last byte",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.running = Gauge(f"{NAME}_running_calls", "Calls that hold a permit", registry=self.registry)
        self.endings = Counter(
            f"{NAME}_calls", "Calls by upstream and ending", ["upstream", "ending"], registry=self.registry
        )
        self.tokens = Counter(
            f"{NAME}_tokens", "Tokens by upstream and direction", ["upstream", "direction"], registry=self.registry
        )
        self.attempts = Counter(
            f"{NAME}_attempts", "Attempts by upstream and outcome", ["upstream", "outcome"], registry=self.registry
        )
        self.first_frame = Histogram(
            f"{NAME}_first_frame_seconds",
            "From the attempt to its first frame",
            ["upstream"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.unpriced = Counter(
            f"{NAME}_unpriced_calls", "Calls whose price is unknown", ["model"], registry=self.registry
        )
        self._children: dict[tuple[Any, tuple[str, ...]], Any] = {}
        self._by_status: dict[tuple[str, int], Counter] = {}
        self._by_route: dict[str, Histogram] = {}

    def request(self, route: str, status: int, seconds: float) -> None:
        """One request ended."""
        key = (route, status)
        counter = self._by_status.get(key)
        if counter is None:
            counter = self._by_status[key] = self._requests.labels(route, str(status))
        counter.inc()
        histogram = self._by_route.get(route)
        if histogram is None:
            histogram = self._by_route[route] = self._seconds.labels(route)
        histogram.observe(seconds)

    def booked(self, call: Call, usage: Usage | None, ending: Ending) -> None:
        """One call that reached an upstream ended."""
        for attempt in call.attempts:
            upstream = attempt.target.upstream
            self._child(self.attempts, upstream, attempt.error or "answered").inc()
            if attempt.error is None and attempt.ms is not None:
                self._child(self.first_frame, upstream).observe(attempt.ms / 1000)
        if not call.attempts:
            return
        upstream = call.attempts[-1].target.upstream
        self._child(self.endings, upstream, ending.value).inc()
        if usage is not None:
            self._child(self.tokens, upstream, "in").inc(usage.prompt_tokens)
            self._child(self.tokens, upstream, "out").inc(usage.completion_tokens)
        if call.plan is not None and call.plan.model.pricing is None and call.plan.model.listed:
            self._child(self.unpriced, call.plan.model.id).inc()

    def _child(self, metric: Any, *labels: str) -> Any:
        """A metric's child, looked up once: the library's own look-up takes a lock."""
        key = (metric, labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child

    def exposition(self) -> bytes:
        return bytes(generate_latest(self.registry))
