import json
from pathlib import Path
from typing import Any

import pytest

from runbooklib.config import variables
from runbooklib.config.environment import Environment, ServiceDatabase, Target
from runbooklib.config.site import configured, environments, home, read_target, validate
from runbooklib.config.site_secrets import environment_secrets, operators_tag, secret, secrets_of
from runbooklib.errors import MissingSecretError, NotConfiguredError, ParameterError, SettingsError
from runbooklib.redact.redactor import Redactor, tag
from runbooklib.sources.context import Sources
from runbooklib.sources.tape import Tape

ENVIRONMENT = """
title: Staging
systems:
  prometheus: {url: "http://prometheus:9090", token_env: PROMETHEUS_TOKEN}
  postgres: {dsn: "postgresql://reader@db:5432/app", password_env: DB_PASSWORD}
services:
  backend:
    title: Backend
    labels: {job: backend}
    containers: [backend]
    dependencies:
      - {name: AI, url: "https://ai.example/v1"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with one environment, staging."""
    where = tmp_path / "parameters" / "environments"
    where.mkdir(parents=True)
    (where / "staging.yaml").write_text(ENVIRONMENT, "utf-8")
    monkeypatch.setenv(variables.HOME, str(tmp_path))
    monkeypatch.delenv(variables.ENVIRONMENTS, raising=False)
    return where


def minimal(**more: Any) -> dict[str, Any]:
    return {"title": "T", "systems": {}, "services": {"a": {"title": "A", "labels": {}}}} | more


@pytest.mark.usefixtures("folder")
def test_a_target_is_one_service_in_one_environment() -> None:
    target = read_target("staging", "backend")
    assert (target.service.title, target.service.labels) == ("Backend", {"job": "backend"})
    assert target.systems.prometheus is not None
    assert target.systems.docker is None
    assert target.timing.lead_seconds == 1800
    assert target.timing.tolerance_seconds == 30


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("environment", "service", "told"),
    [
        ("stagin", "backend", "no environment 'stagin' (did you mean 'staging'?)"),
        ("zzz", "backend", "no environment 'zzz' (there are: staging)"),
        ("../staging", "backend", "no environment '../staging'"),
        ("staging", "backen", "staging has no service 'backen' (did you mean 'backend'?)"),
        ("staging", "", "staging has no service '' (there are: backend)"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(environment: str, service: str, told: str) -> None:
    with pytest.raises(ParameterError) as raised:
        read_target(environment, service)
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (minimal(titel="x"), "e: titel is not a known name (did you mean 'title'?)"),
        (
            minimal(systems={"prometeus": {}}),
            "systems.prometeus is not a known name (did you mean 'prometheus'?)",
        ),
        (
            minimal(systems={"prometheus": {"ulr": "http://x"}}),
            "systems.prometheus.ulr is not a known name (did you mean 'url'?)",
        ),
        (
            minimal(services={"title": {"title": "A", "labels": {}, "containrs": []}}),
            "services.title.containrs is not a known name (did you mean 'containers'?)",
        ),
        (
            minimal(past_incidents={"HighErrorRate": [{"date": "x", "titel": "y"}]}),
            "past_incidents.HighErrorRate.0.titel is not a known name (did you mean 'title'?)",
        ),
        (minimal(timing={"lokback": "1h"}), "timing.lokback is not a known name (did you mean 'lookback'?)"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_name_of_its_own_section(
    values: dict[str, Any], told: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        validate(Environment, values, "e")
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"title": "T", "systems": {}}, "services"),
        (minimal(title=5), "title"),
        (minimal(timing={"lookback": "1 hour"}), "timing.lookback"),
        (minimal(timing={"lookback": 60}), "timing.lookback"),
        (minimal(services={"a": {"title": "A", "labels": {"x": 1}}}), "services.a.labels.x"),
        (minimal(services={"a": {"title": "A", "labels": {}, "containers": [1]}}), "services.a.containers.0"),
        (minimal(escalation={"affected_users": "0.1"}), "escalation.affected_users"),
    ],
)
def test_a_wrong_type_is_refused_by_name_and_never_converted(values: dict[str, Any], field: str) -> None:
    with pytest.raises(SettingsError, match=f"^e: {field}: "):
        validate(Environment, values, "e")


