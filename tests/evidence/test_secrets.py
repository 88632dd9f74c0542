"""Secrets that are planted wherever one can slip in, and looked for in every byte of the evidence."""

import base64
import html
import io
import json
import os
import re
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from matplotlib.figure import Figure

from runbooklib.evidence.executed_notebook import recording_of
from runbooklib.redact.redactor import tag
from tests.support.running import Ended, command, errors, notebook, outputs
from tests.support.site import PASSWORD_VARIABLE, SiteAnswers, running_site
from tests.support.survey import Survey

DATABASE = 'c4n4ry/db+"quoted"&\\slash ü=1'
API_KEY = "c4n4ry-key?yes=1&no=<2>'3'"
DSN = "c4n4ry-dsn-44"
URL_USER = "c4n4ry-url-55"
SIGNING_KEY = (
    "-----BEGIN RSA PRIVATE KEY-----\nc4n4ryFirstLineOfKey0123456789abcdef\n"
    "c4n4rySecondLineOfKey0123456789abcde\n-----END RSA PRIVATE KEY-----"
)
KNOWN = [DATABASE, API_KEY, DSN]
SESSION = "c4n4ry-session-" + "0123456789abcdefghij" * 4
LOCAL = "c4n4ry-local-66"
QUERY = "c4n4ry-query-77"
PERSONAL = ("4111 1111 1111 1111", "ann.lee@mail.example.com", "13912345678", "11010519491231002X")
CANARIES = (*KNOWN, SESSION, LOCAL, QUERY, URL_USER)
ENVIRONMENT = {
    PASSWORD_VARIABLE: DATABASE,
    "PAYMENT_API_KEY": API_KEY,
    "DATABASE_URL": f"postgresql://app:{DSN}@db:5432/x",
    "DEPLOY_PRIVATE_KEY": SIGNING_KEY,
    "SESSION_TOKEN": SESSION,
}


def encoded(secret: str) -> dict[str, str]:
    """How the secret may be written, each by a name."""
    raw = secret.encode()
    forms = {
        "plain": secret,
        "JSON": json.dumps(secret)[1:-1],
        "JSON, not ASCII": json.dumps(secret, ensure_ascii=False)[1:-1],
        "JSON in JSON": json.dumps(json.dumps(secret))[3:-3],
        "repr": repr(secret)[1:-1],
        "URL": quote(raw, safe=""),
        "form": quote_plus(raw),
        "hex": raw.hex(),
        "HEX": raw.hex().upper(),
        "HTML": html.escape(secret),
    }
    for before in range(3):
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            # What does not depend on the bytes before and after it.
            whole = encode(b"\0" * before + raw + b"\0" * (-(before + len(raw)) % 3)).decode()
            end = len(whole) - 4 if (before + len(raw)) % 3 else len(whole)
            forms[f"{name} at {before}"] = whole[4 if before else 0 : end]
    return forms


def written(secret: str) -> Iterator[str]:
    """Texts that hold the secret in each encoding, as a program would write them."""
    yield secret
    yield json.dumps({"login": secret})
    yield repr((secret,))
    yield f"http://host/?q={quote(secret, safe='')}"
    yield secret.encode().hex()
    for before in ("", "a", "ab"):
        yield base64.b64encode(f"{before}{secret}:x".encode()).decode()
        yield base64.urlsafe_b64encode(f"{before}{secret}:x".encode()).decode()


