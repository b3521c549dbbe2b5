"""The scenarios of ops/scenarios/, their language, the replay of logs, and `cutover alarms test` itself."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cutover import plan
from cutover.alarms import exported_log, scenario, site_lines
from cutover.alarms.errors import AlarmError
from cutover.alarms.expectations import broken_expectations
from cutover.alarms.replay import replay_scenario, run_test
from cutover.telemetry import parse_metric
from tests.unit.alarms.table_resources import declared

if TYPE_CHECKING:
    from cutover.alarms.resources import Resources

FILES = sorted((Path(__file__).resolve().parents[3] / "ops/scenarios").glob("*.yml"))
QUIET: dict[str, Any] = {"name": "quiet", "minutes": 10, "phases": [{"minutes": "0-10"}], "expect": {"others": "quiet"}}

JSON_LINE = (
    '{{"levelname": "INFO", "asctime": "{}", "name": "apps.tournaments.storage", '
    '"message": "METRIC: cert.s3.save.success=1"}}'
)


@pytest.fixture(scope="module")
def resources() -> Resources:
    return declared()


def saved(path: Path, resources: Resources) -> Path:
    document = {
        "MetricAlarm": resources.metric_alarms,
        "CompositeAlarm": resources.composite_alarms,
        "MetricFilter": resources.metric_filters,
    }
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def resource_file(tmp_path: Path, resources: Resources) -> Path:
    return saved(tmp_path / "resources.json", resources)


def written(folder: Path, document: dict[str, Any]) -> Path:
    path = folder / "scenario.yml"
    path.write_text(yaml.safe_dump(document))
    return path


def run(
    *sources: Path, resources: Path, plot: Path | None = None, as_json: bool = False, stack: str | None = None
) -> int:
    return run_test(argparse.Namespace(sources=sources, stack=stack, resources=resources, plot=plot, json=as_json))


def a_phase(**keys: Any) -> dict[str, Any]:
    return {"phases": [{"minutes": "0-5", **keys}]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_scenario_shows_what_it_expects(path: Path, resources: Resources) -> None:
    """A changed threshold, period, count, treatment or pattern pages at another minute, or not at all."""
    given = scenario.load(path)
    assert given.expect is not None
    assert broken_expectations(given.expect, replay_scenario(str(path), given, resources)) == []


def test_the_example_of_the_reference_passes(tmp_path: Path, resources: Resources) -> None:
    """The first scenario that anyone writes is a copy of it."""
    example = re.search(r"```yaml\n(.*?)```", (FILES[0].parent / "README.md").read_text(), re.DOTALL)
    assert example is not None
    path = tmp_path / "example.yml"
    path.write_text(example[1])
    given = scenario.load(path)
    assert given.expect is not None
    assert broken_expectations(given.expect, replay_scenario("example", given, resources)) == []


def test_the_reference_says_something_of_each_key() -> None:
    """A key without a text is a row that explains nothing."""
    for model in (scenario.Scenario, scenario.Phase, scenario.Event, scenario.Expectations):
        assert all(field.description for field in model.model_fields.values())


def test_each_alarm_fires_and_ends_in_a_scenario() -> None:
    """An alarm that no scenario sees firing may be unable to."""
    fired: set[str] = set()
    for path in FILES:
        expected = scenario.load(path).expect
        for alarm, changes in expected.alarms.items() if expected else ():
            if [change.state == "ALARM" for change in changes][:2] == [True, False]:
                fired.add(alarm)
    assert fired == set(plan.load().alarms)


def test_each_incident_is_sent_in_a_scenario() -> None:
    expectations = [expected for path in FILES if (expected := scenario.load(path).expect) is not None]
    sent = {each.incident for expected in expectations for each in [*(expected.pages or ()), *(expected.mails or ())]}
    assert sent >= set(plan.load().incidents)


class TestLanguage:
    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"minuts": 10}, "minuts: there is no such key: correct or remove it ("),
            ({"phases": []}, "phases: [] cannot stand here: write a list of at least 1 ("),
            ({"phases": [{"minutes": "0-10", "savs_per_minute": 1}]}, "phases.0.savs_per_minute: there is no such key"),
            ({"phases": [{"minutes": "10-0"}]}, "phases.0.minutes: '10-0' is no span"),
            ({"phases": [{"minutes": "5"}]}, "phases.0.minutes: '5' is no span"),
            (
                {"phases": [{"minutes": "0-5", "save_failures": "101%"}]},
                "phases.0.save_failures: '101%' is no percentage",
            ),
            (
                {"phases": [{"minutes": "0-5", "save_failures": "-1%"}]},
                "phases.0.save_failures: '-1%' is no percentage",
            ),
            ({"phases": [{"minutes": "0-5", "save_failures": 0.02}]}, "phases.0.save_failures: 0.02 is no percentage"),
            ({"phases": [{"minutes": "0-5", "save_failures": "two%"}]}, "phases.0.save_failures: 'two' is no number"),
            ({"phases": [{"minutes": "0-5", "saves_per_minute": -1}]}, "phases.0.saves_per_minute: -1 is no number"),
            ({"phases": [{"minutes": "0-6"}, {"minutes": "5-9"}]}, "minute 5 is in two of them"),
            (
                {"phases": [{"minutes": "5-9"}, {"minutes": "0-5"}]},
                "minute 0 is in two of them, or they",
            ),
            ({"phases": [{"minutes": "0-11"}]}, "minute 10 lies behind the end"),
            ({"events": [{"minute": 10, "silence_minutes": 1}]}, "minute 10 lies behind the end"),
            ({"events": [{"minute": 1}]}, "give one of consistency_mismatch and silence_minutes"),
            ({"expect": {"upload-failure": []}}, "expect: there is no alarm 'upload-failure'"),
            ({"expect": {"pagess": [{"minute": 1, "incident": "s3"}]}}, "expect: there is no alarm 'pagess'"),
            ({"expect": {5: []}}, "expect: there is no alarm 5"),
            ({"phases": [{"minutes": "0-5", "upload_ms": float("inf")}]}, "phases.0.upload_ms: inf cannot stand here"),
            (
                {"expect": {"pages": [{"minute": 1, "incident": "s4"}]}},
                "expect.pages: there is no incident or alarm 's4'",
            ),
            ({"layout": "xml"}, "layout: 'xml' cannot stand here: write 'console', 'file' or 'json' ("),
            ({"deployment": "test"}, "deployment: 'test' cannot stand here: write 'staging' or 'production' ("),
            ({"minutes": "ten"}, "minutes: 'ten' cannot stand here: write a whole number ("),
            ({"minutes": 0}, "minutes: 0 cannot stand here: write a number from 1 on ("),
            ({"minutes": 10**6}, "minutes: 1000000 cannot stand here: write a number up to 44640 ("),
            ({"phases": [{}]}, "phases.0.minutes: is missing: add it ("),
            ({"phases": "0-5"}, "phases: '0-5' cannot stand here: write a list ("),
            ({"phases": [5]}, "phases.0: 5 cannot stand here: write keys with their values ("),
            ({"phases": [{"minutes": "0-5", "probe": "perhaps"}]}, "phases.0.probe: 'perhaps' cannot stand here"),
            ({"name": 5}, "name: 5 cannot stand here: write a text ("),
            ({"expect": {}}, "expect: expects nothing: name an alarm"),
            (
                {"expect": {"upload-failures": [{"minute": 1, "state": "ok"}]}},
                "expect.upload-failures.0.state: 'ok' cannot stand here: write 'ALARM', 'OK' or 'INSUFFICIENT_DATA' (",
            ),
        ],
    )
    def test_what_is_wrong_is_named_with_its_key(self, tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
        """A misspelt key that is ignored makes a scenario of a healthy site, and its alarms look fine."""
        path = written(tmp_path, QUIET | changes)
        with pytest.raises(AlarmError) as caught:
            scenario.load(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert str(caught.value).endswith("(ops/scenarios/README.md has the format)")
        assert sentence in str(caught.value)

    def test_a_file_that_is_no_yaml_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "scenario.yml"
        with pytest.raises(AlarmError, match=r"scenario\.yml: cannot be read"):
            scenario.load(path)
        path.write_text("name: [")
        with pytest.raises(AlarmError, match=r"scenario\.yml: is no YAML"):
            scenario.load(path)

    @pytest.mark.parametrize(
        ("layout", "line"),
        [
            ("console", "INFO {} apps.tournaments.storage METRIC: cert.s3.save.success=1"),
            ("file", "INFO {} apps.tournaments.storage storage 21247 140039661087616 METRIC: cert.s3.save.success=1"),
            ("json", JSON_LINE),
        ],
    )
    def test_the_lines_are_the_applications(self, layout: str, line: str) -> None:
        phase = {"minutes": "0-10", "saves_per_minute": 0.1, "probe": False}
        given = scenario.Scenario.model_validate(QUIET | {"layout": layout, "phases": [phase]})
        phase_of_one = scenario.Scenario.model_validate(
            QUIET | {"layout": layout, "phases": [phase | {"minutes": "0-1", "saves_per_minute": 1}]}
        )
        assert [message for _, message in site_lines.lines(phase_of_one)] == [line.format("2026-01-01 06:00:30,000")]
        assert [at - site_lines.START for at, _ in site_lines.lines(given)] == [570.0]

    def test_shares_are_spread_evenly_and_exactly(self) -> None:
        phase = {"minutes": "0-10", "saves_per_minute": 30, "save_failures": "3%", "reads_per_minute": 7}
        counts: Counter[str] = Counter()
        failures = []
        for at, message in site_lines.lines(scenario.Scenario.model_validate(QUIET | {"phases": [phase]})):
            metric = parse_metric(message)
            assert metric is not None
            counts[metric[0]] += 1
            if metric[0] == "cert.s3.save.fail":
                failures.append(at)
        assert counts == {
            "cert.s3.save.success": 291,
            "cert.s3.save.fail": 9,
            "cert.s3.read.success": 70,
            "cert.s3.probe.put_ms": 120,
            "cert.s3.probe.sign_ms": 60,
        }
        assert max(after - before for before, after in pairwise(failures)) <= 68

    def test_lines_that_are_not_delivered_are_not_there(self) -> None:
        phases = [{"minutes": "0-5"}, {"minutes": "5-10", "telemetry": False}]
        lines = list(site_lines.lines(scenario.Scenario.model_validate(QUIET | {"phases": phases})))
        assert len(lines) == 5 * 18
        assert max(at for at, _ in lines) < site_lines.START + 300


class TestCommand:
    def test_expectations_that_hold(
        self, tmp_path: Path, resource_file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(written(tmp_path, QUIET), resources=resource_file) == 0
        printed = capsys.readouterr().out
        assert printed.splitlines()[-2:] == ["sent: pages 0, resolved 0, mails 0", "PASS all expectations hold"]
        assert "\x1b" not in printed

    @pytest.mark.parametrize(
        ("expect", "sentence"),
        [
            (
                {"read-fallback-spike": [{"minute": 3, "state": "ALARM"}]},
                "FAIL read-fallback-spike: expected ALARM after 3 min; seen ALARM after 6 min",
            ),
            ({"others": "quiet"}, "FAIL read-fallback-spike: expected to stay quiet; seen ALARM after 6 min"),
            ({"mails": []}, "FAIL mails: expected nothing; seen degraded after 7 min"),
            ({"pages": [{"minute": 7, "incident": "s3"}]}, "FAIL pages: expected s3 after 7 min; seen nothing"),
        ],
    )
    def test_expectations_that_do_not(
        self, tmp_path: Path, resource_file: Path, capsys: pytest.CaptureFixture[str], expect: Any, sentence: str
    ) -> None:
        phases = [{"minutes": "0-5"}, {"minutes": "5-10", "reads_per_minute": 1000, "read_fallbacks": "0.6%"}]
        assert run(written(tmp_path, QUIET | {"phases": phases, "expect": expect}), resources=resource_file) == 1
        assert sentence in capsys.readouterr().out.splitlines()

    def test_one_broken_scenario_of_several_fails_all(self, tmp_path: Path, resource_file: Path) -> None:
        (tmp_path / "bad").mkdir()
        bad = written(tmp_path / "bad", QUIET | {"expect": {"pages": [{"minute": 1, "incident": "s3"}]}})
        nothing = tmp_path / "nothing.json"
        nothing.write_text('{"events": []}')
        assert run(bad, nothing, written(tmp_path, QUIET), resources=resource_file) == 1

    def test_nothing_measured_is_no_success(self, tmp_path: Path, resource_file: Path) -> None:
        """An empty export of the wrong hour must not read as a healthy site."""
        nothing = tmp_path / "nothing.json"
        nothing.write_text('{"events": []}')
        assert run(nothing, resources=resource_file) == 3
        silent = QUIET | {"phases": [{"minutes": "0-10", "telemetry": False}], "expect": None}
        assert run(written(tmp_path, silent), resources=resource_file) == 3

    def test_a_scenario_without_expectations_does_not_pass(
        self, tmp_path: Path, resource_file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A misspelt or forgotten `expect` would make every scenario pass."""
        assert run(written(tmp_path, QUIET | {"expect": None}), resources=resource_file) == 3
        assert capsys.readouterr().out.splitlines()[-1].startswith("INCONCLUSIVE no expectations, nothing judged")
        assert run(written(tmp_path, QUIET | {"expect": None}), resources=resource_file, as_json=True) == 3
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["verdict"] == "INCONCLUSIVE"

    def test_what_was_sent_is_counted_at_the_end(
        self, tmp_path: Path, resource_file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """In a timeline of a hundred lines nobody finds the one that pages."""
        phases = [
            {"minutes": "0-5", "saves_per_minute": 60},
            {"minutes": "5-11", "saves_per_minute": 60, "save_failures": "100%"},
            {"minutes": "11-40", "saves_per_minute": 60},
        ]
        expect = {"pages": [{"minute": 7, "incident": "s3"}]}
        changes = {"minutes": 40, "phases": phases, "expect": expect}
        run(written(tmp_path, QUIET | changes), resources=resource_file)
        assert "sent: pages 1, resolved 1, mails 1" in capsys.readouterr().out.splitlines()

    def test_a_scenario_is_replayed_on_the_stack_that_is_asked_for(self, tmp_path: Path) -> None:
        """Staging's alarms have other names: a production's scenario would find none of them, and fail for ever."""
        path = saved(tmp_path / "staging.json", declared(deployment="staging"))
        shipped = next(file for file in FILES if file.stem == "read-fallback-spike")
        assert run(shipped, resources=path, stack="staging") == 0
        assert run(shipped, resources=path) == 1

    def test_bad_input(self, tmp_path: Path, resource_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(tmp_path / "absent.yml", resources=resource_file) == 2
        assert "absent.yml: cannot be read" in capsys.readouterr().err
        source = written(tmp_path, QUIET)
        assert run(source, source, resources=resource_file, plot=tmp_path / "plot.svg") == 2
        assert "--plot draws one source" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "text",
        [
            json.dumps({"events": [{"timestamp": 1_767_225_601_000, "message": "METRIC: cert.s3.save.fail=1"}] * 2}),
            '{"timestamp": 1767225601000, "message": "METRIC: cert.s3.save.fail=1"}\n' * 2,
            '{"__REALTIME_TIMESTAMP": "1767225601000000", "MESSAGE": "METRIC: cert.s3.save.fail=1"}\n' * 2,
            json.dumps({"__REALTIME_TIMESTAMP": "1767225601000000", "MESSAGE": list(b"METRIC: cert.s3.save.fail=1")})
            + '\n\n{"__REALTIME_TIMESTAMP": "1767225601000000", "MESSAGE": "METRIC: cert.s3.save.fail=1"}\n',
            '{"__REALTIME_TIMESTAMP": "1767225601000000", "MESSAGE": "METRIC: cert.s3.save.fail=1\u2028\x85"}\n' * 2,
            "\ufeff" + '{"timestamp": 1767225601000, "message": "METRIC: cert.s3.save.fail=1"}\r\n' * 2,
        ],
        ids=[
            "filter-log-events",
            "its events",
            "journal",
            "journal with bytes",
            "journal with Unicode's line ends",
            "byte order mark and CR LF",
        ],
    )
    def test_an_exported_log(
        self, tmp_path: Path, resource_file: Path, capsys: pytest.CaptureFixture[str], text: str
    ) -> None:
        path = tmp_path / "events.json"
        path.write_text(text)
        assert run(path, resources=resource_file, as_json=True) == 0
        documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        (fired,) = (each for each in documents if each.get("alarm") == "deltacrown-production-upload-failures")
        assert (fired["minute"], fired["old"], fired["new"]) == (1, "INSUFFICIENT_DATA", "ALARM")
        assert documents[-1] == {
            "source": str(path),
            "lines": 2,
            "pages": 0,
            "resolved": 0,
            "mails": 0,
            "verdict": None,
            "broken": [],
        }

    def test_lines_are_in_the_order_of_their_times(self, tmp_path: Path) -> None:
        """Streams of several machines are exported one after the other; `timestamp` is in milliseconds."""
        path = tmp_path / "events.json"
        path.write_text('{"timestamp": 2500, "message": "b"}\n{"timestamp": 0, "message": "a"}\n')
        assert exported_log.lines(path) == [(0, "a"), (2.5, "b")]

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("INFO METRIC: cert.s3.save.fail=1", "line 1 lacks timestamp"),
            ('{"timestamp": 1, "message": "a"}\n{"timestamp": 2}', "line 2 is of another kind"),
            ('{"timestamp": "now", "message": "a"}', "line 1 lacks timestamp"),
            ('{"timestamp": 1e999, "message": "a"}', "line 1 lacks timestamp"),
            ('{"timestamp": -1, "message": "a"}', "line 1 lacks timestamp"),
            (f'{{"timestamp": {10**400}, "message": "a"}}', "line 1 lacks timestamp"),
            ('{"__REALTIME_TIMESTAMP": "1767225601000000", "MESSAGE": null}', "line 1 lacks timestamp"),
            ('{"__REALTIME_TIMESTAMP": "soon", "MESSAGE": "a"}', "line 1 lacks timestamp"),
            ('{"__REALTIME_TIMESTAMP": "1767225601000000", "MESSAGE": [256]}', "line 1 lacks timestamp"),
            ("[" * 100_000, "line 1 lacks timestamp"),
            ("[1]", "event 1 lacks timestamp"),
        ],
    )
    def test_a_log_that_cannot_be_read_is_named(
        self, tmp_path: Path, resource_file: Path, capsys: pytest.CaptureFixture[str], text: str, sentence: str
    ) -> None:
        """Lines without a time cannot be put into minutes; skipped, they would be failures that nobody sees."""
        path = tmp_path / "events.json"
        path.write_text(text)
        assert run(path, resources=resource_file) == 2
        assert f"{path}: {sentence}" in capsys.readouterr().err

    @pytest.mark.parametrize(("suffix", "begin"), [(".svg", b"<?xml"), (".png", b"\x89PNG")])
    def test_a_plot(self, tmp_path: Path, resource_file: Path, suffix: str, begin: bytes) -> None:
        path = tmp_path / f"plot{suffix}"
        phases = [{"minutes": "0-10", "saves_per_minute": 60, "save_failures": "10%"}]
        source = written(tmp_path, QUIET | {"phases": phases, "expect": {"no-telemetry": []}})
        assert run(source, resources=resource_file, plot=path) == 0
        assert path.read_bytes().startswith(begin)

    def test_a_plot_says_what_its_colours_mean(self, tmp_path: Path, resource_file: Path) -> None:
        """Red and green alone are a riddle, and to some readers one colour."""
        path = tmp_path / "plot.svg"
        run(written(tmp_path, QUIET), resources=resource_file, plot=path)
        legend = path.read_text().rpartition('id="legend_')[2]
        assert [state for state in ("ALARM", "OK", "INSUFFICIENT_DATA") if f"<!-- {state} -->" in legend] == [
            "ALARM",
            "OK",
            "INSUFFICIENT_DATA",
        ]

    def test_a_plot_in_another_format_is_refused(
        self, tmp_path: Path, resource_file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(written(tmp_path, QUIET), resources=resource_file, plot=tmp_path / "plot.gif") == 2
        assert "an .svg or a .png file" in capsys.readouterr().err

    def test_a_plot_without_matplotlib_says_so(
        self,
        tmp_path: Path,
        resource_file: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        assert run(written(tmp_path, QUIET), resources=resource_file, plot=tmp_path / "plot.svg") == 2
        assert "pip install matplotlib" in capsys.readouterr().err
