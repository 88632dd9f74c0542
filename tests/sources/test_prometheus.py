import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prometheus_api_client.exceptions import PrometheusApiClientException

from runbooklib.errors import (
    DeadlineError,
    NoDataError,
    NonsenseError,
    NotRecordedError,
    ParameterError,
    RefusedError,
    StaleError,
    UnreachableError,
)
from runbooklib.model.window import Window
from runbooklib.promql.build import selector
from runbooklib.sources.prometheus.client import Prometheus
from runbooklib.sources.prometheus.frames import Rule
from runbooklib.sources.tape import Tape, pack, unpack
from tests.support.servers import page, program, running
from tests.support.stand_in import (
    Behaviour,
    Standin,
    answer,
    black_hole,
    closed_port,
    in_turn,
    prometheus_data,
    standin,
    truncated,
)
from tests.support.timing import BUSY_SECONDS, HANG_SECONDS, cpu_seconds_taken, seconds_taken

AT = datetime(2026, 1, 15, 3, 12, 0, 250_000, tzinfo=UTC)
WINDOW = Window(
    start=datetime(2026, 1, 15, 3, 0, tzinfo=UTC),
    end=datetime(2026, 1, 15, 3, 1, tzinfo=UTC),
    step_seconds=15.0,
    opened_at=AT,
)
STRANGE = 'quote " backslash \\ and\nline'
METRICS = r"""
shop_requests_total{endpoint="/a",method="GET"} 10
shop_requests_total{endpoint="/b",method="GET"} 20
shop_requests_total{endpoint="/b",method="POST"} 30
mixed{one="1"} 1
mixed{two="2"} 2
mixed{one="1",two="2"} 3
priced{value="gold"} 4
strange{text="quote \" backslash \\ and\nline"} 5
strange{text="other"} 6
"""
RULES = """
groups:
- name: shop
  rules:
  - record: shop:requests
    expr: sum(shop_requests_total)
  - alert: HighErrorRate
    expr: vector(0) > 1
    for: 5m
    labels: {severity: critical}
    annotations: {summary: "many errors"}
  - alert: AlwaysFiring
    expr: vector(1)
  - alert: Twice
    expr: vector(0) > 1
- name: later
  rules:
  - alert: Twice
    expr: vector(1)
    for: 1h
"""


