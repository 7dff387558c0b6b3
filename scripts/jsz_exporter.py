"""A stand-in for prometheus-nats-exporter with `-jsz=all`, for tests and local measurements only.

Production runs the real one, natsio/prometheus-nats-exporter; this is for machines where that can't be had. Names,
labels and types are those of its collector/jsz.go at v0.20.1, and so is its silence: a server that does not answer
gives an empty page and no error, so that `up` stays 1 while every series is gone. Both are held against the list in
tests/deploy/exporter_series.json.

    python -m scripts.jsz_exporter http://127.0.0.1:8222 127.0.0.1:7777
"""

from __future__ import annotations

import json
import signal
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

_TIMEOUT = 5.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the servers stand beside us

Labels = Mapping[str, str]
Json = Mapping[str, Any]


class Sample(NamedTuple):
    """One value of a gauge."""

    name: str
    labels: Labels
    value: float

    def __str__(self) -> str:
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in self.labels.items())
        return f"{self.name}{{{labels}}} {self.value:.17g}"


def page(url: str) -> str:
    """All that the monitoring port of a nats-server tells of its JetStream, in the text format of Prometheus."""
    try:
        jsz, varz = _get(f"{url}/jsz?consumers=true&config=true&raft=true"), _get(f"{url}/varz")
    except OSError:
        return ""
    lines: list[str] = []
    by_name = attrgetter("name")
    for name, group in groupby(sorted(_server(url, jsz, varz), key=by_name), by_name):
        lines += [f"# TYPE {name} gauge", *map(str, group)]
    return "\n".join([*lines, ""])


def _get(url: str) -> Json:
    with _DIRECT.open(url, timeout=_TIMEOUT) as answer:
        found: Json = json.load(answer)
        return found


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _server(url: str, jsz: Json, varz: Json) -> Iterator[Sample]:
    meta, name, limits = jsz.get("meta_cluster"), varz["server_name"], jsz.get("config") or {}
    labels = {
        "server_id": url,
        "server_name": name,
        "cluster": (meta or {}).get("name", ""),
        "domain": limits.get("domain", ""),
        "meta_leader": (meta or {}).get("leader", ""),
        "is_meta_leader": _leads(meta, name),
    }
    values = {
        "jetstream_disabled": jsz.get("disabled", False),
        "max_memory": limits.get("max_memory", 0),
        "max_storage": limits.get("max_storage", 0),
        "total_streams": jsz.get("streams", 0),
        "total_consumers": jsz.get("consumers", 0),
        "total_messages": jsz.get("messages", 0),
        "total_message_bytes": jsz.get("bytes", 0),
    }
    yield from _gauges("server", values, labels)
    for account in jsz.get("account_details") or ():
        yield from _account(account, labels)


def _account(account: Json, of_server: Labels) -> Iterator[Sample]:
    name = account["name"]
    labels = {**of_server, "account": name, "account_name": name, "account_id": account["id"]}
    values = {
        "max_memory": account["reserved_memory"],
        "max_storage": account["reserved_storage"],
        "memory_used": account["memory"],
        "storage_used": account["storage"],
    }
    yield from _gauges("account", values, labels)
    for stream in account.get("stream_detail") or ():
        yield from _stream(stream, labels)


def _stream(stream: Json, of_account: Labels) -> Iterator[Sample]:
    cluster, state, config = stream.get("cluster"), stream["state"], stream.get("config")
    labels = {
        **of_account,
        "stream_name": stream["name"],
        "stream_leader": (cluster or {}).get("leader", ""),
        "is_stream_leader": _leads(cluster, of_account["server_name"]),
        "stream_raft_group": stream.get("stream_raft_group", ""),
    }
    values = {
        "total_messages": state["messages"],
        "total_bytes": state["bytes"],
        "first_seq": state["first_seq"],
        "last_seq": state["last_seq"],
        "consumer_count": state["consumer_count"],
        "subject_count": state.get("num_subjects", 0),
    }
    if config:
        values |= {"limit_bytes": config["max_bytes"], "limit_messages": config["max_msgs"]}
    yield from _gauges("stream", values, labels)
    for source in stream.get("sources") or ():
        yield from _origin("source", source, labels)
    if mirror := stream.get("mirror"):
        yield from _origin("mirror", mirror, labels)
    for consumer in stream.get("consumer_detail") or ():
        yield from _consumer(consumer, labels)


def _origin(kind: str, origin: Json, of_stream: Labels) -> Iterator[Sample]:
    external = origin.get("external") or {}
    labels = {
        **of_stream,
        f"{kind}_name": origin["name"],
        f"{kind}_api": external.get("api", ""),
        f"{kind}_deliver": external.get("deliver", ""),
    }
    values = {f"{kind}_lag": origin["lag"], f"{kind}_active_duration_ns": origin["active"]}
    yield from _gauges("stream", values, labels)


def _consumer(consumer: Json, of_stream: Labels) -> Iterator[Sample]:
    cluster = consumer.get("cluster")
    labels = {
        **of_stream,
        "consumer_name": consumer["name"],
        "consumer_leader": (cluster or {}).get("leader", ""),
        "is_consumer_leader": _leads(cluster, of_stream["server_name"]),
        "consumer_desc": (consumer.get("config") or {}).get("description", ""),
    }
    delivered, floor = consumer["delivered"], consumer["ack_floor"]
    values = {
        "delivered_consumer_seq": delivered["consumer_seq"],
        "delivered_stream_seq": delivered["stream_seq"],
        "ack_floor_consumer_seq": floor["consumer_seq"],
        "ack_floor_stream_seq": floor["stream_seq"],
        **{name: consumer[name] for name in ("num_ack_pending", "num_redelivered", "num_waiting", "num_pending")},
    }
    for name, last in (("last_delivery_seconds", delivered), ("last_ack_seconds", floor)):
        if at := last.get("last_active"):
            values[name] = (datetime.fromisoformat(consumer["ts"]) - datetime.fromisoformat(at)).total_seconds()
    yield from _gauges("consumer", values, labels)


def _gauges(kind: str, values: Mapping[str, float], labels: Labels) -> Iterator[Sample]:
    for name, value in values.items():
        yield Sample(f"jetstream_{kind}_{name}", labels, float(value))


def _leads(cluster: Json | None, server: str) -> str:
    return "true" if not cluster or cluster.get("leader", "") == server else "false"


def serve(url: str, host: str, port: int) -> None:
    """Answers at http://host:port/metrics until SIGTERM."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = page(url).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """A scrape every few seconds is no news."""

    ThreadingHTTPServer((host, port), Handler).serve_forever()


def main() -> None:
    """Two arguments: the server's monitoring URL, and host:port to listen on."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(0))
    url, listen = sys.argv[1:]
    host, _, port = listen.rpartition(":")
    serve(url.rstrip("/"), host, int(port))


if __name__ == "__main__":
    main()
