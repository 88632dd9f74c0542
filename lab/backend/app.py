"""The application: routes, and the responses for its own errors."""

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from . import health
from .ai import ProviderError, open_provider
from .config import Config
from .database import Database, open_database
from .endpoints import Endpoints
from .faults import Faults
from .logs import log
from .middleware import Observe
from .sandbox import Sandbox, SandboxError, open_sandbox


def create_app(config: Config) -> Starlette:
    """Create the application. The fault watcher starts before the first request."""
    faults = Faults(config.faults)
    database = open_database(config.database_url, faults)
    sandbox = open_sandbox(faults)
    endpoints = Endpoints(database, sandbox, open_provider(config, faults))
    routes = [*user_routes(endpoints, sandbox), *health_routes(database, sandbox, config.version)]
    faults.start()
    observe = Middleware(Observe, faults=faults, endpoints=frozenset(route.path for route in routes))
    handlers = {
        SandboxError: answer_known_error,
        ProviderError: answer_known_error,
        Exception: answer_unknown_error,
    }
    return Starlette(routes=routes, middleware=[observe], exception_handlers=handlers)


def user_routes(endpoints: Endpoints, sandbox: Sandbox) -> list[Route]:
    """Routes for users. They are plain functions, so Starlette runs them in its threads."""

    def agents(_: Request) -> Response:
        return JSONResponse(endpoints.agents())

    def conversations(request: Request) -> Response:
        return JSONResponse(endpoints.conversations(int(request.query_params.get("agent", "1"))))

    def touch(request: Request) -> Response:
        return JSONResponse(endpoints.touch(int(request.query_params.get("agent", "1"))))

    def search(request: Request) -> Response:
        return JSONResponse(endpoints.search(request.query_params.get("q", "hello")))

    def execute(request: Request) -> Response:
        return JSONResponse(endpoints.execute(request.query_params.get("language", "python")))

    def chat(request: Request) -> Response:
        return JSONResponse(endpoints.chat(request.query_params.get("message", "hello")))

    async def stats(_: Request) -> Response:
        return JSONResponse(health.pool_stats(sandbox))

    both = ["GET", "POST"]
    return [
        Route("/api/v1/agents", agents),
        Route("/api/v1/conversations", conversations),
        Route("/api/v1/agents/touch", touch, methods=both),
        Route("/api/v1/search", search),
        Route("/api/v1/sandbox/execute", execute, methods=both),
        Route("/api/v1/chat", chat, methods=both),
        Route("/api/v1/sandbox/pool/stats", stats),
    ]


def health_routes(database: Database, sandbox: Sandbox, version: str) -> list[Route]:
    """Routes for monitoring. Live and metrics need no thread, so an exhausted pool does not block them."""

    def whole(_: Request) -> Response:
        page = health.health(database, sandbox, version)
        return JSONResponse(page, 200 if page["status"] == "healthy" else 503)

    def ready(_: Request) -> Response:
        database_status = health.database_health(database)["status"]
        sound = database_status == "healthy"
        return JSONResponse({"ready": sound, "database": database_status}, 200 if sound else 503)

    async def live(_: Request) -> Response:
        return PlainTextResponse("alive")

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return [
        Route("/health", whole),
        Route("/health/ready", ready),
        Route("/health/live", live),
        Route("/metrics", metrics),
    ]


def answer_known_error(request: Request, error: Exception) -> Response:
    """An expected error: its own status, a JSON line, no traceback."""
    status = error.status if isinstance(error, (SandboxError, ProviderError)) else 500
    request_id = request.scope["state"]["request_id"]
    kind = type(error).__name__
    log(
        "request_error",
        "error",
        request_id=request_id,
        path=request.url.path,
        error_type=kind,
        error=str(error),
    )
    return JSONResponse({"detail": str(error)}, status)


def answer_unknown_error(request: Request, error: Exception) -> Response:
    """An unexpected error: status 500, and uvicorn logs the traceback."""
    request_id = request.scope["state"]["request_id"]
    kind, text = type(error).__name__, str(error)
    log(
        "unhandled_exception",
        "error",
        request_id=request_id,
        path=request.url.path,
        error_type=kind,
        error=text,
    )
    return JSONResponse({"detail": "Internal Server Error"}, 500, headers={"X-Request-ID": request_id})
