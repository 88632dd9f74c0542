"""Rule files that were not written for this project."""

from pathlib import Path

from tests.support.running import ROOT

# Debian's alert rules for Ceph: 58 alerts.
FOREIGN = Path("/etc/prometheus/ceph/ceph_default_alerts.yml")
FILES = [
    *sorted((ROOT / "tests" / "support" / "rule_files").iterdir()),
    *([FOREIGN] if FOREIGN.exists() else []),
]
