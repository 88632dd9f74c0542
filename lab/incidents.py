"""Record the incidents that are committed under recordings/: `python -m lab.incidents`.

Each fault is really brought about in the default lab, the runbook is run on it by its command line, and
what was recorded is exported. Needed again whenever a runbook asks a question that it did not ask before.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab import web
from lab.lab import Lab

INCIDENTS = {
    "HighErrorRate": ("sound", "oom", "connections-exhausted", "ai-provider-down", "bad-deploy"),
    "ServiceDown": ("crash-loop",),
    "SlowDatabaseQueries": ("slow-queries",),
    "HighFileDescriptorUsage": ("descriptor-leak",),
}
RECORDINGS = Path(__file__).parents[1] / "recordings"
FIRING_SECONDS = 60.0
# The rule has fired; let the symptom be seen for a while, as it is when somebody looks.
SETTLING_SECONDS = 12.0
REST_SECONDS = 25.0
# The lab's minutes are seconds.
SCALED = {"HighErrorRate": ("-p", "idle_transaction_limit=10s")}


def record(lab: Lab, alert: str, fault: str) -> Path:
    """Bring the fault about, run the runbook, keep the recording."""
    lab.heal()
    time.sleep(REST_SECONDS)
    if fault != "sound":
        lab.break_(fault)
        wait_until_firing(lab, alert)
        time.sleep(SETTLING_SECONDS)
    file = RECORDINGS / f"{alert}-{fault}.json"
    with tempfile.TemporaryDirectory() as folder:
        lookback = ("--lookback", "20s") if fault == "sound" else ()
        runbook("run", alert, "-e", "lab", "--output", folder, *SCALED.get(alert, ()), *lookback)
        bundle = next(path for path in Path(folder).iterdir() if path.is_dir())
        file.unlink(missing_ok=True)
        runbook("export", str(bundle), str(file))
    return file


def runbook(*words: str) -> None:
    """The command line, as a user calls it; its exit code speaks of the incident and is not ours."""
    subprocess.run([sys.executable, "-m", "runbooklib", *words], check=False)


def wait_until_firing(lab: Lab, alert: str) -> None:
    """Until Prometheus says that the alert fires."""
    deadline = time.monotonic() + FIRING_SECONDS
    while (web.alerts(lab.layout) or {}).get(alert) != "firing":
        if time.monotonic() > deadline:
            raise TimeoutError(f"{alert} did not fire within {FIRING_SECONDS:g} s")
        time.sleep(0.5)


def main() -> None:
    """Record all incidents, or those whose faults are named."""
    RECORDINGS.mkdir(exist_ok=True)
    lab = Lab(say=print)
    lab.up()
    try:
        for alert, faults in INCIDENTS.items():
            for fault in faults:
                if fault in (sys.argv[1:] or faults):
                    record(lab, alert, fault)
    finally:
        lab.down()


if __name__ == "__main__":
    main()
