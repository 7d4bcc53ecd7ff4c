"""Counting is per connection and readable by Prometheus, by tests and by `hub status`."""

import pytest

from core.metrics import Metrics


def test_counts_are_kept_per_connection_and_reason() -> None:
    metrics = Metrics()
    metrics.refused.labels("aircall", "signature", 401).inc()
    metrics.refused.labels("aircall", "stale", 401).inc(2)
    metrics.refused.labels("hubspot", "stale", 401).inc(4)
    assert metrics.value("refused", connection="aircall", reason="stale") == 2
    assert metrics.value("refused", connection="aircall") == 3
    assert metrics.value("refused") == 7
    assert metrics.by("refused", "reason", connection="aircall", status="401") == {"signature": 1, "stale": 2}


def test_what_never_happened_is_zero_and_what_does_not_exist_is_an_error() -> None:
    assert Metrics().value("dead", connection="guru") == 0
    with pytest.raises(KeyError):
        Metrics().value("deads")


def test_gauges_and_latencies_can_be_read_back() -> None:
    metrics = Metrics()
    metrics.lag.labels("process").set(12)
    metrics.feed.labels("aircall").observe(0.046)
    metrics.feed.labels("guru").observe(1.5)
    assert metrics.value("lag", group="process") == 12
    assert metrics.value("feed") == 2


def test_the_page_for_prometheus_names_what_was_counted() -> None:
    metrics = Metrics()
    metrics.received.labels("guru").inc()
    metrics.feed.labels("aircall").observe(0.046)
    text = metrics.render().decode()
    assert 'hub_received_total{connection="guru"} 1.0' in text
    assert 'hub_feed_seconds_bucket{connection="aircall",le="0.05"} 1.0' in text
    assert 'hub_feed_seconds_bucket{connection="aircall",le="0.025"} 0.0' in text


def test_two_hubs_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.received.labels("guru").inc()
    assert second.value("received") == 0
