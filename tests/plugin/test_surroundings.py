"""What the plugin is beside other plugins and tools: reports, annotations, reruns, the terminal, types, and silence."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any, NoReturn

import pytest
from markdown_it import MarkdownIt

import pytest_vaeaudit

HEAVY = ("torch", "vaeaudit", "numpy", "scipy", "matplotlib", "filelock")
SUITE = """
def test_sturdy(vae_audit, robust):
    vae_audit(robust, None).require(hinge=at_least(0.3))

def test_fragile(vae_audit, fragile):
    vae_audit(fragile, None).require(hinge=at_least(0.3))

def test_close(vae_audit, robust):
    vae_audit(robust, None).require(hinge=at_least(0.46))

def test_doubtful(vae_audit):
    vae_audit(Model(hinge=0.9, findings=(MASKED,)), None).require(hinge=at_least(0.3))

def test_plain():
    pass
"""
ONE_FAILS = """
def test_bar(vae_audit, fragile):
    vae_audit(fragile, None).require(hinge=at_least(0.3))
"""


def section(result: pytest.RunResult) -> list[str]:
    """The lines of the terminal section; none if there is no such section."""
    starts = [i for i, line in enumerate(result.outlines) if re.fullmatch("=+ vaeaudit =+", line)]
    if not starts:
        return []
    rest = result.outlines[starts[0] + 1 :]
    return rest[: next(i for i, line in enumerate(rest) if line.startswith("==="))]


def refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not JSON")


def strict(text: str) -> Any:
    """JSON without NaN and infinities."""
    return json.loads(text, parse_constant=refuse)


# JUnit


def test_every_verdict_is_a_junit_property_of_finite_json(project: Any) -> None:
    project.write(SUITE + 'def test_moved(vae_audit, robust): vae_audit(robust, None).require_no_regression("auddc")')
    project.run("--junitxml=junit.xml", "-W", "ignore", "-pno:cacheprovider")
    cases = {case.get("name"): case for case in ElementTree.parse("junit.xml").iter("testcase")}
    found = {name: [(p.get("name"), p.get("value")) for p in case.iter("property")] for name, case in cases.items()}
    assert found["test_plain"] == []
    ((name, text),) = found["test_fragile"]
    verdict = strict(text)
    assert name == "vaeaudit.hinge"
    assert (verdict["outcome"], verdict["bar"], verdict["n"]) == ("FAIL", 0.3, 50)
    assert verdict["low"] < verdict["value"] < verdict["high"] < 0.3
    doubtful = strict(found["test_doubtful"][0][1])
    assert (doubtful["outcome"], doubtful["margin"]) == ("INVALID", None)
    assert [name for name, _ in found["test_moved"]] == ["vaeaudit.auddc"]


def test_scores_with_a_dot_and_several_audits_keep_their_names(project: Any) -> None:
    project.write("""
        def test_bar(vae_audit, robust, fragile):
            vae_audit(robust, None).require(**{"decoder.trace": at_most(1e6), "hinge": at_least(0.3)})
            vae_audit(fragile, None).require(hinge=at_least(0.1))
    """)
    project.run("--junitxml=junit.xml").assert_outcomes(passed=1)
    names = [each.get("name") for each in ElementTree.parse("junit.xml").iter("property")]
    assert names == ["vaeaudit.decoder.trace", "vaeaudit.hinge", "vaeaudit.hinge"]


# pytest-html


def test_the_html_page_of_the_session_shows_figures_and_links_to_the_report(project: Any) -> None:
    project.write(ONE_FAILS + "def test_plain(): pass")
    project.run("--html=session.html", "--self-contained-html", "--vaeaudit-report=out").assert_outcomes(
        failed=1, passed=1
    )
    page = (project.pytester.path / "session.html").read_text()
    blob = re.search(r'data-jsonblob="([^"]*)"', page)
    assert blob is not None
    tests = json.loads(html.unescape(blob[1]))["tests"]
    extras = {test: [e for row in rows for e in row["extras"]] for test, rows in tests.items()}
    assert extras["test_ci.py::test_plain"] == []
    figure, link = extras["test_ci.py::test_bar"]
    assert figure["name"] == "vaeaudit"
    assert link["name"] == "vaeaudit report"
    assert (project.pytester.path / link["content"]).is_file()


# GitHub


def test_annotations_point_at_the_line_of_the_test_and_carry_the_figure(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    monkeypatch.delenv("PYTEST_RUN_PATH", raising=False)
    project.write(ONE_FAILS)
    source = (project.pytester.path / "test_ci.py").read_text().splitlines()
    line = 1 + next(i for i, text in enumerate(source) if "at_least(0.3)" in text)
    result = project.run()
    (annotation,) = (text for text in result.errlines if text.startswith("::error"))
    assert annotation.startswith(f"::error file=test_ci.py,line={line}::test_bar%0A%0AAssertionError: hinge 0.")
    assert "FAIL (95 %25, 50 pairs)" in annotation


# reruns


@pytest.mark.parametrize("way", ["option", "marker", "ini", "forced"])
def test_reruns_are_called_out_and_repeat_the_figure(project: Any, way: str) -> None:
    marker = "@pytest.mark.flaky(reruns=2)" if way == "marker" else ""
    project.write(f"{marker}{ONE_FAILS}")
    if way == "ini":
        project.pytester.makeini("[pytest]\nreruns = 2")
    options = {"option": ["--reruns=2"], "forced": ["--force-reruns=2"]}.get(way, [])
    result = project.run("-pno:cacheprovider", "--junitxml=junit.xml", "--vaeaudit-report=out", "-rR", *options)
    outcomes = result.parseoutcomes()
    assert (outcomes["failed"], outcomes["rerun"], outcomes["warnings"]) == (1, 2, 1)
    assert "a rerun repeats the same figure" in " ".join(result.stdout.str().split())
    assert len(project.measured) == 1
    assert len(project.json("out/summary.json")["verdicts"]) == 1
    figures = {strict(p.get("value", ""))["value"] for p in ElementTree.parse("junit.xml").iter("property")}
    assert len(figures) == 1
    assert len([line for line in section(result) if line.startswith("hinge")]) == 1


def test_another_seed_cannot_be_had_by_rerunning(project: Any) -> None:
    project.write(ONE_FAILS)
    seeds = {project.run(f"--vaeaudit-cache={cache}").ret and project.measured[-1][1] for cache in ("off", "refresh")}
    assert len(project.measured) == 2
    assert len(seeds) == 1


def test_reruns_of_tests_that_audit_nothing_are_nobodys_business(project: Any) -> None:
    project.write("@pytest.mark.flaky(reruns=2)\ndef test_plain(): pass")
    project.run("-W", "error").assert_outcomes(passed=1)


def test_a_session_without_the_plugin_for_reruns_is_not_warned(project: Any) -> None:
    project.write(ONE_FAILS.replace("0.3", "0.1"))
    project.run("-pno:rerunfailures", "-W", "error").assert_outcomes(passed=1)


# the folder of reports


def test_the_folder_holds_each_audit_a_summary_and_a_page(project: Any) -> None:
    project.write(SUITE)
    result = project.run("--vaeaudit-report=ci/out")
    result.assert_outcomes(passed=3, failed=2)
    folder = project.pytester.path / "ci/out"
    audits = [path for path in folder.iterdir() if path.is_dir()]
    assert len(audits) == 4
    for audit in audits:
        assert sorted(path.name for path in audit.iterdir()) == ["arrays.npz", "report.html", "report.json"]
    assert {path.name for path in folder.iterdir()} - {path.name for path in audits} == {"summary.json", "summary.md"}
    summary = strict((folder / "summary.json").read_text())
    assert [(v["test"], v["outcome"]) for v in summary["verdicts"]] == [
        ("test_ci.py::test_fragile", "FAIL"),
        ("test_ci.py::test_doubtful", "INVALID"),
        ("test_ci.py::test_close", "PASS"),
        ("test_ci.py::test_sturdy", "PASS"),
    ]
    assert {Path(v["report"]) for v in summary["verdicts"]} == set(audits)
    assert f"Reports: {folder / 'summary.md'}" in section(result)


def test_the_step_summary_is_added_to_where_it_is_asked_for_or_where_github_says(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write(ONE_FAILS)
    theirs = project.pytester.path / "theirs.md"
    theirs.write_text("before\n")
    project.run("--vaeaudit-cache=off", "--vaeaudit-summary=mine.md").assert_outcomes(failed=1)
    assert theirs.read_text() == "before\n"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(theirs))
    project.run("--vaeaudit-cache=off").assert_outcomes(failed=1)
    mine = (project.pytester.path / "mine.md").read_text()
    assert mine.startswith("## Robustness: 1 FAIL\n")
    assert theirs.read_text() == "before\n" + mine


def test_an_idle_session_leaves_the_step_summary_alone(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.pytester.path / "theirs.md"))
    project.write("def test_plain(): pass")
    project.run().assert_outcomes(passed=1)
    assert not (project.pytester.path / "theirs.md").exists()


def test_an_idle_session_makes_no_folder(project: Any) -> None:
    project.write("def test_plain(): pass")
    project.run("--vaeaudit-report=out").assert_outcomes(passed=1)
    assert not (project.pytester.path / "out").exists()


def test_two_audits_of_a_test_do_not_overwrite_each_other(project: Any) -> None:
    project.write("""
        def test_bar(vae_audit, robust, fragile):
            for model, bar in ((robust, 0.3), (fragile, 0.1)):
                vae_audit(model, None).require(hinge=at_least(bar))
    """)
    project.run("--vaeaudit-report=out").assert_outcomes(passed=1)
    hinges = [json.loads(p.read_text())["hinge"]["value"] for p in project.pytester.path.glob("out/*/report.json")]
    assert sorted(round(hinge, 1) for hinge in hinges) == [0.2, 0.5]


NAMES = ["a|b", "<b>x</b>", "`tick`", "a``b", "[link](http://x)", "*bold* __x__", "&amp;", "ä", "-"]


def rendered(page: str) -> list[list[str]]:
    """The text of every cell of the table in a markdown page, header first."""
    body = MarkdownIt("commonmark").enable("table").render(page)
    rows = re.findall(r"<tr>(.*?)</tr>", body, flags=re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in rows]


def test_the_markdown_page_is_a_table_whose_reports_exist_and_whose_names_are_no_markup(project: Any) -> None:
    project.write(f"""
        @pytest.mark.parametrize("case", {NAMES!r})
        def test_bar(vae_audit, case):
            model = Model(hinge=0.5, spread=0.05, findings=(MASKED,) if case == "*bold* __x__" else ())
            vae_audit(model, None).require(hinge=at_least(0.3))
    """)
    project.run("--vaeaudit-report=out").assert_outcomes(passed=len(NAMES) - 1, failed=1)
    page = (project.pytester.path / "out/summary.md").read_text()
    assert page.startswith(f"## Robustness: 1 INVALID, {len(NAMES) - 1} PASS\n")
    header, *rows = rendered(page)
    assert header == ["verdict", "figure", "margin", "test", "report"]
    assert [len(row) for row in rows] == [5] * len(NAMES)
    names = {html.unescape(re.sub("^<code>(.*)</code>$", r"\1", row[3])) for row in rows}
    ids = {v["test"] for v in project.json("out/summary.json")["verdicts"]}
    assert names == ids
    assert len(ids) == len(NAMES)
    reports = {re.sub("^<code>(.*)</code>$", r"\1", row[4]) for row in rows}
    assert all((project.pytester.path / "out" / report).is_file() for report in reports)
    assert len(reports) == len(NAMES)
    assert rows[0][0] == "<strong>INVALID</strong>"
    assert "its gradients mislead the attack" in rows[0][1]
    assert "- invalid: gradient_masked (`test_ci.py::test_bar[*bold* __x__]`)" in page


def test_cached_figures_are_marked_on_the_page(project: Any) -> None:
    project.write(ONE_FAILS)
    for cached in (False, True):
        project.run("--vaeaudit-report=out").assert_outcomes(failed=1)
        assert ("(cached)" in (project.pytester.path / "out/summary.md").read_text()) == cached


# the terminal


def test_the_worst_margin_comes_first(project: Any) -> None:
    project.write(SUITE)
    lines = section(project.run("-pno:cacheprovider"))
    assert [line.split("::")[1].split(",")[0] for line in lines if "::" in line] == [
        "test_fragile",
        "test_doubtful",
        "test_close",
        "test_sturdy",
    ]
    assert re.fullmatch(r"hinge 0\.\d+ \[0\.\d+, 0\.\d+\] < 0\.30* FAIL \(95 %, 50 pairs\)", lines[0])
    assert re.fullmatch(r"  test_ci\.py::test_fragile, margin -\d+%", lines[1])
    assert re.fullmatch(r"  test_ci\.py::test_sturdy, margin \+\d+%(, cached)?", lines[-1])


def test_quieter_sessions_say_less(project: Any) -> None:
    project.write(SUITE)
    assert section(project.run("-q", "-pno:cacheprovider"))
    result = project.run("-qq", "-pno:cacheprovider")
    assert not any("vaeaudit ==" in line for line in result.outlines)


def test_passed_bars_beyond_ten_are_counted_unless_v_is_given(project: Any) -> None:
    project.write("""
        @pytest.mark.parametrize("bar", [0.01 * n for n in range(13)])
        def test_bar(vae_audit, robust, bar):
            vae_audit(robust, None).require(hinge=at_least(bar))

        def test_fragile(vae_audit, fragile):
            vae_audit(fragile, None).require(hinge=at_least(0.3))
    """)
    brief, long = section(project.run("-pno:cacheprovider")), section(project.run("-v", "-pno:cacheprovider"))
    assert sum(line.startswith("hinge") for line in brief) == 11
    assert "3 more passed by wider margins (-v shows them)" in brief
    assert sum(line.startswith("hinge") for line in long) == 14
    assert not any("more passed" in line for line in long)


def test_no_line_of_the_section_is_wider_than_80_columns(project: Any) -> None:
    project.write(SUITE + "def test_moved(vae_audit, robust): vae_audit(robust, None).require_no_regression()")
    assert max(map(len, section(project.run("-W", "ignore", "-pno:cacheprovider")))) <= 80


def test_nothing_audited_is_no_section(project: Any) -> None:
    project.write("def test_plain(): pass\n@pytest.mark.skip\ndef test_skipped(vae_audit, robust): pass")
    assert section(project.run()) == []


# idle


def apart(folder: Path, *arguments: str, plugins: tuple[str, ...] = ("-p", "pytest_vaeaudit.plugin")) -> Any:
    """A session in a process of its own with no plugin but those named; its output, and the heavy modules it loaded."""
    code = (
        "import sys, pytest; status = int(pytest.main(sys.argv[1:])); "
        f"print('loaded:', *(name for name in {HEAVY!r} if name in sys.modules)); sys.exit(status)"
    )
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "80"}
    environment.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, "-W", "error", "-c", code, *plugins, "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 5), done.stdout + done.stderr
    *output, loaded = done.stdout.splitlines()
    return "\n".join(output), done.stderr, loaded.removeprefix("loaded:").split()


@pytest.fixture
def idle(tmp_path: Path) -> Path:
    """A project that has nothing to do with autoencoders."""
    (tmp_path / "test_plain.py").write_text("def test_plain(): pass\n")
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (tmp_path / "settings.toml").write_text("nonsense")
    return tmp_path


def test_an_idle_session_says_not_a_word_more(idle: Path) -> None:
    options = ("-W", "error", "-ra", "--no-header", "--strict-config", "--strict-markers")
    (bare, *_), (with_plugin, errors, _) = apart(idle, *options, plugins=()), apart(idle, *options)
    assert re.sub(r"in [\d.]+s", "", with_plugin) == re.sub(r"in [\d.]+s", "", bare)
    assert errors == ""


@pytest.mark.parametrize(
    "arguments", [("-W", "error"), ("--help",), ("--markers",), ("--fixtures",), ("--co",)], ids=str
)
def test_an_idle_session_loads_nothing_heavy(idle: Path, arguments: tuple[str, ...]) -> None:
    assert apart(idle, *arguments)[2] == []


def test_loading_the_plugin_and_its_types_imports_nothing_heavy() -> None:
    code = (
        "import sys, pytest_vaeaudit.plugin; from pytest_vaeaudit import Auditor, Plan, VaeAudit, VaeAuditWarning; "
        f"print(*(name for name in {HEAVY!r} if name in sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_help_and_markers_say_what_there_is(idle: Path) -> None:
    text = apart(idle, "--help")[0]
    assert "robustness of autoencoders (vaeaudit):" in text
    for name in ("preset", "device", "report", "baseline", "baseline-ref", "update", "cache", "skip", "only"):
        assert f"--vaeaudit-{name}" in text
    assert "@pytest.mark.vaeaudit(hinge=at_least(0.3), ...," in apart(idle, "--markers")[0]


def test_the_fixture_is_listed_with_how_to_call_it(idle: Path) -> None:
    text = apart(idle, "--fixtures")[0]
    assert re.search(r"^vae_audit .*plugin\.py", text, flags=re.MULTILINE)
    assert 'vae_audit(model, images, preset="quick").require(hinge=at_least(0.3))' in text


# types

CONFTEST = """
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pytest_vaeaudit import AuditedReport, Auditor, Plan, VaeAudit, VaeAuditWarning
from vaeaudit import AuditReport, at_least

