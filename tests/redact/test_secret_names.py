import json

import pytest
from pydantic import TypeAdapter, ValidationError

from runbooklib.config.site_secrets import environment_secrets
from runbooklib.config.text_types import Address
from runbooklib.redact.redactor import Redactor, tag
from runbooklib.redact.secret_names import sounds_secret

SECRET = """
AI_PROVIDER_KEY APIKEY api_key apiKey ACCESS_KEYS KEY2 S3KEY SSHKEY KEY_FILE TOKEN AUTH_TOKEN AUTHTOKEN
API_TOKENS GITHUB_TOKEN_2 SECRET CLIENT_SECRET SECRETKEY DB_PASS DBPASS PASSWORD DB_PASSWORD PASSWD PASSPHRASE
PWD DB_PWD MYSQLPWD DB_PW dbPw CREDENTIAL AWS_CREDENTIALS CREDS AUTH BASIC_AUTH OAUTH OAUTH2_ID AUTHORIZATION
SENTRY_DSN SENTRYDSN COOKIE SESSION_COOKIES JWT SSH_PASSPHRASE SIGNING_KEY ENCRYPTION_KEY STRIPE_KEY stripeKey
signing-key PRIVATE_KEY AWS_ACCESS_KEY_ID BEARER bearerToken PASSWORD_SALT SLACK_WEBHOOK_URL CSRF JSESSIONID
GITHUB_PAT PSK SESSION_KEY sessionId ENCRYPTION_KEYS refresh-token VAULT_UNSEAL_KEYS
"""
ORDINARY = """
FALLBACK_MODE AI_PROVIDER_URL MODEL NEW A LOG_LEVEL MAX_TOKENS AI_MAX_TOKENS TOKENS_PER_MINUTE TOKENIZER_PATH
MONKEY KEYBOARD AUTHOR_NAME BYPASS_CACHE COMPASS PASSENGERS HOTKEY TIMEOUT_SECONDS HTTP_PROXY PORT DSNAME _ X1
PUBLIC_KEY publicKey public-key PRIMARY_KEY primarykey FOREIGN_KEY groupKey CACHE_KEY sort_key KEY_COUNT
PASS_RATE
ai_chat_tokens_total prompt_tokens completion_tokens KeyError TOKEN_TYPE SESSION_TIMEOUT XDG_SESSION_TYPE
JPY_SESSION_NAME sessions COOKIE_DOMAIN SSH_AUTH_SOCK AUTH_METHOD key_functions PASSWORD_MIN_LENGTH
password_env SECRETARY BASALT PATH TOKEN_TTL
"""


@pytest.mark.parametrize("name", SECRET.split())
def test_a_name_that_sounds_like_a_secret_is_known(name: str) -> None:
    assert sounds_secret(name)
    assert sounds_secret(f"AI_{name}_B")


@pytest.mark.parametrize("name", ORDINARY.split())
def test_an_ordinary_name_stays_readable(name: str) -> None:
    assert not sounds_secret(name)


@pytest.mark.parametrize("name", ["SESSION", "session", "SALT", "salt", "APP_SESSION"])
def test_a_session_or_a_salt_itself_is_secret(name: str) -> None:
    assert sounds_secret(name)


