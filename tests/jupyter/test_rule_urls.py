"""`runbook urls`: the links that are put into rule files, and what else stays as it was."""

import json
import shutil
import subprocess
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from runbooklib.config.rule_file import read_rules
from runbooklib.errors import InputError, SettingsError
from runbooklib.jupyter import rule_urls
from tests.support.running import ROOT, command

SERVER = "https://jupyter.example/user/oncall"
URL = f"{SERVER}/runbooks/open?alertname=HighErrorRate&service={{{{ $labels.service | urlquery }}}}"


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBOOK_HOME", str(ROOT))


def rewritten(tmp_path: Path, text: str, *, server: str = SERVER) -> str:
    """The file with its links; all that reads it agrees, and a second time changes nothing."""
    path = tmp_path / "rules.yml"
    path.write_bytes(text.encode())
    rule_urls.write(path, rule_urls.link_rules(path, server))
    assert not rule_urls.link_rules(path, server).is_changed
    if program := shutil.which("promtool"):
        done = subprocess.run([program, "check", "rules", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + path.read_text()
    return path.read_bytes().decode()


LAYOUTS = {
    "block": (
        "groups:\n- name: g\n  rules:\n"
        "  # the one that matters\n"
        "  - alert: HighErrorRate   # it is\n"
        "    expr: up == 0\n"
        "    annotations:\n"
        "      # for humans\n"
        '      summary: "ü: it is down"\n'
        "\n"
        "  # a comment on the next\n"
        "  - record: x\n    expr: up\n",
        '      # for humans\n      runbook_url: "URL"\n      summary: "ü: it is down"\n\n  # a comment on',
    ),
    "no annotations": (
        "groups:\n- name: g\n  rules:\n  - alert: HighErrorRate   # it is\n    expr: up == 0\n",
        'HighErrorRate   # it is\n    annotations:\n      runbook_url: "URL"\n    expr: up == 0\n',
    ),
    "the alert comes last": (
        "groups:\n- name: g\n  rules:\n  - expr: up == 0\n    alert: HighErrorRate",
        '    alert: HighErrorRate\n    annotations:\n      runbook_url: "URL"\n',
    ),
    "flow": (
        'groups: [{name: g, rules: [{alert: HighErrorRate, expr: "up", annotations: {summary: "x"}}]}]\n',
        'annotations: {runbook_url: "URL", summary: "x"}}]}]\n',
    ),
    "flow without annotations": (
        'groups: [{name: g, rules: [{alert: HighErrorRate, expr: "up == 0"}]}]\n',
        '{alert: HighErrorRate, annotations: {runbook_url: "URL"}, expr: "up == 0"}',
    ),
    "empty flow": (
        "groups:\n- name: g\n  rules:\n  - alert: HighErrorRate\n    annotations: {}\n    expr: up == 0\n",
        '    annotations: {runbook_url: "URL"}\n    expr: up == 0\n',
    ),
    "annotations of nothing": (
        "groups:\n- name: g\n  rules:\n  - alert: HighErrorRate\n    annotations:\n    expr: up == 0\n",
        '    annotations: {runbook_url: "URL"}\n    expr: up == 0\n',
    ),
    "annotations null": (
        "groups:\n- name: g\n  rules:\n  - alert: HighErrorRate\n    annotations: ~ # none\n    expr: up\n",
        '    annotations: {runbook_url: "URL"} # none\n    expr: up\n',
    ),
    "an old link": (
        "groups:\n- name: g\n  rules:\n  - alert: HighErrorRate\n    expr: up == 0\n    annotations:\n"
        "      runbook_url: https://old.example/x # old\n      summary: x\n",
        '      runbook_url: "URL" # old\n      summary: x\n',
    ),
    "an old link in lines": (
        "groups:\n- name: g\n  rules:\n  - alert: HighErrorRate\n    expr: up == 0\n    annotations:\n"
        "      runbook_url: |\n        https://old.example/x\n      summary: x\n",
        '      runbook_url: "URL"\n      summary: x\n',
    ),
    "an old link in lines, last": (
        "groups:\n- name: g\n  rules:\n  - alert: HighErrorRate\n    expr: up == 0\n    annotations:\n"
        "      runbook_url: >-\n        https://old.example/x\n\n# the end\n",
        '      runbook_url: "URL"\n',
    ),
    "an empty old link": (
        "groups:\n- name: g\n  rules:\n  - alert: HighErrorRate\n    expr: up == 0\n    annotations:\n"
        "      runbook_url:\n      summary: x\n",
        '      runbook_url: "URL"\n      summary: x\n',
    ),
    "Windows": (
        "groups:\r\n- name: g\r\n  rules:\r\n  - alert: HighErrorRate\r\n    expr: up == 0\r\n"
        "    annotations:\r\n      summary: x\r\n",
        '      runbook_url: "URL"\r\n      summary: x\r\n',
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_link_is_put_in_and_the_rest_stays(tmp_path: Path, name: str) -> None:
    text, wanted = LAYOUTS[name]
    found = rewritten(tmp_path, text)
    assert wanted.replace("URL", URL) in found
    kept = [
        line for line in found.splitlines() if "runbook_url" not in line and line.strip() != "annotations:"
    ]
    for line in kept:
        assert line.rstrip() in text.replace("\r\n", "\n")
    for comment in (line.partition("#")[2] for line in text.splitlines() if "#" in line):
        assert comment in found


def test_the_rules_of_this_repository_get_eighteen_links_and_keep_every_other_line(tmp_path: Path) -> None:
    text = (ROOT / "lab" / "rules.yml").read_text()
    found = rewritten(tmp_path, text)
    changed = [
        (old, new) for old, new in zip(text.splitlines(), found.splitlines(), strict=True) if old != new
    ]
    assert len(changed) == 18
    assert all(old.lstrip().startswith("runbook_url:") for old, _ in changed)


def test_an_alert_without_a_runbook_is_named_and_gets_no_link(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text("groups:\n- name: g\n  rules:\n  - {alert: DiskFull, expr: up}\n")
    found = rule_urls.link_rules(path, SERVER)
    assert found.without == ("DiskFull",)
    assert not found.is_changed


def test_a_label_that_the_rule_sets_itself_stands_in_the_link(tmp_path: Path) -> None:
    # `$labels` holds those of the series alone: what the rule adds would come out empty.
    text = (
        "groups:\n- name: g\n  rules:\n  - alert: ComponentUnhealthy\n    expr: up == 0\n"
        '    labels: {component: "a b&c", service: "{{ $labels.job }}"}\n'
    )
    found = rewritten(tmp_path, text)
    assert "&component=a+b%26c" in found
    assert "service={{ $labels.service | urlquery }}" in found


def test_a_shared_annotation_is_refused_and_the_file_stays(tmp_path: Path) -> None:
    text = (
        "groups:\n- name: g\n  rules:\n"
        "  - alert: HighErrorRate\n    expr: up == 0\n    annotations: &all {summary: x}\n"
        "  - alert: ServiceDown\n    expr: up == 0\n    annotations: *all\n"
    )
    path = tmp_path / "rules.yml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"rules\.yml:7: the link of ServiceDown"):
        rule_urls.link_rules(path, SERVER)
    assert path.read_text() == text


@pytest.mark.parametrize(
    "server",
    [
        "jupyter.example",
        "ftp://jupyter.example",
        "https://",
        "https://user:password@jupyter.example",
        "https://jupyter.example/?token=abc",
        "https://jupyter.example/#x",
        "https://jupyter.example/{{ x }}",
        'https://jupyter.example/"x',
        "javascript:alert(1)",
    ],
)
def test_what_is_no_plain_address_of_a_server_is_refused(tmp_path: Path, server: str) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(LAYOUTS["block"][0])
    with pytest.raises(InputError):
        rule_urls.link_rules(path, server)


def test_a_file_that_is_no_rule_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text("{{ if }}")
    with pytest.raises(SettingsError):
        rule_urls.link_rules(path, SERVER)


def test_a_mark_of_byte_order_and_the_files_mode_stay(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_bytes(b"\xef\xbb\xbf" + LAYOUTS["block"][0].encode())
    path.chmod(0o640)
    rule_urls.write(path, rule_urls.link_rules(path, SERVER))
    assert path.read_bytes().startswith(b"\xef\xbb\xbfgroups:")
    assert path.stat().st_mode & 0o777 == 0o640
    assert [one.annotations["runbook_url"] for one in read_rules(path)] == [URL]


def test_the_command_prints_the_links_or_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(LAYOUTS["block"][0] + "  - {alert: DiskFull, expr: up}\n")
    argv = ["runbook", "urls", "--rules", str(path), "--server", f"{SERVER}/", "-e", "lab"]
    printed = command(argv)
    assert printed.code == 0, printed.err
    name, _, url = printed.out.strip().partition("  ")
    assert name == "HighErrorRate"
    assert dict(parse_qsl(urlsplit(url).query))["environment"] == "lab"
    assert "DiskFull has no runbook" in printed.err
    assert "runbook_url" not in path.read_text()
    assert command([*argv, "--write"]).out == f"1 links written to {path}\n"
    assert json.dumps(url) in path.read_text()
    assert command([*argv, "--write"]).out == f"1 links are in {path}\n"


def test_the_command_refuses_an_environment_that_is_not_there() -> None:
    ended = command(["runbook", "urls", "--rules", str(ROOT / "lab" / "rules.yml"), "-e", "laab"])
    assert ended.code == 3
    assert "did you mean 'lab'" in ended.err
