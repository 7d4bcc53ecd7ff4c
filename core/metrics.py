"""What the hub counts: per connection and stage, in Prometheus' text format. One `Metrics` per process, or per test."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.samples import Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metrics:
    """Use as `metrics.refused.labels("aircall", "signature").inc()`; labels stand in the order given here.

    Label values are names of ours (connections, stages, reasons as short words), never a source's text: they stay few
    and hold nobody's data.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        each = ("connection",)
        self.received = self._counter("received", "Deliveries that came in.", *each)
        self.refused = self._counter("refused", "Deliveries refused.", *each, "reason", "status")
        self.ignored = self._counter("ignored", "Payloads of a kind that is not known or not needed.", *each)
        self.polled = self._counter("polled", "Payloads that polls brought.", *each, "stream")
        self.hydrated = self._counter("hydrated", "Objects fetched because a delivery named them.", *each)
        self.published = self._counter("published", "Events put on the bus.", *each)
        self.applied = self._counter("applied", "Events applied to the store.", *each)
        self.missing = self._counter("missing", "Events that webhooks should have told, and a sweep found.", *each)
        self.repaired = self._counter("repaired", "Of these, those that are applied.", *each)
        self.dead = self._counter("dead", "Inputs that became dead letters.", *each, "stage")
        self.drift = self._counter("drift", "Fields of payloads that are new, missing or of another type.", *each)
        self.failed = self._counter("failed", "Requests to the source that failed after retries.", *each)
        self.customers = self._counter("customers", "Versions of customers sent to the feed.")
        of_past = "process-past: of what first fetches brought"
        self.lag = self._gauge("lag", f"Messages that a group has still to read; {of_past}.", "group")
        self.requests = self._counter("requests", "Requests sent to the source.", *each, "purpose")
        self.limit = self._gauge("limit", "Requests that the source allows per window, for all together.", *each)
        self.left = self._gauge("left", "Of these, what the hub may still send in this window.", *each)
        self.waiting = self._gauge("waiting", "Requests that wait for their turn.", *each, "purpose")
        self.healthy = self._gauge("healthy", "1 while the source answers, 0 while it does not.", *each)
        self.state = self._gauge("state", "1 for the state that a connection is in.", *each, "state")
        self.heard = self._gauge("heard_seconds", "When the source was last heard, Unix time.", *each, "by")
        self.ingest = self._histogram("ingest_seconds", "From a webhook's arrival to its publish.", *each)
        self.apply = self._histogram("apply_seconds", "From an event's publish to its commit.", *each)
        self.feed = self._histogram("feed_seconds", "From a webhook's arrival to the feed.", *each)

    def render(self) -> bytes:
        """Everything in Prometheus' text format, served as `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def value(self, name: str, **labels: str) -> float:
        """The sum over everything that matches: `value("refused", connection="aircall")`. Of histograms their count.

        Never seen is 0. KeyError where no metric has this name.
        """
        return sum(sample.value for sample in self._samples(name, labels))

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """The same per value of one label: `by("refused", "reason", connection="aircall")`."""
        sums: dict[str, float] = {}
        for sample in self._samples(name, labels):
            sums[sample.labels[label]] = sums.get(sample.labels[label], 0.0) + sample.value
        return sums

    def _samples(self, name: str, labels: dict[str, str]) -> Iterator[Sample]:
        metric = vars(self).get(name)
        if not isinstance(metric, Counter | Gauge | Histogram):
            raise KeyError(name)
        suffix = "_total" if isinstance(metric, Counter) else "_count" if isinstance(metric, Histogram) else ""
        for family in metric.collect():
            for sample in family.samples:
                if sample.name == family.name + suffix and labels.items() <= sample.labels.items():
                    yield sample

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"hub_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"hub_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"hub_{name}", text, labels, registry=self.registry, buckets=SECONDS)
