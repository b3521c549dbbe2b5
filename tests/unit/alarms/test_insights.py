"""Logs Insights queries, run by AWS's description of the language."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.alarms.errors import AlarmError
from cutover.alarms.insights import compile_query, run_query

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.alarms.insights.rows import Value


def run(query: str, *messages: str) -> list[dict[str, Value]]:
    """The query over these messages, the newest first: a second apart."""
    return compile_query(query).run(
        {"timestamp": 1_000_000 - number * 1000, "message": message} for number, message in enumerate(messages)
    )


def matched(condition: str, *messages: str) -> list[Value]:
    return [row["@message"] for row in run(f"filter {condition}", *messages)]


def objects(**values: object) -> list[str]:
    """A JSON message for each value of a field."""
    return [json.dumps({name: value}) for name, listed in values.items() for value in listed]  # type: ignore[attr-defined]


# The examples of "parse" and "filter" in CloudWatch Logs Insights' query syntax, on its own sample line:
# docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html
SAMPLE = "25 May 2019 10:24:39,474 [ERROR] {foo=2, bar=data} The error was: DataIntegrityException"


@pytest.mark.parametrize(
    "pattern",
    [
        '"[*] * The error was: *" as level, config, exception',
        r"/\[(?<level>\S+)\]\s+(?<config>\{.*\})\s+The error was: (?<exception>\S+)/",
    ],
)
def test_parse_as_documented(pattern: str) -> None:
    """Glob and expression extract what AWS's example says."""
    assert run(f"parse @message {pattern} | display level, config, exception", SAMPLE) == [
        {"level": "ERROR", "config": "{foo=2, bar=data}", "exception": "DataIntegrityException"}
    ]


def test_the_documented_query_with_keywords_in_capitals() -> None:
    """AWS's own sample query has them so."""
    found = run(
        'FIELDS @message\n | PARSE @message "* [*] *" as loggingTime, loggingType, loggingMessage\n'
        ' | FILTER loggingType IN ["ERROR", "INFO"]\n | DISPLAY loggingMessage',
        "10:24 [ERROR] broken",
        "10:25 [DEBUG] chatter",
    )
    assert found == [{"loggingMessage": "broken"}]


def test_an_asterisk_is_the_shortest_text_and_the_last_one_the_rest() -> None:
    """A traceback is many lines of one message, and belongs to it."""
    assert run('parse @message "a=*;*" as a, rest | display a, rest', "a=1;b=2;\nc=3") == [
        {"a": "1", "rest": "b=2;\nc=3"}
    ]


def test_what_does_not_match_extracts_nothing() -> None:
    """An absent field must not read as an empty one."""
    assert run('parse @message "a=*" as a | filter not ispresent(a) | display @message', "a=1", "b=1") == [
        {"@message": "b=1"}
    ]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ('@message like "Exception"', ["an Exception"]),
        ("@message like /Exception/", ["an Exception"]),
        ("@message =~ /Exception/", ["an Exception"]),
        ("@message like /(?i)Exception/", ["an Exception", "an exception"]),
        ('@message not like "Exception"', ["an exception", "a.b", "aXb"]),
        ('@message like "a.b"', ["a.b"]),
        ("@message like /a.b/", ["a.b", "aXb"]),
        ('@message = "a.b"', ["a.b"]),
        ('@message != "a.b"', ["an Exception", "an exception", "aXb"]),
        ('@message in ["aXb", "a.b", "a"]', ["a.b", "aXb"]),
        ('@message not in ["aXb", "a.b"]', ["an Exception", "an exception"]),
        ('@message like /a/ and not (@message like /X/ or @message like "n ")', ["a.b"]),
        ('@message = "a.b" or @message = "aXb" and @message = "nothing"', ["a.b"]),
    ],
)
def test_filters_on_text(condition: str, expected: list[str]) -> None:
    """Case counts, a text is no expression, and `and` binds stronger than `or`."""
    assert matched(condition, "an Exception", "an exception", "a.b", "aXb") == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("n > 9", [9.5, 10, "10"]),
        ("n >= 10", [10, "10"]),
        ("n < 10", [9, 9.5]),
        ("n <= 9.5", [9, 9.5]),
        ("n = 10", [10, "10"]),
        ('n = "10"', [10, "10"]),
        ("n in [9, 10]", [9, 10, "10"]),
        ("ispresent(n)", [9, 9.5, 10, "10"]),
        ("not ispresent(n)", [None]),
        ("n != 10", [9, 9.5, None]),
    ],
)
def test_filters_on_numbers(condition: str, expected: list[object]) -> None:
    """Numbers compare as numbers, also those that were logged as text: "10" is more than 9."""
    assert matched(condition, *objects(n=[9, 9.5, 10, "10", None])) == objects(n=expected)


