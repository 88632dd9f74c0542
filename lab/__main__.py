"""The command line: `python -m lab up | break FAULT | heal | status | down | backfill HOURS`."""

import argparse
import sys
import time
from pathlib import Path

from lab import faults, rules
from lab.errors import LabError
from lab.lab import Lab, Status
from lab.layout import DEFAULT_BASE_PORT, DEFAULT_STATE


def parse() -> argparse.Namespace:
    """Read the command."""
    listed = "\n".join(f"  {name:<22} {fault.says}" for name, fault in faults.FAULTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m lab",
        description="Real servers on loopback that can be broken and healed.",
        epilog=f"faults:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--state", type=Path, default=DEFAULT_STATE, help="the lab's directory (%(default)s)")
    common.add_argument(
        "--base-port", type=int, default=DEFAULT_BASE_PORT, help="the lab's first port (%(default)s)"
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("up", parents=[common], help="start everything and wait until it is green")
    breaker = verbs.add_parser("break", parents=[common], help="begin a fault")
    breaker.add_argument("fault", metavar="FAULT")
    verbs.add_parser("heal", parents=[common], help="end all faults and wait until it is green")
    verbs.add_parser("status", parents=[common], help="show what runs and what is broken")
    down = verbs.add_parser("down", parents=[common], help="stop everything")
    down.add_argument("--wipe", action="store_true", help="remove the state too")
    past = verbs.add_parser("backfill", parents=[common], help="add past hours to Prometheus")
    past.add_argument("hours", metavar="HOURS", type=float)
    earlier = verbs.add_parser("deploy", parents=[common], help="deploy an earlier revision again")
    earlier.add_argument("revision", metavar="REVISION")
    verbs.add_parser("redeploy", parents=[common], help="recreate the backend's container")
    verbs.add_parser("rules", parents=[common], help="write lab/rules.yml again from its template")
    return parser.parse_args()


def show(status: Status) -> None:
    """Print a status, with the result first."""
    write_line("green" if status.green else "NOT green")
    for name, state in status.servers.items():
        write_line(
            f"  {name:<13} {state}"
            + (f"  version {status.version}" if name == "backend" and status.version else "")
        )
    share = "unknown" if status.error_share is None else f"{status.error_share:.1%}"
    write_line(f"  errors        {share}")
    write_line(f"  faults        {', '.join(status.faults) or 'none'}")
    write_line(
        f"  alerts        {', '.join(f'{name} {state}' for name, state in status.alerts.items()) or 'none'}"
    )


def write_line(line: str) -> None:
    """Print a line immediately."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def perform(arguments: argparse.Namespace, lab: Lab) -> None:
    """Run the command."""
    started = time.monotonic()
    match arguments.verb:
        case "up":
            lab.up()
            state = "up with faults" if faults.active(lab.layout) else "green"
            write_line(f"{state} after {time.monotonic() - started:.1f} s")
            write_line(f"environment: {lab.state}/environments/lab.yaml")
        case "break":
            lab.break_(arguments.fault)
            write_line(f"{arguments.fault}: {faults.FAULTS[arguments.fault].says}")
        case "heal":
            lab.heal()
            write_line(f"green after {time.monotonic() - started:.1f} s")
        case "backfill":
            lab.backfill(arguments.hours)
            write_line(f"{arguments.hours:g} past hours added in {time.monotonic() - started:.1f} s")
        case "deploy":
            write_line(f"deployed {lab.deploy(arguments.revision)[:12]}")
        case "redeploy":
            lab.redeploy()
            write_line("the backend's container was recreated")
        case "down":
            lab.down(wipe=arguments.wipe)
        case "rules":
            rules.RENDERED.write_text(rules.render_lab(), encoding="utf-8")
        case _:
            show(lab.status())


def main() -> int:
    """Run one command; an error is one line."""
    arguments = parse()
    try:
        perform(arguments, Lab(arguments.state, arguments.base_port, write_line))
    except LabError as error:
        sys.stderr.write(f"lab: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
