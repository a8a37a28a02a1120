"""One table of options: who says what, whose word counts, and what is said wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pytest_vaeaudit.fixture
from pytest_vaeaudit.options import IN_TESTS, OPTIONS, PRESETS, folder_of, settled
from vaeaudit import OptionError
from vaeaudit.config import read_audit_file
from vaeaudit.spec import PRESETS as SPECS

SOURCES = ("call", "marker", "command line", "ini", "default")
"""The stronger first."""
SAID: dict[str, tuple[Any, ...]] = {
    "preset": ("quick", "thorough", "quick", "thorough", "standard"),
    "device": ("cuda:0", "cuda:1", "cuda:2", "cuda:3", None),
    "pairs": (11, 12, 13, 14, None),
    "seed": (0, 1, 2, 3, None),
    "confidence": (0.6, 0.7, 0.8, 0.9, 0.95),
    "max_pairs": (201, 202, 203, 204, None),
    "max_evaluations": (1001, 1002, 1003, 1004, None),
    "time_limit": (61.5, 62.5, 63.5, 64.5, None),
    "inconclusive": ("warn", "skip", "warn", "skip", "fail"),
    "slack": (0.1, 0.2, 0.3, 0.4, 0.0),
}
"""What every source says of an option, in the order of SOURCES."""
IN_TESTS_ONLY: dict[str, tuple[Any, ...]] = {
    "suppress": (["blind_inputs"], ("zero_gradients", "stateful_model"), ()),
    "devices": (["cpu", "cpu"], "all", None),
    "precision": ("bfloat16", "tf32", None),
    "work": (1e12, 2e12, None),
    "strengths": ([1.0], [2.0], None),
    "divergence": ("wasserstein", "mean_l2", "kl"),
    "penalty": ("l2", "l2_squared", "l2_squared"),
}
"""Of options that only call and marker may say: call, marker, default."""
OF_SESSIONS: dict[str, tuple[Any, ...]] = {
    "report": ("said", "written", None),
    "summary": ("said.md", "written.md", None),
    "baseline": ("said.json", "written.json", "vaeaudit-baseline.json"),
    "baseline_ref": ("main", "v1", None),
    "update": ("new", "all", "none"),
    "cache": ("refresh", "off", "on"),
}
"""Of options that no test may say: command line, ini, default."""

SAYS_NOTHING = """
    def test_it(vae_audit, robust):
        vae_audit(robust, None)
"""


def precedence() -> Iterator[Any]:
    """Every option of a test with every source as the strongest that says something."""
    for name, values in SAID.items():
        for strongest in range(len(SOURCES)):
            yield pytest.param(name, values, strongest, id=f"{name}-{SOURCES[strongest].replace(' ', '_')}")


def configured(pytester: pytest.Pytester, on_command_line: dict[str, Any], in_ini: dict[str, Any]) -> pytest.Config:
    """A session's configuration with options said in both places."""
    pytester.makeini("[pytest]\n" + "".join(f"{OPTIONS[name].ini} = {value}\n" for name, value in in_ini.items()))
    return pytester.parseconfig(*(f"{OPTIONS[name].command_line}={value}" for name, value in on_command_line.items()))


@pytest.mark.parametrize(("name", "values", "strongest"), list(precedence()))
def test_call_goes_before_marker_before_command_line_before_ini_before_default(
    pytester: pytest.Pytester, name: str, values: tuple[Any, ...], strongest: int
) -> None:
    said = [{} if source < strongest else {name: value} for source, value in enumerate(values)]
    call, marker, command_line, ini, _ = said
    found = settled(configured(pytester, command_line, ini), name, call, marker)
    assert found == values[strongest]
    assert type(found) is type(values[strongest])


