"""A real Prometheus that serves known series: OpenMetrics, put into its blocks and asked in the past."""

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import page, program, running
from tests.support.stand_in import closed_port


@contextmanager
def serving(folder: Path, openmetrics: Iterable[str], *, rules: str = "") -> Iterator[str]:
    """The URL of a Prometheus with these series and the rules of this file, until the end of the block."""
    server, tool = program("prometheus"), program("promtool")
    (folder / "series.om").write_text("".join(openmetrics))
    (folder / "rules.yml").write_text(rules or "groups: []\n")
    (folder / "prometheus.yml").write_text("rule_files: [rules.yml]\n")
    make_blocks = [tool, "tsdb", "create-blocks-from", "--max-block-duration=168h", "openmetrics"]
    subprocess.run([*make_blocks, "series.om", "data"], cwd=folder, check=True, capture_output=True)
    url = f"http://127.0.0.1:{closed_port()}"
    argv = [server, "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    argv += [f"--web.listen-address={url.removeprefix('http://')}", "--storage.tsdb.retention.time=10y"]
    with running(argv, folder, lambda: "Ready" in page(f"{url}/-/ready")):
        yield url
