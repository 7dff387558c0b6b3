"""The stand-in for prometheus-nats-exporter does not drift away from it.

`exporter_series.json` was taken from the source of the exporter. What the stand-in shows of a real server has to be all
of that and nothing else, names and labels alike.
"""

from __future__ import annotations

import json
from pathlib import Path

import nats
import pytest
from nats.js.api import ConsumerConfig, StreamSource
from prometheus_client.parser import text_string_to_metric_families

from scripts import jsz_exporter
from syncdaemon.dev.server import HOST, NatsServer
from tests.support.ports import own_port
from tests.support.server import MakeNatsServer

pytestmark = pytest.mark.integration

UPSTREAM = json.loads((Path(__file__).parent / "exporter_series.json").read_text())


@pytest.fixture
async def server(make_nats_server: MakeNatsServer) -> NatsServer:
    """With a stream, a mirror and a source of it, and a consumer that has acknowledged one of two messages."""
    server = make_nats_server(monitor_port=0)
    server.start()
    client = await nats.connect(server.url)
    js = client.jetstream()
    await js.add_stream(name="ORIGIN", subjects=["origin.>"])
    await js.add_stream(name="SOURCING", sources=[StreamSource(name="ORIGIN")])
    await js.add_stream(name="MIRROR", mirror=StreamSource(name="ORIGIN"))
    for number in range(5):
        await js.publish(f"origin.{number}", b"payload")
    config = ConsumerConfig(description='says "hello"\\')
    consumer = await js.pull_subscribe("origin.>", durable="worker", stream="ORIGIN", config=config)
    first, _second = await consumer.fetch(2)
    await first.ack_sync()
    await client.close()
    return server


def samples(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Every sample by its name, read with Prometheus's own parser."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge"
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_names_and_labels_are_the_exporters(server: NatsServer) -> None:
    """All of them and no others, labels in any order."""
    found = samples(jsz_exporter.page(server.monitor_url))
    assert sorted(found) == sorted(UPSTREAM["series"])
    for name, kind in UPSTREAM["series"].items():
        for labels, _ in found[name]:
            assert sorted(labels) == sorted(UPSTREAM["labels"][kind]), name


def test_values_are_the_servers(server: NatsServer) -> None:
    """Five messages, two delivered, one of them acknowledged: three are pending and one waits for its ack."""
    found = samples(jsz_exporter.page(server.monitor_url))

    def of_consumer(name: str) -> float:
        ((labels, value),) = found[f"jetstream_consumer_{name}"]
        assert labels["stream_name"] == "ORIGIN"
        assert labels["consumer_name"] == "worker"
        assert labels["consumer_desc"] == 'says "hello"\\'
        assert labels["is_consumer_leader"] == "true"
        return value

    assert of_consumer("num_pending") == 3
    assert of_consumer("num_ack_pending") == 1
    assert of_consumer("delivered_stream_seq") == 2
    assert of_consumer("ack_floor_stream_seq") == 1
    assert 0 <= of_consumer("last_ack_seconds") < 60
    messages = {labels["stream_name"]: value for labels, value in found["jetstream_stream_total_messages"]}
    assert messages["ORIGIN"] == 5


def test_a_server_that_does_not_answer_gives_an_empty_page() -> None:
    """As with the real one: the scrape succeeds and has nothing in it."""
    assert jsz_exporter.page(f"http://{HOST}:{own_port()}") == ""