@pytest.mark.parametrize("strongest", range(3), ids=("command_line", "ini", "default"))
@pytest.mark.parametrize("name", OF_SESSIONS)
def test_the_command_line_goes_before_the_ini_file_for_options_of_the_session(
    pytester: pytest.Pytester, name: str, strongest: int
) -> None:
    values = OF_SESSIONS[name]
    command_line, ini, _ = ({} if source < strongest else {name: value} for source, value in enumerate(values))
    assert settled(configured(pytester, command_line, ini), name) == values[strongest]


@pytest.mark.parametrize("strongest", range(3), ids=("call", "marker", "default"))
@pytest.mark.parametrize("name", IN_TESTS_ONLY)
def test_the_call_goes_before_the_marker_for_options_of_the_measurement(
    pytester: pytest.Pytester, name: str, strongest: int
) -> None:
    values = IN_TESTS_ONLY[name]
    call, marker, _ = ({} if source < strongest else {name: value} for source, value in enumerate(values))
    assert settled(configured(pytester, {}, {}), name, call, marker) == values[strongest]


def test_every_option_stands_in_one_of_the_tables_above_or_is_a_flag() -> None:
    assert {*SAID, *IN_TESTS_ONLY} == set(IN_TESTS)
    assert {*SAID, *IN_TESTS_ONLY, *OF_SESSIONS, "skip", "only"} == set(OPTIONS)
    assert all(option.test or option.session for option in OPTIONS.values())


def test_none_in_a_call_or_marker_leaves_the_word_to_the_next(pytester: pytest.Pytester) -> None:
    config = configured(pytester, {"pairs": 13}, {"device": "cuda:3"})
    assert settled(config, "pairs", {"pairs": None}, {"pairs": None}) == 13
    assert settled(config, "device", {"device": None}, {}) == "cuda:3"
    assert settled(config, "seed", {"seed": None}, {"seed": 3}) == 3


def test_an_audit_is_planned_with_what_was_settled(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, dict[str, Any]] = {}
    start = pytest_vaeaudit.fixture.start

    def recorded(config: pytest.Config, test: str, *rest: Any) -> Any:
        settings[test.rpartition("::")[2]] = dict(rest[-1])
        return start(config, test, *rest)

    monkeypatch.setattr(pytest_vaeaudit.fixture, "start", recorded)
    call, marker, command_line, ini, _ = ({n: values[i] for n, values in SAID.items()} for i in range(len(SOURCES)))
    project.write(f"""
        @pytest.mark.vaeaudit(**{marker!r})
        def test_call(vae_audit, robust):
            vae_audit(robust, None, **{call!r})

        @pytest.mark.vaeaudit(**{marker!r})
        def test_marker(vae_audit, robust):
            vae_audit(robust, None)

        def test_session(vae_audit, robust):
            vae_audit(robust, None)
    """)
    project.pytester.makeini("[pytest]\n" + "".join(f"vaeaudit_{name} = {value}\n" for name, value in ini.items()))
    typed = [f"{OPTIONS[name].command_line}={value}" for name, value in command_line.items()]
    for arguments, of_the_session in ((typed, command_line), ([], ini)):
        project.run(*arguments).assert_outcomes(passed=3)
        for test, said in {"test_call": call, "test_marker": marker, "test_session": of_the_session}.items():
            assert {name: settings[test][name] for name in SAID} == said


def test_an_option_that_a_closer_source_leaves_out_is_taken_from_the_next(project: Any) -> None:
    project.write("""
        @pytest.mark.vaeaudit(pairs=12)
        def test_it(vae_audit, robust):
            vae_audit(robust, None, preset="quick")
    """)
    project.run("--vaeaudit-seed=5", "--vaeaudit-preset=thorough", "--vaeaudit-pairs=40").assert_outcomes(passed=1)
    assert project.measured == [["w1", "5", "12", "quick"]]


