"""Recall on generated secrets of many vendors, over-reach on ids, and time per line."""

import time
from collections import defaultdict
from pathlib import Path

import pytest

from runbooklib.redact.redactor import Depth, Redactor
from tests.redact.__main__ import recall
from tests.support.generated_secrets import shown

REDACTOR = Redactor()


def test_each_context_has_at_least_60_vendors() -> None:
    vendors = defaultdict(set)
    for item in shown():
        vendors[item.context].add(item.vendor)
        assert item.secret in item.line
    assert min(map(len, vendors.values())) >= 60, {name: len(those) for name, those in vendors.items()}


def test_nearly_every_generated_secret_is_hidden_in_each_context() -> None:
    every, hidden, left = recall(REDACTOR)
    for context in every:
        print(f"{context}: {hidden[context]} of {every[context]}")
        assert hidden[context] / every[context] >= 0.99, [item for item in left if item.context == context]


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ('Credentials { secret_key: Some("kX9vT2LmN0pQrStUv") }', "kX9vT2LmN0pQrStUv"),
        ('config = {"apiKey": SecretStr("kX9vT2LmN0pQ")}', "kX9vT2LmN0pQ"),
        ('"api_tokens": ["aB3dE5fG7hJ9", 1]', "aB3dE5fG7hJ9"),
        ("password => 'hunter2x'", "hunter2x"),
        ("<password>hunter2x</password>", "hunter2x"),
        ('{"name": "DB_PASSWORD", "value": "hunter2x"}', "hunter2x"),
        ("- name: DB_PASSWORD value: hunter2x", "hunter2x"),
        ("https://discord.com/api/webhooks/123456789012345678/AbCdEfGhIjKlMnOp 429", "AbCdEfGhIjKlMnOp"),
        ("https://open.feishu.cn/open-apis/bot/v2/hook/1a2b3c4d-5e6f-7081-92a3-b4c5d6e7f809", "1a2b3c4d"),
        ("https://hooks.slack.com/services/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", "aB3dE5fG7hJ9kL1m"),
        ("https://shop.webhook.office.com/webhookb2/1a2b3c4d5e6f7081/x", "1a2b3c4d5e6f7081"),
        (
            "https://events.pagerduty.com/integration/0123456789abcdef0123456789abcdef/enqueue",
            "0123456789abcd",
        ),
        ("https://maker.ifttt.com/trigger/x/with/key/dA3dE5fG7hJ9kL1mN3", "dA3dE5fG7hJ9kL1mN3"),
        (
            "https://api.telegram.org/bot123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/getMe",
            "AAHdqTcvCH1vGWJx",
        ),
        ("https://aB3dE5fG7hJ9kL1mN3@git.example/x", "aB3dE5fG7hJ9kL1mN3"),
        ("postgresql://app:pa'ssw0rd@db:5432/shop", "ssw0rd"),
        ("postgresql://app:pa/ssw0rd@db:5432/shop", "ssw0rd"),
        ("postgresql://app:pa@ssw0rd@db:5432/shop", "ssw0rd"),
        ("redis://:p/a@s'sw0rd@[::1]:6379/0", "sw0rd"),
        ("amqp://u:12345x/y@mq/vhost", "12345x"),
        ("DB_PASSWORD=pa'ssw0rd/x@y", "ssw0rd"),
        ("+ curl -u deploy:w0rd12345 https://nexus.example/x", "w0rd12345"),
        ("+ curl --user 'deploy:w0rd12345' https://nexus.example/x", "w0rd12345"),
        ("helm login --token abcd1234efgh5678", "abcd1234efgh5678"),
        ("shopctl -password hunter2x", "hunter2x"),
        ("mysql -u root -phunter2x shop", "hunter2x"),
        ("sshpass -p hunter2x ssh db", "hunter2x"),
        ("docker login -u me -p hunter2x registry", "hunter2x"),
        ("redis-cli -h r -a hunter2x ping", "hunter2x"),
        ("ldapsearch -x -D cn=a -w hunter2x", "hunter2x"),
        ("openssl rsa -passin pass:hunter2x", "hunter2x"),
        ("requirepass w0rd12345", "w0rd12345"),
        ("machine nexus login me password hunter2x9", "hunter2x9"),
        ("ALTER USER app IDENTIFIED BY 'hunter2x'", "hunter2x"),
        ("Authorization: ApiKey dGhpc2lzYXNlY3JldDpvaw==", "dGhpc2lzYXNlY3JldDpvaw"),
        ("authorization: GenieKey aB3dE5fG-7hJ9", "aB3dE5fG-7hJ9"),
        ('Authorization: Digest username="me", response="aB3dE5fG7hJ9"', "aB3dE5fG7hJ9"),
        ("X-Vault-Token: plainword", "plainword"),
        ("X-Hub-Signature: aB3dE5fG7hJ9kL1mN3", "aB3dE5fG7hJ9kL1mN3"),
        ("SLACK_HOOK=aB3dE5fG7hJ9kL1mN3", "aB3dE5fG7hJ9kL1mN3"),
        ("数据库密码=hunter2x", "hunter2x"),
        ("ghr_abcdefghijklmnopqrstuvwxyz0123", "ghr_abcdefghijkl"),
        ("whsec_abcdefghijklmnopqrstuvwxyz", "whsec_abcdefghij"),
        (
            "-----BEGIN PGP PRIVATE KEY BLOCK-----\nlQOYBFabc\n-----END PGP PRIVATE KEY BLOCK-----",
            "lQOYBFabc",
        ),
        ("token%3Dghp_aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5", "aB3dE5fG7hJ9kL1m"),
    ],
)
def test_a_secret_is_seen_by_its_neighbourhood(line: str, secret: str) -> None:
    assert secret not in REDACTOR.text(line, Depth.SECRETS)