PICTURE = f"""
import base64, os, struct, zlib
from IPython.display import HTML, Image, display

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

secret = os.environ[{PASSWORD_VARIABLE!r}].encode()
head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
told = chunk(b"tEXt", b"Title\\0" + secret) + chunk(b"zTXt", b"Author\\0\\0" + zlib.compress(secret))
told += chunk(b"iTXt", b"Comment\\0\\1\\0\\0\\0" + zlib.compress(secret)) + chunk(b"eXIf", secret)
end = chunk(b"IDAT", zlib.compress(b"\\0\\0")) + chunk(b"IEND", b"")
picture = b"\\x89PNG\\r\\n\\x1a\\n" + head + told + end
display(Image(picture))
display(HTML('<img src="data:image/png;base64,' + base64.b64encode(picture).decode() + '">'))
"""
CELLS = [
    "import os\nprint(dict(os.environ))\nos.environ",
    "import html, pandas\nfrom IPython.display import HTML, display\n"
    "display(pandas.DataFrame(os.environ.items()))\n"
    "display(HTML(html.escape(os.environ['PAYMENT_API_KEY'])))",
    "print(os.environ['DEPLOY_PRIVATE_KEY'])",
    "!env",
    "import sys\nfor letter in os.environ['PAYMENT_API_KEY']:\n    print(letter, end='', flush=True)",
    f"incident.prometheus.custom_query({'up{password=' + json.dumps(API_KEY) + '}'!r})",
    f"incident.prometheus.custom_query({'up{note=' + json.dumps(DATABASE) + '}'!r})",
    PICTURE,
]
# A secret that is torn by chunks of a stream, by lines of base64, by what shortens a table, by tags.
TORN = f"""
import base64, os, pprint, sys, time
secret = os.environ[{PASSWORD_VARIABLE!r}]
print(secret[:9], end="", flush=True)
print("between", file=sys.stderr, flush=True)
print(secret[9:], flush=True)
sys.stdout.flush()
time.sleep(0.5)
print(secret[:5], end="", flush=True)
time.sleep(0.5)
print(secret[5:], end="", file=sys.stderr, flush=True)
time.sleep(0.5)
print(base64.encodebytes(b"x" * 50 + secret.encode() + b"y" * 50).decode())
pprint.pprint(base64.b64encode(b"x" * 100 + secret.encode() * 4))
print(secret.encode().hex(" "), repr(secret.encode()))
display(pandas.DataFrame({{"x": [os.environ["SESSION_TOKEN"]]}}))
display(HTML(f"<p>{{html.escape(secret[:7])}}<b></b>{{html.escape(secret[7:])}}</p>"))
display(HTML("".join(f"&#{{ord(c)}};" for c in secret)))
"""
CLIENTS = f"""
import traceback, urllib.request, psycopg, requests
from prometheus_api_client import PrometheusConnect
for call in (
    lambda: requests.get("http://u:{URL_USER}@127.0.0.1:9/x", timeout=2),
    lambda: requests.get("http://u:{URL_USER}@bad host/x", timeout=2),
    lambda: urllib.request.urlopen("http://u:{URL_USER}@127.0.0.1/x", timeout=2),
    lambda: PrometheusConnect(url="http://u:{URL_USER}@127.0.0.1:9").custom_query("up"),
    lambda: psycopg.connect("postgresql://u:{URL_USER}@127.0.0.1:9/x?nonsense=1"),
    lambda: requests.get("http://127.0.0.1:9/x?token={QUERY}&a=1", timeout=2),
):
    try:
        call()
    except Exception as error:
        print("CLIENT", type(error).__name__)
        traceback.print_exc()
        print(repr(error), vars(error))
"""
DRAWN = f"""
import io, os
from IPython.display import Image, display
from matplotlib.figure import Figure
figure = Figure(figsize=(9, 1))
axes = figure.subplots()
title = axes.set_title(os.environ[{PASSWORD_VARIABLE!r}])
axes.plot([1, 2], label=os.environ["PAYMENT_API_KEY"])
axes.legend(loc="upper right")
drawn = io.BytesIO()
figure.savefig(drawn, format="png", metadata={{"Software": None}})
print("TITLE", title.get_text())
display(Image(drawn.getvalue()))
"""
WIDGET = f"import ipywidgets, os\nipywidgets.HTML(os.environ[{PASSWORD_VARIABLE!r}] + '<script>x</script>')"
CELLS += [TORN, CLIENTS, "%env", f"print({PERSONAL!r})", DRAWN, WIDGET]
RAISES = f"""%xmode Verbose
def connect(dsn, password):
    environment = dict(os.environ)
    raise ConnectionError("cannot reach " + dsn + str(len(environment)))
connect("postgresql://app:{URL_USER}@db/x", password="{LOCAL}")
"""