WRONG = {
    "preset": ("huge", "one of quick, standard, thorough"),
    "device": ("gpu0", 'a device such as "cpu" or "cuda:0"'),
    "pairs": ("0", "a whole number of at least 1"),
    "seed": ("-1", "a whole number from 0 to below"),
    "confidence": ("1", "a number above 0.5 and below 1"),
    "max_pairs": ("0", "a whole number of at least 1"),
    "max_evaluations": ("-5", "a whole number of at least 1"),
    "time_limit": ("-1", "a number of at least 0"),
    "inconclusive": ("maybe", "one of fail, warn, skip"),
    "slack": ("nan", "a number of at least 0"),
    "report": ("", "a name"),
    "summary": ("", "a name"),
    "baseline": ("", "a name"),
    "baseline_ref": ("", "a name"),
    "update": ("some", "one of none, new, improved, all"),
    "cache": ("maybe", "one of on, off, refresh"),
}


def test_every_option_of_the_session_has_a_wrong_value_to_be_tested_with() -> None:
    assert set(WRONG) == {option.name for option in OPTIONS.values() if option.session and not option.flag}


def refusal(result: pytest.RunResult) -> str:
    """What a refused command line or ini file is told, on one line."""
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "Traceback" not in result.stderr.str() + result.stdout.str()
    return " ".join(result.stderr.str().split())


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_on_the_command_line_is_a_usage_error(project: Any, name: str) -> None:
    value, expected = WRONG[name]
    project.write(SAYS_NOTHING)
    told = refusal(project.run(f"{OPTIONS[name].command_line}={value}"))
    assert OPTIONS[name].command_line in told
    if OPTIONS[name].choices:  # argparse says it in words of its own
        assert all(choice in told for choice in (*OPTIONS[name].choices, value))
    else:
        assert f"expects {expected}" in told
    assert project.measured == []


@pytest.mark.parametrize("name", [name for name, (value, _) in WRONG.items() if value])
def test_a_wrong_value_in_the_ini_file_is_a_usage_error(project: Any, name: str) -> None:
    value, expected = WRONG[name]
    project.write(SAYS_NOTHING)
    project.pytester.makeini(f"[pytest]\n{OPTIONS[name].ini} = {value}\n")
    told = refusal(project.run())
    assert f"{OPTIONS[name].ini} expects {expected}" in told
    assert project.measured == []


@pytest.mark.parametrize("value", ["many", "2.5"])
def test_a_number_that_is_none_is_a_usage_error(project: Any, value: str) -> None:
    project.write(SAYS_NOTHING)
    assert f"--vaeaudit-pairs: invalid int value: '{value}'" in refusal(project.run(f"--vaeaudit-pairs={value}"))
    project.pytester.makeini(f"[pytest]\nvaeaudit_pairs = {value}\n")
    told = refusal(project.run())
    assert "vaeaudit_pairs expects a whole number of at least 1" in told
    assert f"'{value}'" in told


@pytest.mark.parametrize("value", [0.5, 1.0, 0.3, "0.9", True])
def test_no_source_takes_a_confidence_that_no_verdict_can_have(value: Any) -> None:
    assert OPTIONS["confidence"].fault(value) == f"expects a number above 0.5 and below 1, got {value!r}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pairs", 2.0),
        ("pairs", True),
        ("seed", 2**63),
        ("time_limit", float("inf")),
        ("slack", float("nan")),
        ("device", 0),
        ("suppress", "blind_inputs"),
        ("devices", "cuda"),
        ("devices", []),
        ("devices", ["gpu one"]),
        ("suppress", [3]),
    ],
)
def test_a_value_of_the_wrong_kind_is_a_fault(name: str, value: Any) -> None:
    assert OPTIONS[name].fault(value).startswith("expects a")


@pytest.mark.parametrize("name", IN_TESTS)
def test_no_value_that_a_source_may_say_is_a_fault(name: str) -> None:
    values = SAID.get(name) or IN_TESTS_ONLY[name]
    assert [OPTIONS[name].fault(value) for value in values] == [""] * len(values)