GIT, TRACE = "4bf92f3577b34da6a3ce929d0e0e47364bf92f35", "4bf92f3577b34da6a3ce929d0e0e4736"
UUID = "123e4567-e89b-12d3-a456-426614174000"


@pytest.mark.parametrize(
    "line",
    [
        "pass: 11",
        "fail: 0 pass: 1204 skip: 3",
        'secret="db-creds"',
        'kube_secret_info{namespace="shop",secret="db-creds"} 1',
        f"HEAD is now at {GIT}",
        f"deployed revision {GIT} to sourcegraph",
        f"heroku release id={UUID}",
        f"datadog trace_id={TRACE} span_id=00f067aa0ba902b7",
        f"sentry event_id={TRACE}",
        f"GET /orders/{UUID} 200",
        f"pulled shop/api@sha256:{TRACE}{TRACE}",
        f"container {TRACE}{TRACE} died",
        f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01",
        f"cloudflare ray id: {TRACE[:16]}",
        f"docker run --user 1000:1000 image-{GIT[:12]}",
        "curl --output file:name http://a:8080/x?mail=b@c.example",
        "http://prometheus:9090/api/v1/query?query=up@1",
        "listening on http://0.0.0.0:8080/ and https://[::]:8443/",
        "--token-file /var/run/secrets/token --key ./server.key --cert x.pem",
        "password authentication failed for user",
        "the token expired after 3600 seconds",
        "token is required, secret is missing",
        "session-service: JWT signature verification failed",
        "auth-service: restarted",
        "input_userauth_request: invalid user admin [preauth]",
        "processing token: expired",
        "session termination for sessionid: 0x14ed93111f20027",
        "[SessionTracker:ZooKeeperServer@325] - Expiring session",
        "to=<x>, dsn=5.1.1, stat=User unknown",
        "token=Token{a64f992 ActivityRecord{de9231d u0}}",
        "Bad activity token: android.os.BinderProxy@2bd79ce",
        "UserInfo={NSErrorFailingURLKey=https://a.example/x, _kCFStreamErrorCodeKey=-2102}",
        '"signature": "POST /v1/checkout 500: deadline exceeded"',
        "GET /api/webhooks/orders 200",
        "POST /admission-webhook/validate 200",
        "npm_lifecycle_event=start npm_package_version=1.2.3",
        "hf_hub_download is slow",
        "reading key-value-store-of-the-service",
        "seed=42 license: MIT",
        "at com.shop.auth.TokenService.refresh(TokenService.java:42)",
        "module github.com/x/y@v1.2.3 h1:replaced",
    ],
)
def test_what_is_no_secret_stays(line: str) -> None:
    assert REDACTOR.text(line, Depth.SECRETS) == line


@pytest.mark.parametrize(
    "unit",
    ["://a:b", "://u:p@", "token: Some(", "datadog = ", "--password x ", "/hook/", "ghp_",
     "name: DB_PASSWORD ",
     "Authorization: Digest a, b=c", "curl -u a:b", "password ",
     "<password>", "eyJ", "sk-", "a@b", "'", "= "],
)  # fmt: skip
def test_the_time_for_a_hostile_line_grows_with_its_length_and_not_faster(unit: str) -> None:
    seconds = []
    for size in (100_000, 400_000):
        line = unit * (size // len(unit))
        began = time.process_time()
        REDACTOR.text(line, Depth.SECRETS)
        seconds.append(time.process_time() - began)
    assert seconds[1] < 0.5 or seconds[1] / seconds[0] < 10, seconds
    assert seconds[1] < 6, seconds


def test_the_rules_carry_their_licence_and_commit() -> None:
    stored = (Path(__file__).parents[2] / "runbooklib" / "redact" / "gitleaks.json").read_text()
    assert "MIT License" in stored
    assert "b58d3f102cf3a2c84cb7f923d05c25c9b1aed84b" in stored