@dataclass
class Real:
    """A running Prometheus with samples since `since`."""

    url: str
    since: datetime

    def ask(self) -> Prometheus:
        return Prometheus(self.url, Tape())


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    folder = tmp_path_factory.mktemp("prometheus")
    with standin(answer(METRICS.lstrip(), content_type="text/plain; version=0.0.4")) as exporter:
        (folder / "rules.yml").write_text(RULES)
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            "rule_files: [rules.yml]\n"
            "scrape_configs:\n"
            f"- {{job_name: shop, static_configs: [{{targets: ['{exporter.url[7:]}']}}]}}\n"
            f"- {{job_name: gone, static_configs: [{{targets: ['127.0.0.1:{closed_port()}']}}]}}\n"
        )
        port = closed_port()
        url = f"http://127.0.0.1:{port}"
        argv = [program("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
        argv += [f"--web.listen-address=127.0.0.1:{port}", "--query.max-samples=2000", "--log.level=warn"]

        def is_ready() -> bool:
            return (
                '"firing"' in page(f"{url}/api/v1/alerts")
                and "gold" in page(f"{url}/api/v1/query?query=priced%20offset%202s")
                and '"value"' in page(f"{url}/api/v1/query?query=up{{job=%22gone%22}}")
            )

        with running(argv, folder, is_ready):
            yield Real(url, datetime.now(UTC))


def now() -> datetime:
    return datetime.now(UTC)


def sample(moment: datetime, value: str, **labels: str) -> dict[str, Any]:
    return {"metric": labels, "value": [moment.timestamp(), value]}


def series(values: list[tuple[float, str]], **labels: str) -> dict[str, Any]:
    start = WINDOW.start.timestamp()
    return {"metric": labels, "values": [[start + offset, value] for offset, value in values]}


def of(server: Standin, **more: Any) -> Prometheus:
    return Prometheus(server.url, Tape(), **({"deadline_seconds": 5.0} | more))


# Against the real one


def test_an_instant_answer_has_a_row_a_series(real: Real) -> None:
    frame = real.ask().instant("sort(shop_requests_total)", now())
    assert list(frame["value"]) == [10.0, 20.0, 30.0]
    assert frame["value"].dtype == np.float64
    assert list(frame["endpoint"]) == ["/a", "/b", "/b"]
    assert set(frame.columns) == {"__name__", "endpoint", "instance", "job", "method", "value"}
    assert frame.attrs["warnings"] == []


def test_series_with_unequal_labels_all_survive(real: Real) -> None:
    frame = real.ask().instant("sort(mixed)", now())
    assert list(zip(frame["one"], frame["two"], frame["value"], strict=True)) == [
        ("1", "", 1.0),
        ("", "2", 2.0),
        ("1", "2", 3.0),
    ]
    window = Window.open(opened_at=now(), lookback="1m", scrape_interval="1s")
    assert real.ask().range("mixed", window).shape[1] == 3


def test_a_label_called_value_does_not_hide_the_value(real: Real) -> None:
    frame = real.ask().instant("priced", now())
    assert list(frame["exported_value"]) == ["gold"]
    assert list(frame["value"]) == [4.0]


def test_an_empty_answer_is_an_empty_frame(real: Real) -> None:
    frame = real.ask().instant("nobody_exports_this", now())
    assert list(frame.columns) == ["value"]
    assert frame["value"].dtype == np.float64
    assert frame.empty
    window = Window.open(opened_at=now(), lookback="1m", scrape_interval="1s")
    wide = real.ask().range("nobody_exports_this", window)
    assert wide.shape == (61, 0)


def test_nan_and_infinity_are_floats(real: Real) -> None:
    values = [
        real.ask().instant(query, now())["value"].iloc[0]
        for query in ("vector(0)/0", "vector(1)/0", "vector(-1)/0")
    ]
    assert np.isnan(values[0])
    assert values[1:] == [np.inf, -np.inf]


def test_a_scalar_is_one_row_without_labels(real: Real) -> None:
    frame = real.ask().instant("1 + 1", now())
    assert frame.to_dict("list") == {"value": [2.0]}


def test_a_moment_is_asked_about_exactly(real: Real) -> None:
    at = now().replace(microsecond=250_000)
    assert real.ask().instant("time()", at)["value"].iloc[0] == at.timestamp()


def test_a_time_of_another_zone_is_the_same_moment(real: Real) -> None:
    at = now().astimezone(datetime.now().astimezone().tzinfo)
    assert real.ask().instant("time()", at)["value"].iloc[0] == pytest.approx(at.timestamp(), abs=0.001)


def test_a_time_without_zone_is_refused(real: Real) -> None:
    with pytest.raises(ParameterError, match="time zone"):
        real.ask().instant("up", datetime(2026, 1, 15))  # noqa: DTZ001 - the point of the test


def test_a_range_answer_is_one_wide_frame_on_the_whole_grid(real: Real) -> None:
    window = Window.open(opened_at=now(), lookback="2m", scrape_interval="1s")
    frame = real.ask().range("sum by (endpoint, method) (shop_requests_total)", window)
    assert list(frame.columns) == [
        'endpoint="/a",method="GET"',
        'endpoint="/b",method="GET"',
        'endpoint="/b",method="POST"',
    ]
    assert isinstance(frame.index, pd.DatetimeIndex)
    assert str(frame.index.tz) == "UTC"
    assert (frame.index[0], frame.index[-1], len(frame)) == (window.start, window.end, 121)
    assert all(dtype == np.float64 for dtype in frame.dtypes)
    assert frame.iloc[0].isna().all()
    assert list(frame.iloc[-1]) == [10.0, 20.0, 30.0]


def test_columns_may_be_called_by_one_label(real: Real) -> None:
    window = Window.open(opened_at=now(), lookback="1m", scrape_interval="1s")
    frame = real.ask().range("sum by (endpoint) (shop_requests_total)", window, by="endpoint")
    assert sorted(frame.columns) == ["/a", "/b"]
    with pytest.raises(NonsenseError, match="same endpoint"):
        real.ask().range("shop_requests_total", window, by="endpoint")


def test_a_series_without_labels_is_called_value(real: Real) -> None:
    window = Window.open(opened_at=now(), lookback="1m", scrape_interval="1s")
    assert list(real.ask().range("sum(shop_requests_total)", window).columns) == ["value"]


@pytest.mark.row("H18", "H20")
def test_labels_are_escaped(real: Real) -> None:
    frame = real.ask().instant(selector("strange", {"text": STRANGE}), now())
    assert list(frame["value"]) == [5.0]
    assert list(frame["text"]) == [STRANGE]
    hostile = '"} or vector(1) or up{job="'
    assert real.ask().instant(selector("strange", {"text": hostile}), now()).empty


def test_labels_given_to_the_library_are_escaped_too(real: Real) -> None:
    found = real.ask().get_current_metric_value("strange", {"text": STRANGE})
    assert [one["value"][1] for one in found] == ["5"]
    hostile = "'} or vector(1) or up{job='"
    assert real.ask().get_current_metric_value("strange", {"text": hostile}) == []
    told = real.ask().get_metric_range_data(
        "strange", {"text": STRANGE}, start_time=now() - timedelta(seconds=60), end_time=now()
    )
    assert told[0]["metric"]["text"] == STRANGE


def test_rules_are_alerting_rules_with_their_state(real: Real) -> None:
    rules = real.ask().rules()
    assert [rule.name for rule in rules] == ["Twice", "HighErrorRate", "AlwaysFiring", "Twice"]
    assert rules[1] == Rule(
        name="HighErrorRate",
        query="vector(0) > 1",
        for_seconds=300.0,
        state="inactive",
        labels={"severity": "critical"},
        annotations={"summary": "many errors"},
        active_at=None,
        last_error="",
        group="shop",
    )
    assert rules[2].state == "firing"
    assert rules[2].active_at is not None
    assert abs((rules[2].active_at - real.since).total_seconds()) < 30


def test_of_rules_with_one_name_the_nearest_to_firing_is_given(real: Real) -> None:
    rule = real.ask().rule("Twice")
    assert (rule.state, rule.group) == ("pending", "later")


def test_an_unknown_rule_is_no_data_with_the_nearest_name(real: Real) -> None:
    with pytest.raises(NoDataError, match="did you mean 'HighErrorRate'"):
        real.ask().rule("HighErorRate")


def test_targets_have_health_and_last_error(real: Real) -> None:
    frame = real.ask().targets().set_index("job").sort_index()
    assert list(frame["health"]) == ["down", "up"]
    assert "connection refused" in frame["last_error"].iloc[0]
    assert frame["last_error"].iloc[1] == ""
    scraped = frame["last_scrape_at"]
    assert str(scraped.dt.tz) == "UTC"
    assert (abs((scraped - pd.Timestamp(now())).dt.total_seconds()) < 5).all()


def test_metric_names_are_known(real: Real) -> None:
    names = real.ask().metric_names()
    assert {"up", "shop_requests_total", "shop:requests"} <= set(names)
    assert list(names) == sorted(names)


@pytest.mark.row("F39")
def test_the_server_s_own_words_are_told_once_and_not_retried(real: Real) -> None:
    prometheus = real.ask()
    with pytest.raises(RefusedError, match=r"bad_data: .*parse error") as caught:
        prometheus.instant("sum(", now())
    assert caught.value.code == "400"
    window = Window(now() - timedelta(seconds=2500), now(), 1.0, now())
    with pytest.raises(
        RefusedError, match="execution: query processing would load too many samples"
    ) as caught:
        prometheus.range("vector(1)", window)
    assert caught.value.code == "422"


def test_more_points_than_prometheus_gives_are_refused_before_asking() -> None:
    window = Window(AT - timedelta(seconds=11_000), AT, 1.0, AT)
    with standin(prometheus_data([], "matrix")) as server:
        with pytest.raises(ParameterError, match="11,001 points"):
            of(server).range("up", window)
        assert server.asked == []
        of(server).range("up", Window(AT - timedelta(seconds=10_999), AT, 1.0, AT))
        assert len(server.asked) == 1


def test_a_long_query_goes_into_the_body(real: Real) -> None:
    names = "|".join(f"/endpoint/{number}" for number in range(3_000))
    query = f'sum(shop_requests_total{{endpoint=~"/a|{names}"}})'
    assert len(query) > 40_000
    assert list(real.ask().instant(query, now())["value"]) == [10.0]
    assert real.ask().custom_query(query)[0]["value"][1] == "10"
    with standin(prometheus_data([])) as server:
        of(server).instant(query, AT)
        of(server).instant("up", AT)
    assert [(one.method, one.form.get("query"), one.params.get("query")) for one in server.asked] == [
        ("POST", [query], None),
        ("GET", None, ["up"]),
    ]


def test_an_engineer_s_own_questions_work(real: Real) -> None:
    prometheus = real.ask()
    assert prometheus.check_prometheus_connection()
    assert "up" in prometheus.all_metrics()
    assert "endpoint" in prometheus.get_label_names()
    assert {one["metric"]["job"] for one in prometheus.custom_query("up")} == {"shop", "gone"}
    ranged = prometheus.custom_query_range("up", now() - timedelta(seconds=5), now(), "1")
    assert len(ranged) == 2
    assert len(prometheus.get_series(now() - timedelta(60), now(), {"match[]": "mixed"})) == 3
    assert set(prometheus.get_scrape_pools()) == {"shop", "gone"}
    with pytest.raises(PrometheusApiClientException, match="parse error"):
        prometheus.custom_query("sum(")


def test_a_replay_gives_the_same_without_a_server(real: Real) -> None:
    live = Tape()
    at, window = now(), Window.open(opened_at=now(), lookback="1m", scrape_interval="1s")
    before = everything(Prometheus(real.url, live), at, window)
    entries = unpack(json.loads(json.dumps(pack(live.take_recorded()))))
    replay = Prometheus(f"http://127.0.0.1:{closed_port()}", Tape(recording=entries))
    after = everything(replay, at, window)
    for first, second in zip(before, after, strict=True):
        if isinstance(first, pd.DataFrame):
            pd.testing.assert_frame_equal(first, second)
            assert first.attrs == second.attrs
        else:
            assert first == second
    with pytest.raises(NotRecordedError):
        replay.instant("up", at + timedelta(seconds=1))
    with pytest.raises(NotRecordedError):
        replay.custom_query("down")


def everything(prometheus: Prometheus, at: datetime, window: Window) -> list[Any]:
    with pytest.raises(RefusedError) as refused:
        prometheus.instant("sum(", at)
    return [
        prometheus.instant("mixed or vector(0)/0", at),
        prometheus.range("shop_requests_total", window),
        prometheus.rules(),
        prometheus.targets(),
        prometheus.metric_names(),
        prometheus.custom_query("up"),
        prometheus.custom_query_range("up", window.start, window.end, "5"),
        prometheus.check_prometheus_connection(),
        (refused.value.message, refused.value.code),
    ]


# Against the stand-in


def test_names_that_only_prometheus_3_allows_are_columns_and_quoted_labels() -> None:
    labels = {"__name__": "http.server.duration", "service.name": "a", "größe": "b"}
    vector = [{"metric": labels, "histogram": [AT.timestamp(), {"count": "3.5", "sum": "NaN"}]}]
    with standin(prometheus_data(vector)) as server:
        frame = of(server).instant('{"http.server.duration"}', AT)
    assert frame.to_dict("records") == [{**labels, "value": 3.5}]
    start = WINDOW.start.timestamp()
    both = {"values": [[start, "1"]], "histograms": [[start + 15, {"count": "2", "sum": "9"}]]}
    with standin(prometheus_data([{"metric": labels, **both}], "matrix")) as server:
        ranged = of(server).range('{"http.server.duration"}', WINDOW)
    assert list(ranged.columns) == ['__name__="http.server.duration","größe"="b","service.name"="a"']
    assert list(ranged.iloc[:2, 0]) == [1.0, 2.0]


@pytest.mark.parametrize(
    "sample",
    [
        {},
        {"histogram": [AT.timestamp()]},
        {"histogram": [AT.timestamp(), "5"]},
        {"histogram": [AT.timestamp(), {"sum": "5"}]},
        {"histogram": [AT.timestamp(), {"count": "many"}]},
    ],
)
def test_a_sample_that_is_neither_a_number_nor_a_histogram_is_nonsense(sample: dict[str, Any]) -> None:
    with standin(prometheus_data([{"metric": {}, **sample}])) as server, pytest.raises(NonsenseError):
        of(server).instant("up", AT)


@pytest.mark.row("F35")
@pytest.mark.parametrize("ask", ["ours", "library"])
def test_there_is_a_whole_deadline_for_every_question(ask: str) -> None:
    with standin(black_hole) as server:
        prometheus = of(server, deadline_seconds=0.5)

        def question() -> None:
            with pytest.raises(DeadlineError):
                prometheus.instant("up", AT) if ask == "ours" else prometheus.custom_query("up")

        assert seconds_taken(question) < 0.5 + BUSY_SECONDS
        question()
        assert len(server.asked) == 1


def test_a_timeout_given_to_the_library_holds() -> None:
    with standin(black_hole) as server:
        begun = time.monotonic()
        with pytest.raises(DeadlineError):
            of(server, deadline_seconds=HANG_SECONDS).custom_query("up", timeout=1)
        assert time.monotonic() - begun < 1 + BUSY_SECONDS


def test_the_server_is_told_the_deadline_and_it_is_no_part_of_the_question() -> None:
    tape = Tape()
    with standin(prometheus_data([])) as server:
        Prometheus(server.url, tape, deadline_seconds=1.5).instant("up", AT)
        Prometheus(server.url, tape, deadline_seconds=5.0).instant("up", AT)
    assert [one.params["timeout"] for one in server.asked] == [["1.5"]]


def test_times_are_sent_as_they_were_given() -> None:
    with standin(prometheus_data([], "matrix")) as server:
        start = datetime(2026, 1, 15, 3, 0, 0, 123_456, tzinfo=UTC)
        of(server).range("up", Window(start, start + timedelta(seconds=60), 0.5, AT))
    assert server.asked[0].params["start"] == ["2026-01-15T03:00:00.123456Z"]
    assert server.asked[0].params["end"] == ["2026-01-15T03:01:00.123456Z"]
    assert server.asked[0].params["step"] == ["0.5"]


def test_a_gap_is_nan_on_the_grid() -> None:
    told = [series([(0, "1"), (60, "5")], a="x"), series([(15, "NaN"), (30, "+Inf")], a="y")]
    with standin(prometheus_data(told, "matrix")) as server:
        frame = of(server).range("up", WINDOW, by="a")
    np.testing.assert_array_equal(frame["x"], [1, np.nan, np.nan, np.nan, 5])
    np.testing.assert_array_equal(frame["y"], [np.nan, np.nan, np.inf, np.nan, np.nan])


@pytest.mark.row("F44")
def test_warnings_and_infos_are_kept() -> None:
    more: dict[str, Any] = {"warnings": ["a store is missing"], "infos": ["may be no counter"]}
    with standin(prometheus_data([sample(AT, "1")], **more)) as server:
        assert of(server).instant("up", AT).attrs["warnings"] == ["a store is missing", "may be no counter"]
    with standin(prometheus_data([series([(0, "1")])], "matrix", **more)) as server:
        assert of(server).range("up", WINDOW).attrs["warnings"][0] == "a store is missing"


def test_warnings_are_still_there_in_a_replay_and_on_a_column() -> None:
    live = Tape()
    told = prometheus_data([series([(0, "1")])], "matrix", warnings=["a store is missing"])
    with standin(told) as server:
        Prometheus(server.url, live).range("up", WINDOW)
    entries = unpack(json.loads(json.dumps(pack(live.take_recorded()))))
    frame = Prometheus(server.url, Tape(recording=entries)).range("up", WINDOW)
    for derived in (frame, frame["value"], frame.dropna(), frame.iloc[-2:], frame.copy()):
        assert derived.attrs["warnings"] == ["a store is missing"]


@pytest.mark.parametrize("warnings", [7, "text", {"a": 1}, True])
def test_warnings_that_are_no_list_are_nonsense(warnings: Any) -> None:
    told = prometheus_data([sample(AT, "1")], warnings=warnings)
    with standin(told) as server, pytest.raises(NonsenseError, match="warnings is not a list"):
        of(server).instant("up", AT)


@pytest.mark.row("H26")
def test_invalid_utf8_is_kept_as_escapes_and_flagged() -> None:
    body = json.dumps(
        {"status": "success", "data": {"resultType": "vector", "result": [sample(AT, "1", a="?")]}}
    )
    with standin(answer(body.encode().replace(b"?", b"caf\xe9"))) as server:
        frame = of(server).instant("up", AT)
    assert list(frame["a"]) == ["caf\\xe9"]
    assert "UTF-8" in frame.attrs["warnings"][0]


@pytest.mark.row("F41")
def test_a_page_is_not_prometheus() -> None:
    with standin(answer("<html>Log in</html>", content_type="text/html; charset=utf-8")) as server:
        prometheus = of(server)
        with pytest.raises(NonsenseError, match="not a Prometheus API: text/html"):
            prometheus.instant("up", AT)
        with pytest.raises(NonsenseError, match="not a Prometheus API: text/html"):
            prometheus.custom_query("up")


@pytest.mark.row("F38", "F40")
@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 503])
def test_a_refusal_in_plain_text_is_told(status: int) -> None:
    refusal = answer("starting up\nsecond line", status, "text/plain", {"Retry-After": "30"})
    with standin(refusal) as server:
        with pytest.raises(RefusedError, match=f"returned status {status}: starting up") as caught:
            of(server).instant("up", AT)
        assert caught.value.code == str(status)
        assert "second line" not in str(caught.value)
        assert len(server.asked) == 1


