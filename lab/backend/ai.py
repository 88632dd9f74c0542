"""AI chat: the provider's name is resolved by DNS, requests go over HTTP with short timeouts."""

import http.client
import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import dns.exception
import dns.resolver

from .config import Config
from .faults import Faults
from .metrics import AI_DURATION, AI_ERRORS, AI_REQUESTS, AI_TOKENS

LOOKUP_SECONDS = 2.0
FALLBACK: dict[str, Any] = {
    "choices": [{"message": {"content": "The assistant is not available at the moment."}}],
    "usage": {"total_tokens": 0},
}


class ProviderError(Exception):
    """The provider did not answer, or its answer is invalid. Our client gets 502 or 504."""

    def __init__(self, kind: str, message: str, status: int) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status


@dataclass(frozen=True, slots=True)
class Provider:
    """The AI provider, and the name server that resolves its address."""

    host: str
    port: int
    resolver: dns.resolver.Resolver
    faults: Faults
    is_off: bool = False

    def chat(self, message: str) -> dict[str, Any]:
        """Request a completion; count tokens, time and failures by kind. In fallback mode: the fallback."""
        if self.is_off:
            return FALLBACK
        started = time.perf_counter()
        try:
            answer = self._ask(message)
        except ProviderError as error:
            AI_REQUESTS.labels(status="error").inc()
            AI_ERRORS.labels(error_type=error.kind).inc()
            raise
        finally:
            AI_DURATION.observe(time.perf_counter() - started)
        AI_REQUESTS.labels(status="success").inc()
        AI_TOKENS.labels(model=answer["model"]).inc(answer["usage"]["total_tokens"])
        return answer

    @property
    def _patience(self) -> float:
        return self.faults.switches.ai_timeout_seconds

    def _ask(self, message: str) -> dict[str, Any]:
        where = f"AI provider {self.host}:{self.port}"
        try:
            return self._exchange(self._address(), message)
        except dns.exception.DNSException as error:
            raise ProviderError("dns", f"{where}: name not resolved: {error}", 502) from error
        except TimeoutError as error:
            raise ProviderError("timeout", f"{where}: no answer within {self._patience:g} s", 504) from error
        except OSError as error:
            raise ProviderError("connection", f"{where}: {error}", 502) from error
        except (http.client.HTTPException, ValueError) as error:
            raise ProviderError("protocol", f"{where}: {error!r}", 502) from error

    def _address(self) -> str:
        answer = self.resolver.resolve(self.host, "A", lifetime=LOOKUP_SECONDS)
        return str(answer[0])

    def _exchange(self, address: str, message: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection(address, self.port, timeout=self._patience)
        # With this fault, each message contains the whole history.
        history = "lorem " * (self.faults.switches.prompt_padding_characters // 6)
        asked = [{"role": "user", "content": history + message}]
        body = json.dumps({"model": "deepseek-chat", "messages": asked})
        headers = {"Host": f"{self.host}:{self.port}", "Content-Type": "application/json"}
        try:
            connection.request("POST", "/chat/completions", body, headers)
            response = connection.getresponse()
            payload = response.read()
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise http.client.HTTPException(f"status {response.status}")
        answer: dict[str, Any] = json.loads(payload)
        return answer


def open_provider(config: Config, faults: Faults) -> Provider:
    """Create the client. It sends no request before the first chat."""
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = [config.nameserver]
    resolver.port = config.nameserver_port
    url = urlsplit(config.ai_provider_url)
    return Provider(url.hostname or "", url.port or 80, resolver, faults, is_off=config.fallback_mode)
