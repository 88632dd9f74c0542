"""The lab: real servers on loopback ports that real faults (`lab.faults`) break, and `heal` repairs.

lab = Lab(state=Path("/tmp/runbook-lab"), base_port=29000)
lab.up(); lab.break_("oom"); lab.heal(); lab.status(); lab.down()
"""

from lab.errors import LabError
from lab.lab import Lab, Status
from lab.layout import Layout

__all__ = ["Lab", "LabError", "Layout", "Status"]
