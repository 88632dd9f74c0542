"""Made-up secrets of many vendors, in the formats that the vendors document, and lines of logs with them.

Nothing here imports the rules of the library: the formats are written down from the vendors' own pages.
"""

import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass

LOWER, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
ALNUM, HEX, URLSAFE = LOWER + UPPER + DIGITS, DIGITS + "abcdef", LOWER + UPPER + DIGITS + "-_"
BASE64 = LOWER + UPPER + DIGITS + "+/"
UUID = (8, 4, 4, 4, 12)

# vendor: parts of a token; a text is literal, (alphabet, length) is random.
Part = str | tuple[str, int]
FORMATS: dict[str, tuple[Part, ...]] = {
    "Adobe": ("p8e-", (LOWER + DIGITS, 32)),
    "age": ("AGE-SECRET-KEY-1", ("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58)),
    "Airtable": ("pat", (ALNUM, 14), ".", (HEX, 64)),
    "Alibaba Cloud": ("LTAI", (ALNUM, 20)),
    "Anthropic": ("sk-ant-api03-", (URLSAFE, 93), "AA"),
    "Artifactory": ("AKCp", (ALNUM, 69)),
    "Atlassian": ("ATATT3", (URLSAFE, 180), "=", (HEX.upper(), 8)),
    "AWS access key": ("AKIA", (UPPER + "234567", 16)),
    "AWS session key": ("ASIA", (UPPER + "234567", 16)),
    "Azure AD": ((ALNUM, 3), "8Q~", (ALNUM + "_~.-", 33), "x"),
    "Bitbucket": ("ATBB", (ALNUM, 32)),
    "Buildkite": ("bkua_", (HEX, 40)),
    "Clojars": ("CLOJARS_", (HEX, 60)),
    "Cloudflare origin CA": ("v1.0-", (HEX, 24), "-", (HEX, 146)),
    "Contentful": ("CFPAT-", (URLSAFE, 43)),
    "Databricks": ("dapi", (HEX, 32)),
    "DigitalOcean": ("dop_v1_", (HEX, 64)),
    "DigitalOcean OAuth": ("doo_v1_", (HEX, 64)),
    "Docker Hub": ("dckr_pat_", (URLSAFE, 27)),
    "Doppler": ("dp.pt.", (ALNUM, 43)),
    "Duffel": ("duffel_live_", (URLSAFE, 43)),
    "Dynatrace": ("dt0c01.", (UPPER + DIGITS, 24), ".", (UPPER + DIGITS, 64)),
    "EasyPost": ("EZAK", (ALNUM, 54)),
    "Figma": ("figd_", (URLSAFE, 40)),
    "Flutterwave": ("FLWSECK_TEST-", (HEX, 32), "-X"),
    "Fly.io": ("fo1_", (URLSAFE, 43)),
    "Frame.io": ("fio-u-", (URLSAFE, 64)),
    "GitHub": ("ghp_", (ALNUM, 36)),
    "GitHub OAuth": ("gho_", (ALNUM, 36)),
    "GitHub user": ("ghu_", (ALNUM, 36)),
    "GitHub server": ("ghs_", (ALNUM, 36)),
    "GitHub refresh": ("ghr_", (ALNUM, 76)),
    "GitHub fine-grained": ("github_pat_", (ALNUM, 22), "_", (ALNUM, 59)),
    "GitLab": ("glpat-", (URLSAFE, 20)),
    "GitLab deploy": ("gldt-", (URLSAFE, 20)),
    "GitLab runner": ("glrt-", (URLSAFE, 20)),
    "Google API": ("AIza", (URLSAFE, 35)),
    "Google OAuth client": ("GOCSPX-", (URLSAFE, 28)),
    "Google OAuth access": ("ya29.", (URLSAFE, 140)),
    "Grafana service account": ("glsa_", (ALNUM, 32), "_", (HEX, 8)),
    "Grafana Cloud": ("glc_", (BASE64, 60)),
    "Groq": ("gsk_", (ALNUM, 52)),
    "HashiCorp Vault": ("hvs.", (URLSAFE, 95)),
    "Heroku": ("HRKU-AA", (URLSAFE, 58)),
    "Hugging Face": ("hf_", (LOWER + UPPER, 34)),
    "Infracost": ("ico-", (ALNUM, 32)),
    "LangSmith": ("lsv2_pt_", (HEX, 32), "_", (HEX, 10)),
    "Linear": ("lin_api_", (ALNUM, 40)),
    "Mailchimp": ((HEX, 32), "-us12"),
    "Mailgun": ("key-", (HEX, 32)),
    "MaxMind": ((ALNUM, 6), "_", (ALNUM, 29), "_mmk"),
    "Netlify": ("nfp_", (ALNUM, 36)),
    "New Relic user": ("NRAK-", (UPPER + DIGITS, 27)),
    "New Relic insert": ("NRII-", (URLSAFE, 32)),
    "Notion": ("ntn_", (DIGITS, 11), (ALNUM, 35)),
    "npm": ("npm_", (ALNUM, 36)),
    "NVIDIA": ("nvapi-", (URLSAFE, 64)),
    "Octopus Deploy": ("API-", (UPPER + DIGITS, 26)),
    "OpenAI": ("sk-proj-", (URLSAFE, 74), "T3BlbkFJ", (URLSAFE, 74)),
    "OpenRouter": ("sk-or-v1-", (HEX, 64)),
    "OpenShift": ("sha256~", (URLSAFE, 43)),
    "Perplexity": ("pplx-", (ALNUM, 48)),
    "PlanetScale": ("pscale_tkn_", (URLSAFE, 43)),
    "Postman": ("PMAK-", (HEX, 24), "-", (HEX, 34)),
    "Prefect": ("pnu_", (ALNUM, 36)),
    "Pulumi": ("pul-", (HEX, 40)),
    "PyPI": ("pypi-AgEIcHlwaS5vcmc", (URLSAFE, 120)),
    "ReadMe": ("rdme_", (LOWER + DIGITS, 70)),
    "Replicate": ("r8_", (ALNUM, 37)),
    "RubyGems": ("rubygems_", (HEX, 48)),
    "Scalingo": ("tk-us-", (URLSAFE, 48)),
    "SendGrid": ("SG.", (URLSAFE, 22), ".", (URLSAFE, 43)),
    "Sendinblue": ("xkeysib-", (HEX, 64), "-", (ALNUM, 16)),
    "Sentry user": ("sntryu_", (HEX, 64)),
    "Shippo": ("shippo_live_", (HEX, 40)),
    "Shopify": ("shpat_", (HEX, 32)),
    "Shopify shared": ("shpss_", (HEX, 32)),
    "Slack bot": ("xoxb-", (DIGITS, 12), "-", (DIGITS, 12), "-", (ALNUM, 24)),
    "Slack user": ("xoxp-", (DIGITS, 12), "-", (DIGITS, 12), "-", (DIGITS, 12), "-", (HEX, 32)),
    "Slack app": ("xapp-1-", (UPPER + DIGITS, 11), "-", (DIGITS, 13), "-", (HEX, 64)),
    "Sourcegraph": ("sgp_", (HEX, 40)),
    "Square": ("sq0atp-", (URLSAFE, 22)),
    "Stripe": ("sk_live_", (ALNUM, 24)),
    "Stripe restricted": ("rk_live_", (ALNUM, 24)),
    "Stripe webhook": ("whsec_", (ALNUM, 32)),
    "Supabase": ("sbp_", (HEX, 40)),
    "Tailscale": ("tskey-auth-", (ALNUM, 12), "CNTRL-", (ALNUM, 32)),
    "Telegram": ((DIGITS, 10), ":AA", (URLSAFE, 33)),
    "Terraform Cloud": ((ALNUM, 14), ".atlasv1.", (URLSAFE, 67)),
    "Twilio": ("SK", (HEX, 32)),
    "Typeform": ("tfp_", (URLSAFE, 59)),
    "xAI": ("xai-", (ALNUM, 80)),
    "Yandex": ("AQVN", (URLSAFE, 36)),
}
# vendor: (its usual variable, the format). The token has no form of its own: its name says what it is.
NAMED: dict[str, tuple[str, tuple[Part, ...]]] = {
    "Algolia": ("ALGOLIA_ADMIN_KEY", ((HEX, 32),)),
    "Asana": ("ASANA_ACCESS_TOKEN", ("1/", (DIGITS, 16), ":", (HEX, 32))),
    "AWS secret": ("AWS_SECRET_ACCESS_KEY", ((BASE64, 40),)),
    "Azure storage": ("AZURE_STORAGE_KEY", ((BASE64, 86), "==")),
    "Cloudflare": ("CLOUDFLARE_API_TOKEN", ((URLSAFE, 40),)),
    "Cohere": ("COHERE_API_KEY", ((ALNUM, 40),)),
    "Datadog": ("DD_API_KEY", ((HEX, 32),)),
    "Discord": ("DISCORD_BOT_TOKEN", ("M", (ALNUM, 23), ".", (URLSAFE, 6), ".", (URLSAFE, 27))),
    "Fastly": ("FASTLY_API_TOKEN", ((URLSAFE, 32),)),
    "Fernet": ("AIRFLOW__CORE__FERNET_KEY", ((URLSAFE, 43), "=")),
    "Okta": ("OKTA_CLIENT_TOKEN", ("00", (URLSAFE, 40))),
    "PagerDuty": ("PAGERDUTY_ROUTING_KEY", ((HEX, 32),)),
    "Plaid": ("PLAID_SECRET", ((HEX, 30),)),
    "Snyk": ("SNYK_TOKEN", tuple(part for size in UUID for part in ((HEX, size), "-"))[:-1]),
    "Twitch": ("TWITCH_CLIENT_SECRET", ((LOWER + DIGITS, 30),)),
    "Zendesk": ("ZENDESK_API_TOKEN", ((ALNUM, 40),)),
}


@dataclass(frozen=True)
class Shown:
    """A line of a log that contains a secret."""

    vendor: str
    context: str
    line: str
    secret: str


def _made(parts: tuple[Part, ...], chance: random.Random) -> str:
    return "".join(
        part if isinstance(part, str) else "".join(chance.choices(part[0], k=part[1])) for part in parts
    )


def _variable(vendor: str) -> str:
    return "_".join(vendor.upper().replace(".", "_").split()) + "_TOKEN"


# What a line looks like: of a variable's name and a secret.
CONTEXTS: dict[str, Callable[[str, str], str]] = {
    "env line": lambda name, secret: f"export {name}={secret}",
    "JSON": lambda name, secret: f'{{"level":"info","msg":"loaded","{name.lower()}":"{secret}","ok":true}}',
    "JSON in JSON": lambda name, secret: f'{{"msg":"got {{\\"{name}\\":\\"{secret}\\"}}"}}',
    "YAML": lambda name, secret: f"  {name.lower()}: {secret}",
    "URL query": lambda name, secret: (
        f"GET https://api.shop.example/v1/x?page=2&{name.lower()}={secret}&z=1 200"
    ),
    "header": lambda _, secret: f"> Authorization: Token {secret}",
    "header of the vendor": lambda name, secret: f"< X-{name.title().replace('_', '-')}: {secret}",
    "flag": lambda name, secret: f"+ shopctl login --{name.lower().replace('_', '-')} {secret} --verbose",
    "flag with =": lambda name, secret: f"exec: shopctl --{name.lower().replace('_', '-')}={secret} -v",
    "traceback": lambda name, secret: f"    client = Client({name.lower()}='{secret}', timeout=3)",
    "wrapper": lambda name, secret: f'Settings {{ {name.lower()}: Some("{secret}"), port: 80 }}',
}
# Without a name beside it, only the token's own form shows that it is a secret.
BARE: dict[str, Callable[[str], str]] = {
    "URL path": lambda secret: f"POST https://api.shop.example/v2/{secret}/send 429",
    "alone in a sentence": lambda secret: f"2026-01-15T03:12:00Z WARN refused: {secret} is not valid",
    "message of an exception": lambda secret: f"ValueError: invalid literal '{secret}'",
    "argument": lambda secret: f'  File "x.py", line 3, in call({secret})',
    "escaped": lambda secret: f'{{"msg":"first line\\n{secret}\\nlast"}}',
}


def shown(seed: int = 14) -> Iterator[Shown]:
    """Each vendor's secret in each context; the same seed gives the same secrets."""
    chance = random.Random(seed)
    for vendor, parts in FORMATS.items():
        secret = _made(parts, chance)
        for context, line in CONTEXTS.items():
            yield Shown(vendor, context, line(_variable(vendor), secret), secret)
        for context, alone in BARE.items():
            yield Shown(vendor, context, alone(secret), secret)
    for vendor, (name, parts) in NAMED.items():
        secret = _made(parts, chance)
        for context, line in CONTEXTS.items():
            yield Shown(vendor, context, line(name, secret), secret)
