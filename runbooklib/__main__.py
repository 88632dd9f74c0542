"""The program `runbook`, and `python -m runbooklib`."""

import sys

_RUN_FAILED = 4


def main() -> None:
    """Run the command line. If it cannot be imported, the exit code is 4: 1 means "a problem was found"."""
    try:
        from runbooklib import cli

        cli.main()
    except ImportError as error:
        _fail(f"runbooklib cannot be imported: {' '.join(str(error).split())}. Install it again")
    except Exception as error:  # noqa: BLE001 - the error handler of the command line failed
        _fail(f"defect of runbooklib: {type(error).__name__} in its error handler")


def _fail(message: str) -> None:
    print(f"runbook: {message}", file=sys.stderr)
    sys.exit(_RUN_FAILED)


if __name__ == "__main__":
    main()