@dataclass(frozen=True)
class Sealed:
    """A bundle in which secrets are looked for."""

    bundle: Path
    ended: Ended
    argv: frozenset[str] = frozenset()

    @property
    def notebook(self) -> dict[str, Any]:
        return notebook(self.bundle / "notebook.ipynb")

    def texts(self) -> Iterator[tuple[str, str]]:
        """Everything that can be read in it: where, and what."""
        for file in self.bundle.iterdir():
            yield file.name, file.read_text()
        yield "recording", json.dumps([e.as_dict() for e in recording_of(self.notebook)], ensure_ascii=False)
        for cell in self.notebook["cells"]:
            yield f"cell {cell['id']}", json.dumps(cell, ensure_ascii=False)
            yield f"source of {cell['id']}", str(cell["source"])
        for number, output in enumerate(outputs(self.notebook)):
            yield f"output {number}", "\n".join(strings(output))
        for number, png in enumerate(self.pictures()):
            for kind, data in chunks(png):
                yield f"{kind} of picture {number}", data.decode("utf-8", "replace")
        yield "printed", self.ended.out + self.ended.err

    def pictures(self) -> list[bytes]:
        page = (self.bundle / "notebook.html").read_text()
        found = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]{40,})", page + json.dumps(self.notebook))
        found += [o["data"]["image/png"] for o in outputs(self.notebook) if "image/png" in o.get("data", {})]
        return [base64.b64decode(text) for text in found]


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def chunks(png: bytes) -> Iterator[tuple[str, bytes]]:
    """The chunks of a PNG that are not its pixels, unpacked where they are packed."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    place = 8
    while place < len(png):
        (size,) = struct.unpack(">I", png[place : place + 4])
        kind, data = png[place + 4 : place + 8].decode(), png[place + 8 : place + 8 + size]
        place += size + 12
        if kind == "zTXt":
            data += zlib.decompress(data.partition(b"\0")[2][1:])
        if kind == "iTXt" and data.partition(b"\0")[2][:1] == b"\1":
            data += zlib.decompress(data.partition(b"\0")[2].split(b"\0", 3)[-1])
        if kind != "IDAT":
            yield kind, data


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    log = [f"ERROR: QueuePool limit of size {text}" for secret in KNOWN for text in written(secret)]
    told = SiteAnswers(
        endpoint=f"/list?token={API_KEY}&{DATABASE}",
        error_type=DATABASE,
        annotation=f"Login with {API_KEY} failed",
        other_alert=f"Disk {DSN}",
        other_annotation=DATABASE,
        subject=f"Rotate {API_KEY} and {DATABASE}",
        health=DATABASE,
        log=(*log, f"ERROR: QueuePool limit of size 5: postgresql://app:{URL_USER}@db:5432/x"),
    )
    with running_site(tmp_path_factory.mktemp("site"), told) as site:
        home = site.home(*CELLS)
        path = home / "notebooks" / "HighErrorRate.ipynb"
        given = json.loads(path.read_text())
        raising = {"cell_type": "code", "id": "raises", "metadata": {"note": API_KEY}, "source": RAISES}
        given["cells"].append({**raising, "outputs": [], "execution_count": None})
        given["metadata"] |= {"title": DATABASE, "widgets": {"state": {"x": {"value": API_KEY}}}}
        path.write_text(json.dumps(given))
        output = tmp_path_factory.mktemp("evidence")
        survey = Survey(lambda *_: None)
        told_to = {**ENVIRONMENT, **survey.environment, "RUNBOOK_HOME": str(home)}
        with snooping() as argv:
            ended = site.run(output, environment=told_to)
        survey.nothing_left()
    return Sealed(Path(ended.verdict["bundle"]), ended, frozenset(argv))


@contextmanager
def snooping() -> Iterator[set[str]]:
    """The command lines of all that this process starts, as any user of the machine could read them."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.01):
            for pid in descendants(os.getpid()):
                with suppress(OSError):
                    seen.add(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join(5)


def found_in(sealed: Sealed, secret: str) -> set[tuple[str, str]]:
    forms = encoded(secret)
    return {(where, name) for where, text in sealed.texts() for name, form in forms.items() if form in text}


def descendants(of: int) -> list[int]:
    """The processes that this one started, and those that they started."""
    found = []
    with suppress(OSError):
        for task in Path(f"/proc/{of}/task").iterdir():
            found += [int(pid) for pid in (task / "children").read_text().split()]
    return [*found, *(pid for child in found for pid in descendants(child))]


@pytest.mark.row("H59", "H60", "H61", "H62", "H63", "H68", "H70")
def test_no_canary_of_the_run_is_in_its_evidence_on_the_terminal_or_in_a_command_line(
    sealed: Sealed, survey: Survey
) -> None:
    places: dict[str, bytes | str] = {
        f"{where} {number}": text for number, (where, text) in enumerate(sealed.texts())
    }
    programs = " ".join(sealed.argv)
    assert "kernel.json" in programs
    assert "bin/runbook" in programs
    survey.no_canary({**places, "argv": programs}, *CANARIES, *SIGNING_KEY.splitlines()[1:3])


@pytest.mark.row("H68")
def test_a_secret_that_is_torn_broken_or_cut_short_is_gone(sealed: Sealed) -> None:
    [cell] = [cell for cell in sealed.notebook["cells"] if cell["id"] == "own-8"]
    streams = [output for output in cell["outputs"] if output["output_type"] == "stream"]
    said = "".join(output["text"] for output in streams)
    assert "between" in said
    assert said.count(tag(DATABASE)) >= 6
    told = "\n".join(strings(cell["outputs"]))
    for form in (
        SESSION[:20],
        SESSION[-20:],
        DATABASE[9:],
        base64.b64encode(DATABASE.encode()).decode()[:12],
    ):
        assert form not in told
    shown = [output["data"]["text/html"] for output in cell["outputs"] if "data" in output]
    assert [fragment for fragment in shown if f"{tag(SESSION)}..." in fragment]
    assert len([fragment for fragment in shown if tag(DATABASE) in fragment]) == 2


@pytest.mark.row("H60", "H61")
def test_errors_of_clients_are_told_without_the_password_of_their_address(sealed: Sealed) -> None:
    [cell] = [cell for cell in sealed.notebook["cells"] if cell["id"] == "own-9"]
    said = "".join(output["text"] for output in cell["outputs"])
    assert said.count("CLIENT") == 6
    assert said.count("Traceback") >= 6
    assert tag(URL_USER) in said
    assert f"/x?token={tag(QUERY)}&a=1" in said


@pytest.mark.row("H63")
def test_an_environment_that_a_cell_prints_keeps_its_names_and_loses_its_secrets(sealed: Sealed) -> None:
    # IPython's own magic hides names with "key" and "token", and shows others.
    for own, hidden in (("own-0", API_KEY), ("own-3", API_KEY), ("own-10", DATABASE)):
        [cell] = [cell for cell in sealed.notebook["cells"] if cell["id"] == own]
        told = "\n".join(strings(cell["outputs"]))
        assert "PAYMENT_API_KEY" in told
        assert tag(hidden) in told
        assert f"postgresql://app:{tag(DSN)}@db:5432/x" in told


@pytest.mark.row("H69")
def test_personal_data_that_a_cell_prints_is_masked(sealed: Sealed) -> None:
    [cell] = [cell for cell in sealed.notebook["cells"] if cell["id"] == "own-11"]
    [output] = cell["outputs"]
    assert output["text"].count("[redacted:") == len(PERSONAL)
    page = (sealed.bundle / "notebook.html").read_text()
    for one in PERSONAL:
        assert one not in output["text"]
        assert page.count(html.escape(one)) == page.count(html.escape(repr(one)))  # only in the cell's source


@pytest.mark.row("H70")
def test_a_chart_is_drawn_without_secrets_and_a_widget_leaves_no_state(sealed: Sealed) -> None:
    executed = sealed.notebook
    [cell] = [cell for cell in executed["cells"] if cell["id"] == "own-12"]
    said, picture = cell["outputs"][0]["text"], cell["outputs"][1]["data"]["image/png"]
    assert f"TITLE {tag(DATABASE)}" in said
    assert base64.b64decode(picture) == drawn(tag(DATABASE), tag(API_KEY))
    assert base64.b64decode(picture) != drawn(DATABASE, API_KEY)
    assert "widgets" not in executed["metadata"]
    [widget] = [cell for cell in executed["cells"] if cell["id"] == "own-13"]
    [shown] = widget["outputs"]
    assert list(shown["data"]) == ["text/plain"]
    assert "widget-view" in json.dumps(shown["metadata"])


def drawn(title: str, label: str) -> bytes:
    """The picture of the cell with these words, drawn here."""
    figure = Figure(figsize=(9, 1))
    axes = figure.subplots()
    axes.set_title(title)
    axes.plot([1, 2], label=label)
    axes.legend(loc="upper right")
    told = io.BytesIO()
    figure.savefig(told, format="png", metadata={"Software": None})
    return told.getvalue()


@pytest.mark.row("H59")
def test_a_verbose_traceback_shows_its_locals_and_no_secret(sealed: Sealed) -> None:
    [error] = errors(sealed.notebook)
    trace = "\n".join(error["traceback"])
    # The name of the argument is that of a secret, so its whole value is redacted.
    assert re.search(
        rf"connect\(dsn='\[redacted:[0-9a-f]{{4}}\]', password='{re.escape(tag(LOCAL))}'\)", trace
    )
    assert "\x1b" not in trace


def test_the_run_came_to_its_end_and_what_was_planted_arrived(sealed: Sealed) -> None:
    """Else that nothing is found would prove nothing."""
    executed = sealed.notebook
    assert (sealed.ended.code, sealed.ended.verdict["status"]) == (1, "CRITICAL")
    assert [error["ename"] for error in errors(executed)] == ["ConnectionError"]
    shown = "\n".join(strings(executed["cells"]))
    recorded = json.dumps([entry.as_dict() for entry in recording_of(executed)])
    for secret in KNOWN:
        assert tag(secret) in shown
        assert tag(secret) in recorded
    assert "Rotate [redacted:" in json.dumps(sealed.ended.verdict)
    assert len(sealed.pictures()) >= 4
    for own in ("own-0", "own-1", "own-2", "own-3", "own-4", "own-7", "own-13"):
        [cell] = [cell for cell in executed["cells"] if cell["id"] == own]
        assert cell["outputs"], own


@pytest.mark.parametrize("secret", [*KNOWN, URL_USER, *SIGNING_KEY.splitlines()[1:3]])
def test_a_secret_is_nowhere_in_the_evidence_in_no_encoding(sealed: Sealed, secret: str) -> None:
    assert found_in(sealed, secret) == set()


def test_equal_secrets_have_equal_tags_wherever_they_were(sealed: Sealed) -> None:
    answers = [e.answer for e in recording_of(sealed.notebook) if e.answer and "lines" in e.answer]
    told = "\n".join(line for answer in answers for line in answer["lines"])
    for secret in KNOWN:
        assert told.count(tag(secret)) >= len(list(written(secret)))
        [source] = [c["source"] for c in sealed.notebook["cells"] if c["id"] == "own-5"]
        assert tag(API_KEY) in source


def test_pictures_are_whole_after_their_texts_were_taken_out(sealed: Sealed) -> None:
    for png in sealed.pictures():
        kinds = {kind for kind, _ in chunks(png)}
        assert kinds >= {"IHDR", "IEND"}
        assert not kinds & {"tEXt", "zTXt", "iTXt", "eXIf"}


def test_a_notebook_that_was_executed_elsewhere_is_sealed_without_secrets(
    sealed: Sealed, tmp_path: Path
) -> None:
    """By `seal`, which only knows what is in the notebook and in its own environment."""
    given = sealed.notebook
    [cell] = [cell for cell in given["cells"] if cell["id"] == "own-0"]
    told = {
        "output_type": "stream",
        "name": "stdout",
        "text": [f"{part}\n" for part in SIGNING_KEY.split("\n")],
    }
    error = {"output_type": "error", "ename": DATABASE, "evalue": API_KEY, "traceback": [DSN, DATABASE]}
    cell["outputs"] += [told, error]
    cell["source"] = [f"# {DATABASE}\n", f"password = '{URL_USER}'"]
    (tmp_path / "out.ipynb").write_text(json.dumps(given))
    ended = command(
        ["runbook", "seal", str(tmp_path / "out.ipynb"), "--output", str(tmp_path / "out")], ENVIRONMENT
    )
    assert ended.code == 0, ended.err
    [bundle] = [path for path in (tmp_path / "out").iterdir() if path.is_dir()]
    resealed = Sealed(bundle, ended)
    for secret in (*KNOWN, URL_USER, *SIGNING_KEY.splitlines()[1:3]):
        assert found_in(resealed, secret) == set()
    assert tag(DATABASE) in json.dumps(resealed.notebook)


def test_the_looking_itself_finds_a_secret_in_each_encoding_and_in_a_picture(sealed: Sealed) -> None:
    forms = encoded(DATABASE)
    for text in written(DATABASE):
        assert [name for name, form in forms.items() if form in text], text
    told = b"Title\0\0" + zlib.compress(DATABASE.encode())
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(told)) + b"zTXt" + told + b"\0" * 4
    [(kind, data)] = chunks(png)
    assert (kind, DATABASE.encode() in data) == ("zTXt", True)
    assert sealed.bundle.is_dir()
