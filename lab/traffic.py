"""Users and health probes, as a separate process: `python -m lab.traffic PORT`.

Open loop: requests are sent at fixed times, also if earlier requests have no answer yet, as real users do.
The queue of a slow backend therefore grows; the clients do not slow down.
"""

import argparse
import http.client
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from lab.layout import HOST

USER_REQUESTS_PER_SECOND = 25.0
PROBES_PER_SECOND = 2.0
TIMEOUT_SECONDS = 5.0
CLIENTS = 200
SHARES = {  # three fifths need the database, a fifth the AI provider
    "/api/v1/agents": 26,
    "/api/v1/conversations?agent={agent}": 22,
    "/api/v1/chat?message=hello": 20,
    "/api/v1/sandbox/execute?language=python": 15,
    "/api/v1/search?q=hello%20{agent}": 8,
    "/api/v1/agents/touch?agent={agent}": 6,
    "/api/v1/sandbox/pool/stats": 3,
}


def ask(port: int, path: str) -> None:
    """Send one request and read its answer; the backend counts the result."""
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return
    finally:
        connection.close()


def evenly(paths: list[str], weights: list[int]) -> Iterator[str]:
    """The paths forever, each as often as its weight says, and spread evenly over the others.

    Chance would leave out a rare path for some seconds, and with it what a fault does to it.
    """
    credit = [0] * len(paths)
    while True:
        credit = [has + weight for has, weight in zip(credit, weights, strict=True)]
        chosen = credit.index(max(credit))
        credit[chosen] -= sum(weights)
        yield paths[chosen]


def steadily(
    per_second: float, clients: ThreadPoolExecutor, port: int, paths: list[str], weights: list[int]
) -> None:
    """Send at a steady rate forever; after a pause of the machine, missed requests are skipped."""
    due = time.monotonic()
    for path in evenly(paths, weights):
        due = max(due + 1 / per_second, time.monotonic() - 1)
        time.sleep(max(0.0, due - time.monotonic()))
        clients.submit(ask, port, path.format(agent=random.randint(1, 50)))


def main() -> None:
    """Send until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    port = parser.parse_args().port
    clients = ThreadPoolExecutor(CLIENTS)
    probes = (PROBES_PER_SECOND, clients, port, ["/health"], [1])
    threading.Thread(target=steadily, args=probes, daemon=True).start()
    steadily(USER_REQUESTS_PER_SECOND, clients, port, list(SHARES), list(SHARES.values()))


if __name__ == "__main__":
    main()