@pytest.mark.parametrize(
    "systems",
    [
        {"postgres": {"dsn": "postgresql://app:hunter22@db/x"}},
        {"postgres": {"dsn": "postgresql://app:@db/x"}},
        {"postgres": {"dsn": "host=db password=hunter22"}},
        {"postgres": {"dsn": "host=db PASSWORD = hunter22"}},
        {"postgres": {"dsn": "host=db sslpassword=hunter22"}},
        {"postgres": {"dsn": "postgresql://db/x?password=hunter22"}},
        {"prometheus": {"url": "http://u:hunter22@p:9090"}},
        {"prometheus": {"url": "http://p:9090/?access_token=hunter22"}},
        {"git": {"repository": "https://u:hunter22@git/x"}},
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(systems: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="contains a password: put it into a variable") as raised:
        validate(Environment, minimal(systems=systems), "e")
    assert "hunter22" not in str(raised.value)


def test_a_secret_in_a_link_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"links\.grafana"):
        validate(Environment, minimal(links={"grafana": "https://u:p@grafana/"}), "e")


@pytest.mark.parametrize(
    "address",
    [
        "http://prometheus:9090",
        "postgresql://reader@db:5432/app",
        "unix:///run/docker.sock",
        "https://a/b@c:1",
    ],
)
def test_an_address_without_secret_is_taken(address: str) -> None:
    systems = {"prometheus": {"url": address}, "postgres": {"dsn": address}}
    assert validate(Environment, minimal(systems=systems), "e").systems.prometheus


def test_a_bad_file_is_told_with_line_and_column(folder: Path) -> None:
    (folder / "broken.yaml").write_text("title: T\nsystems: [\n", "utf-8")
    with pytest.raises(SettingsError, match=r"environments/broken.yaml, line 3, column 1: "):
        read_target("broken", "a")


def test_environments_may_lie_in_further_folders(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    further = tmp_path / "further"
    further.mkdir()
    (further / "lab.yaml").write_text(ENVIRONMENT, "utf-8")
    assert environments() == ["staging"]
    monkeypatch.setenv(variables.ENVIRONMENTS, str(further))
    assert environments() == ["lab", "staging"]
    assert read_target("lab", "backend").environment_name == "lab"
    assert folder.is_dir()


def test_home_is_the_nearest_folder_with_environments(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variables.HOME)
    monkeypatch.chdir(folder)
    assert home() == folder.parent.parent


def test_without_a_home_the_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variables.HOME, raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=variables.HOME):
        home()


@pytest.mark.usefixtures("folder")
def test_secrets_come_from_the_environment_and_a_missing_one_is_named_when_its_system_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PROMETHEUS_TOKEN", "t0ken")
    monkeypatch.setenv("DB_PASSWORD", "")
    assert secrets_of(read_target("staging", "backend")) == ["t0ken"]
    with pytest.raises(
        MissingSecretError,
        match=r"postgres: .* DB_PASSWORD is not set \(export DB_PASSWORD=… and run the command again\)",
    ):
        secret("DB_PASSWORD", "postgres")
    monkeypatch.setenv("DB_PASSWORD", "hunter22")
    assert secrets_of(read_target("staging", "backend")) == ["t0ken", "hunter22"]
    assert "hunter22" not in repr(read_target("staging", "backend"))


def test_a_setting_that_names_no_secret_has_none() -> None:
    assert secret("", "postgres") == ""


def test_a_system_that_is_left_out_is_not_configured() -> None:
    assert configured("x", "docker") == "x"
    with pytest.raises(NotConfiguredError, match=r"docker: .*add systems.docker"):
        configured(None, "docker")


@pytest.mark.parametrize(
    ("name", "section", "reason"),
    [
        ("postgres", {"dsn": "postgresql://app:hunter22@db/x"}, "contains a password"),
        ("alertmanager", {"ulr": "http://a"}, "ulr is not a known name (did you mean 'url'?)"),
        ("prometheus", {"url": 9090}, "prometheus.url"),
        ("docker", "unix:///run/docker.sock", "docker"),
        ("dns", {"nameservers": 53}, "dns.nameservers"),
        ("git", None, ""),
    ],
)
def test_a_system_with_wrong_settings_is_not_configured_and_the_others_are(
    folder: Path, name: str, section: Any, reason: str
) -> None:
    values = minimal(systems={"prometheus": {"url": "http://p"}, "git": {"repository": "/r"}, name: section})
    (folder / "wrong.yaml").write_text(json.dumps(values), "utf-8")
    target = read_target("wrong", "a")
    assert set(target.systems.unusable) == ({name} if reason else set())
    sources = Sources(target, Tape(Redactor()))
    for system in ("prometheus", "alertmanager", "docker", "postgres", "dns", "git"):
        if system == name or (system not in values["systems"] and system != "dns"):
            with pytest.raises(NotConfiguredError) as raised:
                getattr(sources, system)
            assert system in str(raised.value)
            assert system != name or reason in str(raised.value)
            assert "hunter22" not in str(raised.value)
        else:
            assert getattr(sources, system)
    assert Target.model_validate(target.model_dump(mode="json")) == target


def test_a_service_may_name_the_login_of_its_database(folder: Path) -> None:
    service = {"title": "A", "labels": {}}
    named = service | {"database": {"role": "app", "name": "shop"}}
    values = minimal(services={"a": named, "b": service, "c": service})
    (folder / "named.yaml").write_text(json.dumps(values), "utf-8")
    target = read_target("named", "a")
    assert target.service.database == ServiceDatabase(role="app", name="shop")
    assert Target.model_validate(target.model_dump(mode="json")) == target
    assert "database" not in read_target("named", "b").service.model_dump(mode="json")
    values["services"]["c"] = service | {"database": {"role": "", "name": "shop"}}
    (folder / "named.yaml").write_text(json.dumps(values), "utf-8")
    with pytest.raises(SettingsError, match=r"services\.c\.database\.role"):
        read_target("named", "a")


def test_settings_cannot_be_changed() -> None:
    found = validate(Environment, minimal(), "e")
    with pytest.raises(ValueError, match="frozen"):
        found.title = "other"


def test_what_may_write_is_secret_whatever_its_variable_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBOOK_OPERATOR_PG", "operator-canary")
    assert "operator-canary" in environment_secrets()


def switching(**switch: Any) -> dict[str, Any]:
    return minimal(actions={"switches": {"use_backup_provider": {"file": "/srv/.env", **switch}}})


@pytest.mark.parametrize(
    ("switch", "told"),
    [
        ({"set": {"AI_PROVIDER_KEY": "sk-canary"}}, "AI_PROVIDER_KEY sounds like a secret"),
        ({"set": {"ai_token": "sk-canary"}}, r"set_from: \{ai_token: RUNBOOK_OPERATOR_"),
        ({"set_from": {"AI_PROVIDER_KEY": "BACKUP_KEY"}}, "begins with RUNBOOK_OPERATOR_"),
        ({"set_from": {"AI_PROVIDER_KEY": ""}}, "must name a variable that begins with"),
        ({"set_from": {"AI KEY": "RUNBOOK_OPERATOR_KEY"}}, "is not a setting name"),
        (
            {"set": {"A": "1"}, "set_from": {"A": "RUNBOOK_OPERATOR_A"}},
            "A is both in set and in set_from",
        ),
        ({}, "sets nothing"),
        ({"set": {"A": "1"}, "set_form": {}}, r"set_form is not a known name \(did you mean 'set_from'"),
    ],
)
def test_a_secret_is_switched_by_the_name_of_its_variable(switch: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told) as raised:
        validate(Environment, switching(**switch), "e")
    assert "canary" not in str(raised.value)


def test_a_switch_may_set_only_secrets() -> None:
    found = validate(Environment, switching(set_from={"AI_KEY": "RUNBOOK_OPERATOR_KEY"}), "e")
    assert found.actions
    assert found.actions.switches["use_backup_provider"].names == ["AI_KEY"]


def test_a_kernel_is_told_no_tag_that_its_runner_did_not_make(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RUNBOOK_OPERATOR_KEY", raising=False)
    for told in ("", "nonsense", "[]", '{"RUNBOOK_OPERATOR_KEY": 7}', '{"RUNBOOK_OPERATOR_KEY": ""}'):
        monkeypatch.setenv(variables.TAGS, told)
        with pytest.raises(NotConfiguredError, match="RUNBOOK_OPERATOR_KEY is not set"):
            operators_tag("RUNBOOK_OPERATOR_KEY")
    monkeypatch.setenv(variables.TAGS, '{"RUNBOOK_OPERATOR_KEY": "[redacted:abcd]"}')
    assert operators_tag("RUNBOOK_OPERATOR_KEY") == "[redacted:abcd]"
    monkeypatch.setenv("RUNBOOK_OPERATOR_KEY", "the-key-itself")
    assert operators_tag("RUNBOOK_OPERATOR_KEY") == tag("the-key-itself")
