"""Record the incidents that are committed under recordings/: `python -m lab.incidents`.

For each incident the fault begins in the default lab, the command line runs the runbook, and the recording is
exported. Record again after each change of a runbook's requests.
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
# After the alert fires, wait: in production the symptom also lasts for some time before a person looks.
SETTLING_SECONDS = 12.0
REST_SECONDS = 25.0
# The lab's minutes are seconds.
SCALED = {"HighErrorRate": ("-p", "idle_transaction_limit=10s")}


def record(lab: Lab, alert: str, fault: str) -> Path:
    """Begin the fault, run the runbook, keep the recording."""
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
    """Run the command line as a user does. Its exit code is about the incident, so it is ignored."""
    subprocess.run([sys.executable, "-m", "runbooklib", *words], check=False)


def wait_until_firing(lab: Lab, alert: str) -> None:
    """Wait until the alert fires in Prometheus."""
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