@pytest.mark.row("F49")
@pytest.mark.parametrize("status", [200, 503])
def test_a_refusal_in_json_is_told_with_its_type(status: int) -> None:
    body = {"status": "error", "errorType": "timeout", "error": "query timed out in query execution"}
    with standin(answer(body, status)) as server:
        with pytest.raises(RefusedError, match="timeout: query timed out in query execution") as caught:
            of(server).instant("up", AT)
        assert caught.value.code == str(status)


def of_scalar_text() -> Behaviour:
    return prometheus_data([AT.timestamp(), "text"], "string")


NONSENSE: dict[str, Behaviour] = {
    "wrong type": prometheus_data([series([(0, "1")])], "matrix"),
    "a string": of_scalar_text(),
    "no data": answer({"status": "success"}),
    "null data": answer({"status": "success", "data": None}),
    "null result": prometheus_data(None),
    "a list": answer([1, 2]),
    "a number": answer("7"),
    "no JSON": answer("{"),
    "no body": answer(b""),
    "deep": answer(b"[" * 200_000 + b"]" * 200_000),
    "no metric": prometheus_data([{"value": [AT.timestamp(), "1"]}]),
    "no number": prometheus_data([sample(AT, "many")]),
    "400 digits": prometheus_data([sample(AT, "1" + "0" * 400)]),
    "number of 400 digits": prometheus_data([{"metric": {}, "value": [AT.timestamp(), 10**400]}]),
    "time of 400 digits": prometheus_data([{"metric": {}, "value": [10**400, "1"]}]),
    "labels as list": prometheus_data([{"metric": ["a"], "value": [AT.timestamp(), "1"]}]),
    "key twice": answer('{"status": "success", "status": "success", "data": {"resultType": "vector"}}'),
}