SECRET_NAMES = [*SECRET.split(), "APP_SESSION", "SALT"]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_settings_json_and_text_agree_on_what_is_secret(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = f"X_{name}" if name == "PWD" else name  # the shell sets PWD to the working folder
    monkeypatch.setenv(variable, "hunter22-canary")
    assert "hunter22-canary" in environment_secrets()
    assert Redactor(environment_secrets()).text("the cell printed hunter22-canary") == (
        f"the cell printed {tag('hunter22-canary')}"
    )
    assert Redactor().json({variable: "canary-2"}) == {variable: tag("canary-2")}
    assert Redactor().text(f"{variable}=canary-2 {variable}: 'canary-3'") == (
        f"{variable}={tag('canary-2')} {variable}: '{tag('canary-3')}'"
    )


@pytest.mark.parametrize("name", ORDINARY.split())
def test_settings_json_and_text_agree_on_what_is_ordinary(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name != "PATH":
        monkeypatch.setenv(name, "ordinary-value")
    assert "ordinary-value" not in environment_secrets()
    assert Redactor().json({name: "ordinary-value"}) == {name: "ordinary-value"}
    assert Redactor().text(f"{name}=ordinary-value") == f"{name}=ordinary-value"


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ("redis://:s3cr3t-1@cache:6379/0", "s3cr3t-1"),
        ("mysql://app:s3%40cr3t@db/x", "s3@cr3t"),
        ("host=db password=s3,cr3t;1 user=app", "s3,cr3t;1"),
        ("Server=db;Password=s3cr3t-2;Database=x", "s3cr3t-2"),
        ("Endpoint=sb://x/;SharedAccessKeyName=all;SharedAccessKey=s3cr3t-3=;EntityPath=q", "s3cr3t-3="),
        ('{"user": "app", "password": "s3cr3t-4"}', "s3cr3t-4"),
        ("https://example.test/hook?api_key=s3cr3t-5&x=1", "s3cr3t-5"),
    ],
)
def test_a_secret_within_an_ordinary_variable_is_known(
    value: str, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKEND_ADDRESS", value)
    assert secret in environment_secrets()


@pytest.mark.parametrize("name", ["PWD", "OLDPWD", "DESKTOP_SESSION", "RUNBOOK_SIGNING_KEY"])
def test_folders_and_paths_with_a_secrets_name_stay_readable(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "/some/folder")
    assert "/some/folder" not in environment_secrets()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("ERROR: password=s3cr3t", "s3cr3t"),
        ("log=\"password='s3cr3t'\"", "s3cr3t"),
        ("a:b:c:db_pwd:s3cr3t", "s3cr3t"),
        ("Set-Cookie: sid=s3cr3t; Path=/", "s3cr3t"),
        ("Authorization: Token s3cr3t", "s3cr3t"),
        ('{"signingKey": 12345678}', "12345678"),
    ],
)
def test_a_pair_within_another_is_seen(text: str, secret: str) -> None:
    assert secret not in Redactor().text(text)


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'name'",
        "foreign key: users",
        "Key (id)=(5) exists",
        "expired_keys:512 tokens: 512",
        '{"max_tokens": 4096, "keys": 1200, "password": null}',
        "auth: required",
    ],
)
def test_a_sentence_with_a_secrets_word_stays_readable(text: str) -> None:
    assert Redactor().text(text) == text


def test_json_in_a_text_stays_json() -> None:
    told = Redactor().text('{"signingKey": 12345678, "x": 1}')
    assert json.loads(told) == {"signingKey": tag("12345678"), "x": 1}


@pytest.mark.parametrize(
    ("dsn", "is_taken"),
    [
        ("host=db sslkey=/etc/key.pem require_auth=scram-sha-256", True),
        ("host=db sslpassword=x", False),
        ("https://x.test/?api_token=x", False),
        ("https://x.test/?signing_key=x", False),
        ("https://x.test/?pwd=x", False),
        ("https://x.test/?orgId=1&refresh=5s", True),
    ],
)
def test_an_address_with_a_secret_is_refused_by_the_same_rule(dsn: str, is_taken: bool) -> None:  # noqa: FBT001 - a table
    if is_taken:
        assert TypeAdapter(Address).validate_python(dsn) == dsn
    else:
        with pytest.raises(ValidationError, match="contains a password"):
            TypeAdapter(Address).validate_python(dsn)


def test_the_digest_of_a_program_stays_whatever_its_path_is() -> None:
    digests = {"/opt/secret/up.sh": "0" * 64, "/opt/rotate-key": "a1" * 32}
    assert Redactor().json(digests) == digests
    told = Redactor().json({"/config/db/password": "canary-1", "/config/secret/mode": "fast"})
    assert told == {"/config/db/password": tag("canary-1"), "/config/secret/mode": "fast"}
