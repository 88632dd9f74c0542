"""How systems fail and lie: small servers that do so, or what is said in the place of the truth."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import dns.rcode
import pytest

from tests.support import sound_site
from tests.support.stand_in import (
    Asked,
    Behaviour,
    answer,
    black_hole,
    closed_port,
    huge,
    name_server,
    prometheus_data,
    reset,
    trickle_body,
    truncated,
)

PROSE = "<html><title>Log in</title>Please log in</html>"
# What a check asks about before it asks what it is about.
PREAMBLE = ("/api/v1/rules", "/version", "/containers/backend/json")
Respond = Callable[[Asked], Behaviour]
SOUND: dict[str, Respond] = {
    "prometheus": sound_site.sound_prometheus,
    "alertmanager": sound_site.sound_alertmanager,
    "web": sound_site.sound_web,
}


# How a system that speaks HTTP fails, and with which Reason where it is the same for all of them.
HTTP: dict[str, tuple[Behaviour, tuple[str, ...]]] = {
    "hang": (black_hole, ("F35",)),
    "trickle": (trickle_body, ("F37",)),
    "401": (answer("who are you", 401, "text/plain"), ()),
    "403": (answer("not you", 403, "text/plain"), ()),
    "429": (answer("later", 429, "text/plain", {"Retry-After": "30"}), ("F40",)),
    "500": (answer("it broke", 500, "text/plain"), ()),
    "503": (answer("starting up: replaying its log", 503, "text/plain"), ("F38",)),
    "HTML": (answer(PROSE, content_type="text/html; charset=utf-8"), ("F41",)),
    "HTML as JSON": (answer(PROSE), ("F41",)),
    "truncated": (truncated, ("F43",)),
    "reset": (reset, ("F43",)),
    "no body": (answer(b""), ("F49",)),
    "null": (answer("null"), ("F49",)),
    "a number": (answer("7"), ("F49",)),
    "a list of numbers": (answer([1, 2]), ("F49",)),
    "an object of nothing": (answer({}), ("F49",)),
    "an object of nulls": (answer({"status": None, "components": None, "data": None}), ("F49",)),
    "over the limit": (huge(17), ("F42",)),
    "200k deep": (answer(b"[" * 200_000 + b"]" * 200_000), ("H24",)),
    "redirect": (answer(b"", 302, "text/plain", {"Location": "http://127.0.0.1:9/login"}), ("H22",)),
}


def changed(change: sound_site.Samples) -> Respond:
    """A Prometheus whose samples are others."""

    def respond(asked: Asked) -> Behaviour:
        return answer({"status": "success", "data": sound_site.prometheus_data(asked, change)})

    return respond


def _with(**more: Any) -> Respond:
    def respond(asked: Asked) -> Behaviour:
        return answer({"status": "success", "data": sound_site.prometheus_data(asked), **more})

    return respond


def _empty(asked: Asked) -> Behaviour:
    return prometheus_data([], "matrix" if asked.path.endswith("range") else "vector")


def _ended(asked: Asked) -> Behaviour:
    """Series that ended before it began: nothing now, and only the past of a range."""
    if not asked.path.endswith("range"):
        return prometheus_data([])
    data = sound_site.prometheus_data(asked)
    for series in data["result"]:
        series["values"] = series["values"][: len(series["values"]) // 4]
    return answer({"status": "success", "data": data})


def _gone(asked: Asked) -> Behaviour:
    """The same, where what is computed of them is NaN now."""
    data = sound_site.prometheus_data(asked)
    for series in data["result"]:
        if "values" in series:
            kept = len(series["values"]) // 4
            series["values"] = series["values"][:kept] + [[at, "NaN"] for at, _ in series["values"][kept:]]
        else:
            series["value"] = [series["value"][0], "NaN"]
    return answer({"status": "success", "data": data})


LIES: dict[str, tuple[Respond, tuple[str, ...]]] = {
    "empty": (_empty, ("F45",)),
    "NaN": (changed(lambda at, _: (at, "NaN")), ("F46",)),
    "+Inf": (changed(lambda at, _: (at, "+Inf")), ("F46",)),
    "-Inf": (changed(lambda at, _: (at, "-Inf")), ("F46",)),
    "stale": (changed(lambda at, value: (at - 7200, value)), ("F47",)),
    "future": (changed(lambda at, value: (at + 7200, value)), ("F47",)),
    "ended": (_ended, ("F47",)),
    "NaN since": (_gone, ("F46",)),
    "warnings": (_with(warnings=["a store is missing"]), ("F44",)),
    "status error": (
        lambda _: answer({"status": "error", "errorType": "execution", "error": "no"}),
        ("F49",),
    ),
    "no data": (lambda _: answer({"status": "success"}), ("F49",)),
    "wrong type": (lambda _: prometheus_data([0, "text"], "string"), ("F49",)),
    "400 digits": (changed(lambda at, _: (at, "1" + "0" * 400)), ("H24",)),
}


def cases(*sources: str) -> list[Any]:
    """Every fault of these sources."""
    return [case for case in _every() if case.values[0] in sources]


def _every() -> Iterator[Any]:
    for source in (*SOUND, "docker"):
        for name, (behaviour, rows) in HTTP.items():
            marks = [pytest.mark.row(*rows)] if rows and source == "prometheus" else []
            yield pytest.param(source, name, always(behaviour), id=f"{source}: {name}", marks=marks)
    for name, (respond, rows) in LIES.items():
        yield pytest.param(
            "prometheus", name, respond, id=f"prometheus: {name}", marks=pytest.mark.row(*rows)
        )


def always(behaviour: Behaviour) -> Respond:
    """The same to every request."""
    return lambda _: behaviour


def but_for_the_preamble(sound: Respond, lie: Respond) -> Respond:
    """What a check asks about first is as it should be, and only then comes the lie."""
    return lambda asked: (sound if asked.path.endswith(PREAMBLE) else lie)(asked)


@contextmanager
def raw(say: bytes) -> Iterator[int]:
    """A port where somebody says this to whoever comes, whatever is asked; nothing: nobody says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        over, lines = Event(), []
        listening.settimeout(0.05)

        def serve() -> None:
            while not over.is_set():
                try:
                    line, _ = listening.accept()
                except TimeoutError:
                    continue
                lines.append(line)
                if say:
                    line.sendall(say)
                    line.close()

        thread = Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            thread.join(5)
            for line in lines:
                line.close()


@contextmanager
def resolver(fault: str) -> Iterator[str]:
    """A name server that fails in this way."""
    if fault == "refused":
        yield f"127.0.0.1:{closed_port()}"
    elif fault == "garbage":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.bind(("127.0.0.1", 0))
            line.settimeout(0.05)
            over = Event()

            def serve() -> None:
                while not over.is_set():
                    try:
                        wire, sender = line.recvfrom(4096)
                    except TimeoutError:
                        continue
                    line.sendto(wire[:2] + b"\xff" * 40, sender)

            thread = Thread(target=serve, daemon=True)
            thread.start()
            yield f"127.0.0.1:{line.getsockname()[1]}"
            over.set()
            thread.join(5)
    else:
        says: dict[str, dict[str, str | dns.rcode.Rcode]] = {
            "SERVFAIL": {sound_site.NAME: dns.rcode.SERVFAIL},
            "REFUSED": {sound_site.NAME: dns.rcode.REFUSED},
        }
        with name_server(says.get(fault, {}), is_silent=fault == "hang") as address:
            yield address
