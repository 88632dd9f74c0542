"""PostgreSQL: a cluster of the lab's own, run as a user that is not root, with the roles of production.

Trust on loopback for three named roles only: no password exists, so none can leak. The superuser is reached
through a socket in a directory that only the server's user (and root) may enter.
"""

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from lab import processes
from lab.errors import LabError
from lab.layout import HOST, Layout
from lab.processes import Server

MAX_CONNECTIONS = 80
APPLICATION_LIMIT = 64  # the rest stays free for people who diagnose a problem
SEARCH_INDEX = "CREATE INDEX IF NOT EXISTS messages_lower_body ON messages (lower(body))"
ROLES = (
    f"CREATE ROLE helloagents LOGIN CONNECTION LIMIT {APPLICATION_LIMIT}",
    "CREATE ROLE runbook_reader LOGIN IN ROLE pg_monitor",
    "ALTER ROLE runbook_reader SET default_transaction_read_only = on",
    "CREATE ROLE runbook_operator LOGIN IN ROLE pg_signal_backend, pg_monitor",
    "CREATE DATABASE helloagents OWNER helloagents",
)
SCHEMA = (
    "CREATE TABLE agents (id int PRIMARY KEY, name text NOT NULL, model text NOT NULL, used_at timestamptz)",
    "INSERT INTO agents SELECT n, 'agent ' || n, 'deepseek-chat', now() FROM generate_series(1, 50) n",
    "CREATE TABLE conversations (id int PRIMARY KEY, agent_id int NOT NULL, title text NOT NULL)",
    "INSERT INTO conversations SELECT n, 1 + n % 50, 'conversation ' || n FROM generate_series(1, 2000) n",
    "CREATE INDEX ON conversations (agent_id, id)",
    "CREATE TABLE messages (id int PRIMARY KEY, conversation_id int NOT NULL, body text NOT NULL)",
    # Without the index, a search takes about 0.3 s of a core: clearly more than the alert's 0.1 s. With more
    # rows, the traffic's searches need all cores of a small machine, and the rest of the lab fails as well.
    "INSERT INTO messages SELECT n, 1 + n % 2000, 'Message ' || n || repeat(' lorem ipsum dolor', 6) "
    "FROM generate_series(1, 180000) n",
    SEARCH_INDEX,
    "ANALYZE",
)


def server_user() -> str | None:
    """The user postgres if the lab runs as root, which PostgreSQL refuses; None: the lab's own user."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError as error:
        raise LabError("no user postgres to run PostgreSQL as: apt-get install postgresql") from error


def binary(name: str) -> str:
    """Path of a program of the newest installed PostgreSQL."""
    versions = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: path.parts[4].zfill(3)
    )
    path = str(versions[-1]) if versions else shutil.which(name)
    if not path:
        raise LabError(f"{name} not found: apt-get install postgresql")
    return path


def home(layout: Layout) -> Path:
    """The cluster's directory."""
    return layout.state / "postgres"


def prepare(layout: Layout) -> bool:
    """Create the cluster if there is no current one. True if it is new and still needs roles and tables."""
    binary("postgres")
    directory, user = home(layout), server_user()
    if processes.running(layout, "postgres") is not None or is_filled(layout):
        return False
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "socket").mkdir(parents=True, mode=0o700)
    for path in (directory, directory / "socket"):
        path.chmod(0o700)
        if user:
            shutil.chown(path, user, user)
    argv = [binary("initdb"), "-D", str(directory / "data"), "-U", "postgres", "--auth=reject", "--no-sync"]
    argv += ["--encoding=UTF8", "--locale=C.UTF-8"]
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        user=user,
        group=user,
        extra_groups=[] if user else None,
    )
    if done.returncode:
        raise LabError(f"initdb failed: {done.stderr.strip().splitlines()[-1]} (is the state under /tmp?)")
    write_config(layout)
    return True


def is_filled(layout: Layout) -> bool:
    """True if the cluster is complete and matches the current settings."""
    mark = home(layout) / "ready"
    return mark.exists() and mark.read_text(encoding="utf-8") == fingerprint(layout)


def fingerprint(layout: Layout) -> str:
    """A digest of the settings that define a cluster."""
    parts = (layout.postgres_port, MAX_CONNECTIONS, ROLES, SCHEMA)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def write_config(layout: Layout) -> None:
    """Write the access rules and the settings of the server."""
    data = home(layout) / "data"
    who = "helloagents,runbook_reader,runbook_operator"
    hba = f"local all postgres trust\nhost helloagents {who} {HOST}/32 trust\n"
    (data / "pg_hba.conf").write_text(hba, encoding="utf-8")
    settings = {
        "listen_addresses": f"'{HOST}'",
        "port": str(layout.postgres_port),
        "unix_socket_directories": f"'{home(layout) / 'socket'}'",
        "max_connections": str(MAX_CONNECTIONS),
        "shared_buffers": "'64MB'",
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "off",
        "max_parallel_workers_per_gather": "0",
        "jit": "off",
        "log_line_prefix": "'%m [%p] %q%u@%d %a '",
        "log_lock_waits": "on",
        "timezone": "'UTC'",
        "log_timezone": "'UTC'",
    }
    if statements_available():
        settings["shared_preload_libraries"] = "'pg_stat_statements'"
    text = "".join(f"{name} = {value}\n" for name, value in settings.items())
    with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write(text)


def statements_available() -> bool:
    """True if the extension pg_stat_statements is installed."""
    root = Path(binary("postgres")).parent.parent
    return any(root.glob("lib/pg_stat_statements.so"))


def server(layout: Layout) -> Server:
    """The server, with fast shutdown: smart shutdown waits forever for the backend's pool."""
    argv = (binary("postgres"), "-D", str(home(layout) / "data"))
    return Server(
        "postgres",
        argv,
        lambda: answers(layout),
        user=server_user(),
        stop_signal=signal.SIGINT,
        port=layout.postgres_port,
    )


def administer(layout: Layout, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
    """A superuser's connection through the private socket."""
    where = str(home(layout) / "socket")
    return psycopg.connect(
        host=where,
        port=layout.postgres_port,
        user="postgres",
        dbname=database,
        autocommit=True,
        connect_timeout=5,
    )


def answers(layout: Layout) -> bool:
    """True if the superuser can connect."""
    try:
        administer(layout).close()
    except psycopg.Error:
        return False
    return True


def fill(layout: Layout) -> None:
    """Create roles, database and tables. The mark comes last, so that an incomplete cluster is recreated."""
    with administer(layout) as connection:
        for statement in ROLES:
            connection.execute(sql.SQL(statement))
    with administer(layout, "helloagents") as connection:
        if statements_available():
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        connection.execute("GRANT CREATE ON SCHEMA public TO helloagents")
        connection.execute("SET ROLE helloagents")
        for statement in SCHEMA:
            connection.execute(sql.SQL(statement))
    (home(layout) / "ready").write_text(fingerprint(layout), encoding="utf-8")


def restore_index(layout: Layout) -> None:
    """Restore the index of the message search, and the statistics that the planner needs to use it."""
    with administer(layout, "helloagents") as connection:
        connection.execute("SET ROLE helloagents")
        connection.execute(sql.SQL(SEARCH_INDEX))
        connection.execute("ANALYZE messages")


def drop_index(layout: Layout) -> None:
    """Drop the index of the message search, as a wrong migration does."""
    with administer(layout, "helloagents") as connection:
        connection.execute("DROP INDEX IF EXISTS messages_lower_body")
