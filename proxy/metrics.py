"""Counters and histograms in Prometheus' format, kept in plain dictionaries and rendered at a scrape.

Label values are few and ours: paths of the route table, upstream names, endings. Nothing a caller chooses becomes a label.
"""

from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric

from proxy import NAME
from proxy.call import Call, Ending, Usage

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_BOUNDS = [*(str(float(bound)) for bound in _SECONDS), "+Inf"]
Labels = tuple[str, ...]
# What the accounts say of themselves when somebody looks; `Accounts.state` has the same names.
_STATES = {
    "ledger_behind": "Rows that only the journal has",
    "ledger_trouble": "1 while the database does not take rows",
    "ledger_rows": "Rows written by this process",
    "ledger_commits": "Commits that they took",
    "ledger_scribe": "1 while a process of its own writes the rows of plain calls",
    "limits_silent": "1 while Redis does not answer and this process goes on with its share",
    "limits_redis_calls": "Script calls to Redis",
}


class Tally:
    """A counter that only the event loop's thread touches: the library's takes a lock for each, and five a call add up."""

    __slots__ = ("_help", "_labels", "_name", "counts")

    def __init__(self, name: str, help: str, labels: list[str]) -> None:
        self._name, self._help, self._labels = name, help, labels
        self.counts: dict[Labels, float] = {}

    def add(self, labels: Labels, amount: float = 1) -> None:
        counts = self.counts
        counts[labels] = counts.get(labels, 0) + amount

    def family(self) -> Metric:
        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for labels, count in self.counts.items():
            family.add_metric(labels, count)
        return family


class Spread:
    """A histogram of seconds, as `Tally` is a counter."""

    __slots__ = ("_help", "_labels", "_name", "cells")

    def __init__(self, name: str, help: str, labels: list[str]) -> None:
        self._name, self._help, self._labels = name, help, labels
        self.cells: dict[Labels, list[float]] = {}  # how many fell into each bucket, and behind them their sum

    def add(self, labels: Labels, seconds: float) -> None:
        cell = self.cells.get(labels)
        if cell is None:
            cell = self.cells[labels] = [0] * (len(_BOUNDS) + 1)
        cell[bisect_left(_SECONDS, seconds)] += 1
        cell[-1] += seconds

    def family(self) -> Metric:
        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        for labels, cell in self.cells.items():
            so_far, buckets = 0.0, []
            for bound, count in zip(_BOUNDS, cell[:-1], strict=True):
                so_far += count
                buckets.append((bound, so_far))
            family.add_metric(labels, buckets, cell[-1])
        return family


class Metrics:
    """One registry per process. `request` and `booked` are on the path of every call."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Tally(f"{NAME}_requests", "Requests by route and status", ["route", "status"])
        self._seconds = Spread(f"{NAME}_request_seconds", "From the request to the last byte", ["route"])
        self.running = Gauge(f"{NAME}_running_calls", "Calls that hold a permit", registry=self.registry)
        self.states = {name: Gauge(f"{NAME}_{name}", said, registry=self.registry) for name, said in _STATES.items()}
        self.endings = Tally(f"{NAME}_calls", "Calls by upstream and ending", ["upstream", "ending"])
        self.used: dict[str, list[int]] = {}  # tokens in and out, by upstream
        self.attempts = Tally(f"{NAME}_attempts", "Attempts by upstream and outcome", ["upstream", "outcome"])
        self.first_frame = Spread(f"{NAME}_first_frame_seconds", "From the attempt to its first frame", ["upstream"])
        self.unpriced = Tally(f"{NAME}_unpriced_calls", "Calls whose price is unknown", ["model"])
        self.replays = Tally(f"{NAME}_replays", "Answers given again instead of paid again", ["named"])
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for at a scrape."""
        calls = (self.endings, self.attempts, self.first_frame, self.unpriced, self.replays)
        for each in (self._requests, self._seconds, *calls):
            yield each.family()
        tokens = CounterMetricFamily(
            f"{NAME}_tokens", "Tokens by upstream and direction", labels=["upstream", "direction"]
        )
        for upstream, used in self.used.items():
            tokens.add_metric([upstream, "in"], used[0])
            tokens.add_metric([upstream, "out"], used[1])
        yield tokens

    def request(self, route: str, status: int, seconds: float) -> None:
        """One request ended."""
        self._requests.add((route, _STATUS.get(status) or str(status)))
        self._seconds.add((route,), seconds)

    def replayed(self, named: str) -> None:
        """An earlier call's answer was given: it was `named` by a key or by a retry."""
        self.replays.add((named,))

    def booked(self, call: Call, usage: Usage | None, ending: Ending) -> None:
        """One call that reached an upstream ended."""
        if not call.attempts:
            return
        for attempt in call.attempts:
            upstream = attempt.target.upstream
            self.attempts.add((upstream, attempt.error or "answered"))
            if attempt.error is None and attempt.ms is not None:
                self.first_frame.add((upstream,), attempt.ms / 1000)
        self.endings.add((upstream, ending))
        if usage is not None:
            used = self.used.get(upstream)
            if used is None:
                used = self.used[upstream] = [0, 0]
            used[0] += usage.prompt_tokens
            used[1] += usage.completion_tokens
        if call.plan is not None and call.plan.model.pricing is None and call.plan.model.listed:
            self.unpriced.add((call.plan.model.id,))

    def exposition(self) -> bytes:
        return bytes(generate_latest(self.registry))


_STATUS = {status: str(status) for status in range(100, 600)}
