"""`python -m runbooklib`: the command line, where `runbook` is not on the PATH."""

from runbooklib.cli import main

if __name__ == "__main__":
    main()