def test_fields_of_json_messages() -> None:
    """Nested fields by dots and numbers, @ doubled: "Supported logs and discovered fields", CloudWatch Logs' guide."""
    message = json.dumps({"a": {"b": [{"c": 1}, {"c": "x"}]}, "@odd": 2, "yes": True, "foo-bar": 3, "none": None})
    found = run("fields a.b.1.c, a.b.0.c, @@odd, yes, `foo-bar` as dashed, none", message, "[1]", '{"a": ', "{} tail")
    assert found == [{"a.b.1.c": "x", "a.b.0.c": 1, "@@odd": 2, "yes": 1, "dashed": 3}, {}, {}, {}]
    assert type(found[0]["yes"]) is int


def test_bins_begin_at_full_periods() -> None:
    """A line of the last millisecond must not count in the next minute."""
    found = compile_query("stats count(*) by bin(1m) | sort bin(1m)").run(
        {"timestamp": timestamp, "message": ""} for timestamp in (120_000, 0, 59_999, 60_000, 119_999)
    )
    assert found == [
        {"bin(1m)": "1970-01-01 00:00:00.000", "count(*)": 2},
        {"bin(1m)": "1970-01-01 00:01:00.000", "count(*)": 2},
        {"bin(1m)": "1970-01-01 00:02:00.000", "count(*)": 1},
    ]


@pytest.mark.parametrize(
    ("period", "begin"),
    [
        ("500ms", "12:59:59.500"),
        ("1s", "12:59:59.000"),
        ("5m", "12:55:00.000"),
        ("1hr", "12:00:00.000"),
        ("1d", "00:00:00.000"),
    ],
)
def test_periods(period: str, begin: str) -> None:
    """Each unit is as long as it says."""
    event = {"timestamp": (12 * 3600 + 59 * 60 + 59) * 1000 + 999, "message": ""}
    assert compile_query(f"stats count() by bin({period}) as t").run([event]) == [
        {"t": f"1970-01-01 {begin}", "count()": 1}
    ]


def test_statistics() -> None:
    """Each function over numbers, numbers in text, and lines that lack the field."""
    found = run(
        "stats count(*), count(n), sum(n), avg(n), min(n), max(n), count_distinct(n), pct(n, 50) as median",
        *objects(n=[4, "10", 1, 1]),
        "no number here",
    )
    assert found == [
        {
            "count(*)": 5,
            "count(n)": 4,
            "sum(n)": 16,
            "avg(n)": 4,
            "min(n)": 1,
            "max(n)": "10",
            "count_distinct(n)": 3,
            "median": 1,
        }
    ]


def test_sums_lose_no_digits() -> None:
    """A sum that depends on the order of the lines would differ from run to run."""
    assert run("stats sum(n) as total, avg(n) as average", *objects(n=[1e16, 1, -1e16, 0])) == [
        {"total": 1, "average": 0.25}
    ]


@pytest.mark.parametrize(
    ("percent", "expected"), [("95", 19), ("95.1", 20), ("90", 18), ("5", 1), ("100", 20), ("0.1", 1)]
)
def test_percentiles(percent: str, expected: int) -> None:
    """The smallest value that at least so many percent do not exceed: exact at its boundaries."""
    assert run(f"stats pct(n, {percent}) as p", *objects(n=list(range(1, 21)))) == [{"p": expected}]


def test_statistics_of_nothing_are_absent() -> None:
    """An average of no values must not read as 0."""
    assert run("stats avg(n) as average, max(n) as highest, count(n) as number", "text") == [{"number": 0}]
    assert run("filter @message = 1 | stats count(*)", "text") == []


def test_groups_are_of_equal_values() -> None:
    """One row a combination, a missing value being one, too."""
    messages = ['{"a": "x", "b": 1}', '{"a": "x", "b": 1}', '{"a": "x", "b": 2}', '{"b": 1}']
    assert run("stats count(*) as n by a, b | sort n desc, b asc, a asc", *messages) == [
        {"a": "x", "b": 1, "n": 2},
        {"b": 1, "n": 1},
        {"a": "x", "b": 2, "n": 1},
    ]


def test_sort_order_as_documented() -> None:
    """The worked list of "sort": docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax-Sort.html."""
    documented = ["!:", "#", "*%04", "0#", "5A", "111A", "2345_", "@", "@_", "A", "A9876fghj", "a12345hfh"]
    documented += ["0", "01", "2", "3"]
    assert matched('@message != "" | sort @message', *sorted(documented)) == documented
    assert run("sort n | display n", '{"n": 1}', "none", '{"n": "a"}') == [{}, {"n": "a"}, {"n": 1}]
    assert matched('@message != "" | sort @message desc', *sorted(documented)) == documented[::-1]


