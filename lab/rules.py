"""The alert rules, rendered from a template: with minutes for production, with seconds for the lab.

`python -m lab rules` writes lab/rules.yml after a change of the template; a test compares the two.
"""

from pathlib import Path

TEMPLATE = Path(__file__).with_name("rules.template.yml")
RENDERED = Path(__file__).with_name("rules.yml")
RUNBOOKS = "https://runbooks.lab.invalid"
PRODUCTION = {
    "rate_window": "5m",
    "token_window": "1h",
    "for_2m": "2m",
    "for_5m": "5m",
    "for_10m": "10m",
    "for_30m": "30m",
    "runbooks": RUNBOOKS,
}
LAB = {
    "rate_window": "15s",
    "token_window": "60s",
    "for_2m": "2s",
    "for_5m": "4s",
    "for_10m": "6s",
    "for_30m": "6s",
    "runbooks": RUNBOOKS,
}


def render(times: dict[str, str]) -> str:
    """The rules with these times."""
    lines = TEMPLATE.read_text(encoding="utf-8").splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("#"))
    for name, value in times.items():
        text = text.replace(f"<<{name}>>", value)
    return text


def render_lab() -> str:
    """The lab's rules, with a header that names the template."""
    return "# Written by python -m lab rules from rules.template.yml: change that one.\n" + render(LAB)