@pytest.mark.row("F49", "H24")
@pytest.mark.parametrize("behaviour", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_called_nonsense(behaviour: Behaviour) -> None:
    with standin(behaviour) as server, pytest.raises(NonsenseError) as caught:
        of(server).instant("up", AT)
    assert len(str(caught.value)) < 500
    assert caught.value.target == server.url


@pytest.mark.parametrize(
    "values",
    [[(-15, "1")], [(7, "1")], [(75, "1")], [(1e400, "1")], [(0, "1" + "0" * 400)], [(0, "x")], [(0,)]],
    ids=["before", "between", "after", "infinite time", "infinite value", "no number", "no value"],
)
def test_samples_off_the_grid_are_nonsense(values: Any) -> None:
    with standin(prometheus_data([{"metric": {}, "values": values}], "matrix")) as server:
        start = WINDOW.start.timestamp()
        told = [[start + one[0], *one[1:]] for one in values]
        body = json.dumps({"metric": {}, "values": told}).replace("Infinity", "1e999")
        raw = f'{{"status":"success","data":{{"resultType":"matrix","result":[{body}]}}}}'
    with standin(answer(raw)) as server, pytest.raises(NonsenseError, match="format of Prometheus"):
        of(server).range("up", WINDOW)


@pytest.mark.row("F47")
@pytest.mark.parametrize("hours", [-2, 2])
def test_samples_of_another_time_are_stale(hours: int) -> None:
    with standin(prometheus_data([sample(AT + timedelta(hours=hours), "1")])) as server:
        word = "after" if hours > 0 else "before"
        with pytest.raises(StaleError, match=f"7200 s {word} the requested time"):
            of(server).instant("up", AT)


@pytest.mark.row("F33")
def test_a_dead_server_is_unreachable_and_not_asked_twice() -> None:
    prometheus = Prometheus(f"http://127.0.0.1:{closed_port()}", Tape(), deadline_seconds=5.0)
    with pytest.raises(UnreachableError, match="refuses connections"):
        prometheus.instant("up", AT)
    with pytest.raises(UnreachableError):
        prometheus.custom_query("up")


@pytest.mark.row("F43")
def test_an_answer_cut_once_is_asked_for_again() -> None:
    with standin(in_turn(truncated, prometheus_data([sample(AT, "1")]))) as server:
        assert list(of(server).instant("up", AT)["value"]) == [1.0]


def test_a_token_reaches_its_server_and_no_message_or_record() -> None:
    tape = Tape()
    with standin(answer({"status": "error", "error": "not with canary-token"}, 403)) as server:
        prometheus = Prometheus(server.url, tape, token="canary-token")
        with pytest.raises(RefusedError) as caught:
            prometheus.instant("up", AT)
    assert server.asked[0].headers["authorization"] == "Bearer canary-token"
    recorded = json.dumps([entry.as_dict() for entry in tape.take_recorded()])
    for text in (str(caught.value), repr(prometheus), recorded):
        assert "canary-token" not in text


def test_a_path_prefix_is_kept() -> None:
    with standin(prometheus_data([])) as server:
        prometheus = Prometheus(f"{server.url}/prometheus/", Tape(), deadline_seconds=5.0)
        prometheus.instant("up", AT)
        prometheus.custom_query("up")
    assert [one.path for one in server.asked] == ["/prometheus/api/v1/query"] * 2
    assert repr(prometheus) == f"Prometheus('{server.url}/prometheus')"


def test_the_library_cannot_be_led_to_write_or_elsewhere() -> None:
    with standin(prometheus_data([])) as server:
        prometheus = of(server)
        with pytest.raises(ParameterError, match="is not read-only"):
            prometheus._session.post(f"{server.url}/api/v1/admin/tsdb/delete_series")
        with pytest.raises(ParameterError, match="not the Prometheus of this incident"):
            prometheus._session.get("http://127.0.0.1:1/api/v1/query")
    assert server.asked == []


def test_parsing_a_large_answer_costs_a_few_times_what_its_json_costs() -> None:
    start = WINDOW.end - timedelta(seconds=15 * 719)
    times = [start.timestamp() + 15 * number for number in range(720)]
    told = [
        {"metric": {"endpoint": f"/{one}"}, "values": [[t, f"{t % 97:.6f}"] for t in times]}
        for one in range(100)
    ]
    with standin(prometheus_data(told, "matrix")) as server:
        prometheus = of(server, deadline_seconds=5.0)
        window = Window(start, WINDOW.end, 15.0, AT)
        prometheus.range("up", window)
        seconds = min(cpu_seconds_taken(lambda: prometheus.range("up", window)) for _ in range(3))
    text = json.dumps(told)
    json_seconds = min(cpu_seconds_taken(lambda: json.loads(text)) for _ in range(3))
    assert seconds < 4 * json_seconds
