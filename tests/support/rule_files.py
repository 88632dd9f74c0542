"""`runbook new` on rule files that nobody wrote for us: each notebook is whole, and runs at once."""

from tests.cli.test_new import FOREIGN
from tests.support.running import ROOT

FILES = [
    *sorted((ROOT / "tests" / "support" / "rule_files").iterdir()),
    *([FOREIGN] if FOREIGN.exists() else []),
]
