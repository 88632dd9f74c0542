import pytest

from runbooklib.fields import sounds_secret

SECRET = """
AI_PROVIDER_KEY APIKEY api_key apiKey ACCESS_KEYS KEY2 S3KEY SSHKEY KEY_FILE TOKEN AUTH_TOKEN AUTHTOKEN
API_TOKENS GITHUB_TOKEN_2 SECRET CLIENT_SECRET SECRETKEY DB_PASS DBPASS PASSWORD DB_PASSWORD PASSWD PASSPHRASE
PWD DB_PWD MYSQLPWD DB_PW dbPw CREDENTIAL AWS_CREDENTIALS CREDS AUTH BASIC_AUTH OAUTH OAUTH2_ID AUTHORIZATION
SENTRY_DSN SENTRYDSN COOKIE SESSION_COOKIES JWT
"""
ORDINARY = """
FALLBACK_MODE AI_PROVIDER_URL MODEL NEW A LOG_LEVEL MAX_TOKENS AI_MAX_TOKENS TOKENS_PER_MINUTE TOKENIZER_PATH
MONKEY KEYBOARD AUTHOR_NAME BYPASS_CACHE COMPASS PASSENGERS HOTKEY TIMEOUT_SECONDS HTTP_PROXY PORT DSNAME _ X1
"""


@pytest.mark.parametrize("name", SECRET.split())
def test_a_name_that_sounds_like_a_secret_is_known(name: str) -> None:
    assert sounds_secret(name)
    assert sounds_secret(f"AI_{name}_B")


@pytest.mark.parametrize("name", ORDINARY.split())
def test_an_ordinary_name_stays_readable(name: str) -> None:
    assert not sounds_secret(name)
