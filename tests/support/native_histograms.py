"""A real Prometheus that scrapes native histograms: from protobuf, the only format that carries them."""

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import page, program, running
from tests.support.stand_in import Behaviour, answer, closed_port, standin

PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
GAUGE, HISTOGRAM = 1, 4


def varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


def signed(field: int, number: int) -> bytes:
    return unsigned(field, number << 1 if number >= 0 else (-number << 1) - 1)


def unsigned(field: int, number: int) -> bytes:
    return varint(field << 3) + varint(number)


def double(field: int, number: float) -> bytes:
    return varint(field << 3 | 1) + struct.pack("<d", number)


def nested(field: int, content: bytes | str) -> bytes:
    raw = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(raw)) + raw


def family(name: str, kind: int, metric: bytes) -> bytes:
    fields = nested(1, name) + nested(2, "help") + unsigned(3, kind) + nested(4, metric)
    return varint(len(fields)) + fields


def histogram(count: int, seconds: float) -> bytes:
    """`count` observations, all in the bucket (0.5, 1] of a histogram of schema 0."""
    buckets = nested(12, signed(1, 0) + unsigned(2, 1)) + signed(13, count)
    return nested(
        7,
        unsigned(1, count) + double(2, seconds) + signed(5, 0) + double(6, 0.001) + unsigned(7, 0) + buckets,
    )


def growing(begun: float) -> Behaviour:
    """Ten observations of 0.7 s a second; a gauge beside them."""

    def behave(line: object, server: object) -> None:
        count = 10 + int((time.time() - begun) * 10)
        path = nested(1, nested(1, "path") + nested(2, "/x"))
        duration = family("job_duration_seconds", HISTOGRAM, path + histogram(count, count * 0.7))
        ready = family("job_ready", GAUGE, nested(2, double(1, 1.0)))
        answer(duration + ready, content_type=PROTOBUF)(line, server)  # type: ignore[arg-type]

    return behave


@contextmanager
def scraping(folder: Path) -> Iterator[str]:
    """The URL of a Prometheus with some seconds of `job_duration_seconds` and `job_ready`."""
    with standin(growing(time.time())) as exporter:
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            f"scrape_configs: [{{job_name: jobs, static_configs: [{{targets: ['{exporter.url[7:]}']}}]}}]\n"
        )
        url = f"http://127.0.0.1:{closed_port()}"
        argv = [program("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
        argv += [f"--web.listen-address={url[7:]}", "--enable-feature=native-histograms"]
        query = f"{url}/api/v1/query?query=rate(job_duration_seconds[5s]%20offset%203s)"
        with running(argv, folder, lambda: '"histogram"' in page(query)):
            yield url