def test_without_sort_the_newest_comes_first_and_ten_thousand_are_enough() -> None:
    """Logs Insights' default order and limit, so that a cut result here is cut there."""
    found = compile_query("fields @message").run({"timestamp": at, "message": str(at)} for at in range(10_001))
    assert len(found) == 10_000
    assert found[0] == {"@message": "10000"}
    assert compile_query("limit 100000").run([{"message": ""}]) == [{"@message": ""}]
    assert len(compile_query("limit 10001").run([{"message": ""}] * 10_001)) == 10_001


def test_limit_takes_the_first_by_the_order() -> None:
    assert matched('@message != "" | sort @message asc | limit 2', "c", "a", "b") == ["a", "b"]


def test_dedup_keeps_the_first_of_each_and_all_that_lack_the_field() -> None:
    """As "dedup" of the query syntax says, missing values are no duplicates."""
    messages = ['{"s": "x", "n": 1}', '{"s": "x", "n": 2}', '{"n": 3}', '{"n": 4}', '{"s": "y", "n": 5}']
    assert run("fields n | sort n desc | dedup s", *messages) == [{"n": 5}, {"n": 4}, {"n": 3}, {"n": 2}]


def test_the_last_display_and_all_fields_are_shown() -> None:
    assert run("fields @message as a | fields @message as b", "x") == [{"a": "x", "b": "x"}]
    assert run("display @message as a | display @message as b | fields @message", "x") == [{"b": "x"}]


def test_comments_are_lines() -> None:
    """A hash inside an expression is a hash."""
    query = "# question\nfields @message\n   # | filter @message = 1\n| filter @message like /#a/"
    assert run(query, "#a", "b") == [{"@message": "#a"}]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("pattern @message", "line 1: pattern is not run here"),
        ("fields @message\n| diff", "line 2: diff is not run here"),
        ("fields @message | unnest a", "unnest is not run here"),
        ("SOURCE logGroups()", "SOURCE is not run here"),
        ("fields abs(n)", r"abs\(n\) is no field"),
        ("fields a + b", r"`\+` is not run here"),
        ("filter strcontains(a, 'b') = 1", "strcontains is not run here"),
        ("filter a == 1", "text or number is missing before `=`"),
        ("filter a", "after a one of like, .* is missing before the end"),
        ("filter a not = 1", "after a one of like, in is missing"),
        ("filter a = b", "text or number is missing before `b`"),
        ("filter (a = 1", r"`\)` is missing before the end"),
        ("filter a like /(/", "is no regular expression"),
        ("stats stddev(a)", r"stddev\(a\) is not run here"),
        ("stats pct(a)", r"pct\(a\) is not run here"),
        ("stats pct(a, 0)", "is not run here"),
        ("stats pct(a, 101)", "is not run here"),
        ("stats sum(*)", r"sum\(\*\) is not run here"),
        ("stats count(*) by bin(1w)", "the period 1w is not run here"),
        ("stats count(*) by bin(0m)", "the period 0m is not run here"),
        ("stats count(*) by datefloor(@timestamp, 1h)", "the function datefloor is not run here"),
        ("stats count(*)\n| stats max(a)", "line 2: a second stats is not run here"),
        ("stats count(*) by a\n| sort @timestamp", "line 2: @timestamp is no field here"),
        ("dedup a | sort a", "sort follows dedup"),
        ("limit 0", "limit 0 is no number"),
        ("limit 100001", "limit 100001 is no number"),
        ("limit 1.5", "limit 1.5 is no number"),
        ("limit any 1", "a number is missing before `any`"),
        ("parse @message 'a=* b=*' as a", "2 asterisks have 1 names"),
        ("parse @message /(a)/", "extracts nothing"),
        ("fields @message |", "a name is missing before the end"),
        ("", "a name is missing before the end"),
        (f"filter {'(' * 2000}a = 1{')' * 2000}", "nested too deep"),
        ('filter a = "open', '`"` is not run here'),
    ],
)
def test_what_is_not_run_is_named(query: str, named: str) -> None:
    """A query that is run in part would look right and prove nothing."""
    with pytest.raises(AlarmError, match=named):
        compile_query(query)


@pytest.mark.parametrize(
    "query",
    [
        "stats count(*) by bin(1m)",
        "sort @timestamp",
        "filter @timestamp > 5",
        "stats max(@timestamp)",
        "dedup @timestamp",
    ],
)
def test_a_query_that_needs_times_refuses_lines_without(query: str) -> None:
    """All lines in one bin of no time would hide the minute of the failure."""
    with pytest.raises(AlarmError, match="line 2: it needs each event's time, and 1 of 2 events have none"):
        compile_query(f"fields @message |\n{query}").run([{"message": "a", "timestamp": 1}, {"message": "b"}])