def pytest_vaeaudit_auditor(config: pytest.Config) -> Auditor | None:
    return None

def pytest_vaeaudit_report(config: pytest.Config, item: pytest.Item, report: AuditReport, cached: bool) -> None:
    print(report.hinge.value if cached else item.nodeid)

def first_pairs(plan: Plan) -> int:
    return plan.pairs

@pytest.fixture
def audited(vae_audit: VaeAudit) -> AuditedReport:
    with pytest.warns(VaeAuditWarning):
        report = vae_audit(object(), None, preset="quick")
    report.require(confidence=0.9, hinge=at_least(0.3))
    report.require_no_regression("hinge")
    found: float = report.hinge.value
    return report
"""
MYPY = """
[mypy]
strict = true
[mypy-torch.*,torchvision.*,matplotlib.*,scipy.*,numpy.*,PIL.*,jinja2.*,rich.*,safetensors.*,filelock.*,pytest_html.*]
follow_imports = skip
[mypy-vaeaudit.*,pytest_vaeaudit.*]
follow_imports = silent
"""


def test_a_typed_conftest_is_checked_and_a_wrong_type_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = pytest.importorskip("mypy.api")
    home = Path(pytest_vaeaudit.__file__).parents[1]
    if home.name != "site-packages":  # an editable install, which mypy does not find by itself
        monkeypatch.setenv("MYPYPATH", str(home))
    files = {"conftest.py": CONFTEST, "wrong.py": CONFTEST.replace("found: float", "found: str"), "mypy.ini": MYPY}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    options = ["--config-file", str(tmp_path / "mypy.ini"), "--cache-dir", str(tmp_path / "cache")]
    output, errors, status = api.run([*options, str(tmp_path / "conftest.py"), str(tmp_path / "wrong.py")])
    assert (errors, status) == ("", 1)
    (fault,) = (line for line in output.splitlines() if ": error:" in line)
    assert "wrong.py" in fault
    assert 'expression has type "float", variable has type "str"' in fault


def test_the_package_says_that_it_is_typed_and_exports_what_it_lists() -> None:
    assert (Path(pytest_vaeaudit.__file__).parent / "py.typed").is_file()
    for name in pytest_vaeaudit.__all__:
        assert getattr(pytest_vaeaudit, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'pytest_vaeaudit' has no attribute 'Audit'"):
        _ = pytest_vaeaudit.Audit