TWO = """
    def test_audits(vae_audit, robust):
        vae_audit(robust, None)

    def test_does_not():
        pass

    @pytest.mark.vaeaudit(hinge=at_least(0.3))
    def test_marked(vae_audit, robust):
        vae_audit(robust, None)
"""


def test_skip_leaves_out_every_test_that_audits(project: Any) -> None:
    project.write(TWO)
    result = project.run("--vaeaudit-skip", "-rs")
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(["SKIPPED*--vaeaudit-skip"])
    assert project.measured == []


def test_only_keeps_nothing_but_tests_that_audit(project: Any) -> None:
    project.write(TWO)
    result = project.run("--vaeaudit-only", "-v")
    result.assert_outcomes(passed=2, deselected=1)
    result.stdout.no_fnmatch_line("*test_does_not*")


def test_skip_and_only_together_are_a_usage_error(project: Any) -> None:
    project.write(TWO)
    told = refusal(project.run("--vaeaudit-skip", "--vaeaudit-only"))
    assert "--vaeaudit-skip and --vaeaudit-only leave nothing to run; give one of them" in told


def test_help_shows_every_option_with_choices_and_default(project: Any) -> None:
    told = " ".join(project.run("--help").stdout.str().split())
    for option in OPTIONS.values():
        if option.session:
            assert f"{option.command_line}{'' if option.flag else '='}" in told
            assert option.help in told
        if option.session and not option.flag:
            assert f"{option.ini} ({'string' if option.kind is str else option.kind.__name__})" in told
    assert "(default: standard)" in told


def test_markers_show_the_marker(project: Any) -> None:
    project.run("--markers").stdout.fnmatch_lines(["@pytest.mark.vaeaudit(hinge=at_least(0.3), ...*bars that every*"])


native = pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest 9 brought settings with types, and strict ones")
STRICT = {
    "pyproject.toml, native": ("pyproject.toml", "[tool.pytest]\nstrict = true\n"),
    "pyproject.toml": ("pyproject.toml", "[tool.pytest.ini_options]\nstrict = true\n"),
    "pytest.toml": ("pytest.toml", "[pytest]\nstrict = true\n"),
    "pytest.ini": ("pytest.ini", "[pytest]\nstrict = true\n"),
}
TYPED = """
vaeaudit_preset = "quick"
vaeaudit_pairs = 24
vaeaudit_seed = 7
vaeaudit_confidence = 0.9
vaeaudit_max_pairs = 48
vaeaudit_max_evaluations = 1000000
vaeaudit_time_limit = 600
vaeaudit_inconclusive = "warn"
vaeaudit_slack = 0.05
vaeaudit_report = "reports"
vaeaudit_baseline = "baselines/figures.json"
vaeaudit_update = "none"
vaeaudit_cache = "off"
"""


@native
@pytest.mark.parametrize("place", STRICT)
def test_a_strict_session_knows_options_and_marker(project: Any, place: str) -> None:
    name, head = STRICT[place]
    body = TYPED.replace('"', "") if name == "pytest.ini" else TYPED
    (project.pytester.path / name).write_text(head + body)
    project.write("""
        @pytest.mark.vaeaudit(hinge=at_least(0.3))
        def test_it(vae_audit, robust):
            vae_audit(robust, None)
    """)
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["hinge * >= 0.3* PASS (90 %, 24 pairs)"])
    assert project.measured == [["w1", "7", "24", "quick"]]
    assert (project.pytester.path / "reports" / "summary.md").exists()


@native
def test_native_toml_refuses_a_number_in_quotes(project: Any) -> None:
    project.pytester.makepyprojecttoml('[tool.pytest]\nvaeaudit_pairs = "24"\n')
    project.write(SAYS_NOTHING)
    told = refusal(project.run())
    assert "vaeaudit_pairs" in told
    assert "expects an int" in told