def test_a_query_that_only_shows_times_takes_lines_without() -> None:
    assert compile_query("fields @timestamp, @message").run([{"message": "a"}]) == [{"@message": "a"}]


EVENT = st.fixed_dictionaries(
    {
        "timestamp": st.integers(0, 400_000),
        "message": st.builds(
            lambda name, value: json.dumps({"name": name, "value": value}),
            st.sampled_from("abc"),
            st.floats(-1e9, 1e9),
        ),
    }
)


@given(st.lists(EVENT, max_size=30).flatmap(lambda events: st.tuples(st.just(events), st.permutations(events))))
def test_statistics_do_not_depend_on_the_order_of_events(orders: tuple[list[Any], list[Any]]) -> None:
    """Log streams of several machines arrive interleaved in any way."""
    query = compile_query(
        "stats count(*), sum(value), avg(value), min(value), max(value), pct(value, 95), count_distinct(value) "
        "by bin(1m), name"
    )
    assert query.run(orders[0]) == query.run(orders[1])


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "messages.logsinsights").write_text("fields @logStream, @message | filter @message like /a/")
    monkeypatch.setenv("CUTOVER_QUERIES", str(tmp_path))
    return tmp_path


EVENTS: list[dict[str, Any]] = [
    {"logStreamName": "web1", "timestamp": 1, "message": "a\x1b[2J", "eventId": "1"},
    {"logStreamName": "web2", "timestamp": 2, "message": "b", "eventId": "2"},
]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"events": EVENTS, "searchedLogStreams": []}, indent=4),
        json.dumps(EVENTS, indent=4),
        "\n".join(json.dumps(event) for event in EVENTS) + "\n\n",
        "\ufeff" + json.dumps({"events": EVENTS}),
    ],
    ids=["document", "list", "lines", "byte order mark"],
)
def test_exports_are_read(text: str, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same events give the same answer, and a log line cannot drive the terminal."""
    (saved / "events").write_text(text)
    assert run_query("messages", str(saved / "events"), as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == [{"@logStream": "web1", "@message": "a\x1b[2J"}]
    assert run_query(str(saved / "messages.logsinsights"), str(saved / "events"), as_json=False) == 0
    assert capsys.readouterr().out == "@logStream  @message\nweb1        a\\x1b[2J\n1 rows from 2 events\n"


def test_half_a_character_is_shown(saved: Path) -> None:
    """JSON can spell what no UTF-8 can: the one odd line must not end the search in a traceback."""
    (saved / "events").write_text('{"timestamp": 1, "message": "a \\ud800"}\n')
    for as_json, shown in ((["--json"], rb"a \ud800"), ([], rb"a \xd800")):
        done = subprocess.run(
            [sys.executable, "-m", "cutover.cli", "alarms", "query", *as_json, "messages", str(saved / "events")],
            capture_output=True,
            check=True,
        )
        assert shown in done.stdout


def test_plain_lines_from_standard_input(
    saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal piped in, JSON layout included, is lines without times."""
    assert saved.is_dir()
    monkeypatch.setattr("sys.stdin", io.StringIO('INFO a\n\n{"name": "a", "timestamp": "today"}\nINFO c\n'))
    assert run_query("messages", "-", as_json=True) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (json.dumps({"events": EVENTS}, indent=4)[:-30], "line 1 is JSON that is cut off"),
        (json.dumps(EVENTS[0]) + "\n" + json.dumps(EVENTS[1])[:-9], "line 2 is JSON that is cut off"),
        (json.dumps(EVENTS[0]) + "\nb", "line 2 is of another kind"),
        ("b\n" + json.dumps(EVENTS[0]), "line 2 is of another kind"),
        (json.dumps({"events": [EVENTS[0], {"message": "b"}]}), "event 2 lacks timestamp"),
        (json.dumps({"events": [{"message": "b", "timestamp": True}]}), "event 1 lacks timestamp"),
        (json.dumps({"events": [{"message": "b", "timestamp": 10**20}]}), "event 1 lacks timestamp"),
        (b"\xff", "no UTF-8"),
    ],
)
def test_a_damaged_export_is_an_error(text: str | bytes, named: str, saved: Path) -> None:
    """Half an export would say "no failures"."""
    (saved / "events").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(AlarmError, match=named):
        run_query("messages", str(saved / "events"), as_json=False)


@pytest.mark.parametrize("text", ["", "\n", '{"events": []}', "[]"])
def test_no_events_are_no_answer(text: str, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An export of the wrong hour must not read as "no failures"."""
    (saved / "events").write_text(text)
    assert run_query("messages", str(saved / "events"), as_json=False) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "holds no event" in shown.err


def test_an_unknown_query_names_the_known_ones(saved: Path) -> None:
    with pytest.raises(AlarmError, match=r"no query is called message; there are: messages$"):
        run_query("message", str(saved / "events"), as_json=False)
