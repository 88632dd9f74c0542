"""All environment variables that runbooklib reads or sets. No other module contains such a name.

docs/environment-variables.md is written from this table (`document`), and a test compares the two.
"""

from dataclasses import dataclass

HOME = "RUNBOOK_HOME"
ENVIRONMENTS = "RUNBOOK_ENVIRONMENTS"
ENVIRONMENT = "RUNBOOK_ENVIRONMENT"
EVIDENCE = "RUNBOOK_EVIDENCE"
SPOOL = "RUNBOOK_SPOOL"
SIGNING_KEY = "RUNBOOK_SIGNING_KEY"
APPROVER = "RUNBOOK_APPROVER"
# No kernel of a headless run gets a variable whose name begins with this: cells must not be able to write.
OPERATOR_PREFIX = "RUNBOOK_OPERATOR_"
TAGS = "RUNBOOK_TAGS"
REPLAY = "RUNBOOK_REPLAY"
SHARED_ANSWERS = "RUNBOOK_SHARED_ANSWERS"
JUPYTER_SESSION = "JPY_SESSION_NAME"
JUPYTER_PARENT = "JPY_PARENT_PID"
PATH = "PATH"
# The variables that a program of the site gets when an action runs it.
PASSED_TO_PROGRAMS = (PATH, "HOME", "LANG", "LC_ALL", "DOCKER_HOST", "TZ")


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable, as the documentation describes it. `default` applies if it is not set."""

    name: str
    meaning: str
    default: str
    read_by: str


FOR_PEOPLE = (
    Variable(
        HOME,
        "The folder that contains `parameters/` and `notebooks/`.",
        "the nearest of the working folder and its parents that has `parameters/environments/`",
        "each command, the Jupyter server, kernels",
    ),
    Variable(
        ENVIRONMENTS,
        "More folders with files of environments, separated as in `PATH`. "
        "The last file of a name replaces those before it.",
        "only `parameters/environments/` of the home",
        "each command, the Jupyter server, kernels",
    ),
    Variable(
        ENVIRONMENT,
        "The environment that links and the start page use if none is given.",
        "the runbook's own parameter `environment`",
        "the Jupyter server; `runbook lab -e NAME` sets it",
    ),
    Variable(
        EVIDENCE,
        "The folder that keeps the evidence. Earlier runs are read from it, and an approval of evidence in "
        "any other folder is refused. With a URL as `--output`, the local bundle is written here first and "
        "copied to the URL afterwards. It does not replace a folder that `--output` names.",
        "`evidence/` of the home; with a URL as `--output`, `evidence/` of the working folder",
        "`runbook run`, `batch`, `seal`, `approve`, the Jupyter server, kernels; a run sets it for its own",
    ),
    Variable(
        SPOOL,
        "The folder for evidence that cannot be written to its own folder, for example because the disk is "
        "full. Actions that are proposed by evidence in this folder cannot be approved. It must differ from "
        "the folder of the evidence.",
        "`runbook-spool-UID` in `/var/tmp`, or in the system's temporary folder if there is no `/var/tmp`",
        "each command that writes or approves evidence, the Jupyter server, kernels",
    ),
    Variable(
        SIGNING_KEY,
        "The path of the private key that signs evidence (`runbook keygen` writes one).",
        "evidence is not signed",
        "each command that writes evidence; kernels of headless runs do not get it",
    ),
    Variable(
        APPROVER,
        "The name of the person who approves.",
        "the user of this machine; `--by` takes precedence",
        "`runbook approve`",
    ),
    Variable(
        f"{OPERATOR_PREFIX}*",
        "Secrets with which actions write. The environment's file names the variables in `actions` "
        "(`password_env`, `token_env`, `set_from`). All their values are redacted.",
        "the action is not configured",
        "`runbook approve`, the panel in JupyterLab; kernels of headless runs do not get them",
    ),
)
BETWEEN_PROCESSES = (
    Variable(
        TAGS,
        "JSON: the tags that stand for operators' secrets, by the name of their variable. A kernel can show "
        "what would be written without the secret itself.",
        "no tags",
        "kernels; the runner sets it",
    ),
    Variable(
        REPLAY,
        "The evidence from which all answers are taken; no system is asked.",
        "the systems are asked",
        "kernels; `runbook replay` sets it",
    ),
    Variable(
        SHARED_ANSWERS,
        "The folder in which the runs of a batch share the service's pages, so that each is asked once.",
        "each run asks the pages itself",
        "kernels; `runbook batch` sets it",
    ),
    Variable(
        JUPYTER_SESSION,
        "The path of the notebook that runs in the kernel.",
        "the notebook's path is unknown, and `resume=` needs a path",
        "kernels; the Jupyter server sets it",
    ),
    Variable(
        JUPYTER_PARENT,
        "The process id of the parent. The kernel ends when that process ends.",
        "ipykernel does not watch a parent",
        "ipykernel; the supervisor of a headless run sets it",
    ),
)
OF_THE_MACHINE = (
    Variable(
        PATH,
        "The folders in which programs are searched.",
        "the system's default",
        "programs of the site, Chromium for `--pdf`",
    ),
    *(
        Variable(name, "Passed on as it is.", "not passed on", "programs of the site that an action runs")
        for name in PASSED_TO_PROGRAMS
        if name != PATH
    ),
)
ALL = (*FOR_PEOPLE, *BETWEEN_PROCESSES, *OF_THE_MACHINE)
NAMES = frozenset(variable.name for variable in ALL)

_INTRODUCTION = """# Environment variables

<!-- Written by `make docs` from runbooklib/config/variables.py; do not edit. -->

The files of environments name further variables, which hold the secrets of the systems (`token_env`,
`password_env`). The values of all variables that are named like a secret (`DB_PWD`, `STRIPE_KEY`), and
passwords within other values (`postgresql://user:password@host`), are redacted
in everything that is recorded or shown.
In the Jupyter server a relative path counts from the folder in which the server was started.
"""
_SECTIONS = (
    ("Set by people", FOR_PEOPLE),
    ("Set by one process for another", BETWEEN_PROCESSES),
    ("From the machine", OF_THE_MACHINE),
)


def document() -> str:
    """The text of docs/environment-variables.md."""
    return "\n".join([_INTRODUCTION, *(_section(title, rows) for title, rows in _SECTIONS)])


def _section(title: str, rows: tuple[Variable, ...]) -> str:
    head = [f"## {title}", "", "| variable | meaning | default | read by |", "|---|---|---|---|"]
    lines = [f"| `{row.name}` | {row.meaning} | {row.default} | {row.read_by} |" for row in rows]
    return "\n".join([*head, *lines, ""])