@native
def test_a_mistyped_ini_name_is_refused_by_a_strict_session(project: Any) -> None:
    project.pytester.makepyprojecttoml("[tool.pytest]\nstrict = true\nvaeaudit_pair = 24\n")
    project.write(SAYS_NOTHING)
    assert "vaeaudit_pair" in refusal(project.run())


def test_a_path_on_the_command_line_starts_where_it_was_typed_and_one_in_the_ini_file_at_the_root(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]\nvaeaudit_report = out\nvaeaudit_baseline = figures.json\n")
    below = pytester.mkdir("below")
    monkeypatch.chdir(below)
    config = pytester.parseconfig("--vaeaudit-report=there", f"--rootdir={pytester.path}", f"-c{pytester.path}/tox.ini")
    assert folder_of(config, "report") == below / "there"
    assert folder_of(config, "baseline") == pytester.path / "figures.json"


def test_no_report_folder_is_none(pytester: pytest.Pytester) -> None:
    assert folder_of(pytester.parseconfig(), "report") is None


def test_the_presets_are_those_of_the_library() -> None:
    assert tuple(SPECS) == PRESETS


OF_THE_SUBJECT = {"model", "data", "name", "bounds", "scale", "output", "thresholds"}
"""Keys of an audit file that are no options of the measurement."""
IN_TOML: dict[str, str] = {
    "suppress": '["blind_inputs"]', "devices": '["cpu", "cpu"]', "precision": '"bfloat16"',
    "preset": '"quick"', "device": '"cpu"', "pairs": "12", "seed": "3", "confidence": "0.9", "max_pairs": "96",
    "max_evaluations": "100000", "time_limit": "60", "inconclusive": '"warn"', "slack": "0.1", "strengths": "[0.1, 10.0]",
    "divergence": '"kl"', "penalty": '"l2"', "work": "1e12",
}  # fmt: skip


def known_to_audit_files(folder: Path) -> set[str]:
    """Keys that an audit file may have, from what it says of one that it may not."""
    path = folder / "audit_wrong.toml"
    path.write_text("nonsense = 1\n")
    with pytest.raises(OptionError, match="unknown key 'nonsense'; known are ") as error:
        read_audit_file(path)
    return set(str(error.value).rpartition("known are ")[2].split(", "))


def test_an_audit_file_says_options_by_the_names_that_tests_say_them_by(tmp_path: Path) -> None:
    assert known_to_audit_files(tmp_path) - OF_THE_SUBJECT <= set(IN_TESTS)
    assert set(IN_TOML) == set(IN_TESTS)


def test_what_an_audit_file_takes_for_an_option_a_test_takes_too(tmp_path: Path) -> None:
    path = tmp_path / "audit_it.toml"
    for name in sorted(known_to_audit_files(tmp_path) - OF_THE_SUBJECT):
        path.write_text(f'model = "zoo:mnist-vae"\ndata = "zoo:mnist-vae"\n{name} = {IN_TOML[name]}\n')
        file = read_audit_file(path)
        options = {**file.options, **({} if file.confidence is None else {"confidence": file.confidence})}
        assert set(options) == {name}
        assert OPTIONS[name].fault(options[name]) == ""


def test_the_confidence_of_an_audit_file_goes_before_that_of_the_session(project: Any) -> None:
    text = 'model = "zoo:mnist-vae"\ndata = "zoo:mnist-vae"\npairs = 2\nthresholds.hinge = { at_least = 0.3 }\n'
    path = project.pytester.path / "audit_it.toml"
    path.write_text(text)
    assert project.run("--collect-only", "--vaeaudit-confidence=0.9").ret == pytest.ExitCode.OK
    assert project.run("--collect-only", "--vaeaudit-confidence=0.999").ret == pytest.ExitCode.INTERRUPTED
    path.write_text("confidence = 0.999\n" + text)
    result = project.run("--collect-only", "--vaeaudit-confidence=0.9")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["audit_it.toml: hinge: 8 pairs can never pass a bar at 0.999 confidence; *"])
