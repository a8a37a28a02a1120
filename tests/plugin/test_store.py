"""Measurements are kept, verdicts never: what is measured anew and what is not."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_vaeaudit import store as store_module
from pytest_vaeaudit.errors import OutOfTimeError
from pytest_vaeaudit.store import Store
from vaeaudit import AuditReport

MakeReport = Callable[..., AuditReport]
BAR = """
def test_bar(vae_audit, model):
    vae_audit(model, None).require(hinge=at_least({bar}))
"""


def cached(result: pytest.RunResult) -> bool:
    """Whether the terminal section calls the figure cached."""
    return any(line.startswith("  test_ci.py::test_bar, ") and ", cached" in line for line in result.outlines)


def homes(project: Any) -> list[Path]:
    """What the cache keeps, one folder a model, settings and seed."""
    return [path for path in (project.pytester.path / ".pytest_cache/d/vaeaudit").iterdir() if path.is_dir()]


# in sessions


def test_a_second_run_measures_nothing_and_says_so(project: Any) -> None:
    project.write(BAR.format(bar=0.3))
    first, second = project.run(), project.run()
    assert len(project.measured) == 1
    assert not cached(first)
    assert cached(second)
    figure = next(line for line in first.outlines if line.startswith("hinge"))
    assert figure in second.outlines


def test_a_failure_says_whether_its_figure_was_measured_now(project: Any) -> None:
    project.write(BAR.format(bar=0.9))
    project.run().stdout.fnmatch_lines(["E*stand-in: measured now, preset standard, seed *"])
    project.run().stdout.fnmatch_lines(["E*stand-in: measured earlier (cached), preset standard, seed *"])


def test_another_bar_measures_nothing_and_is_judged_anew(project: Any) -> None:
    project.write(BAR.format(bar=0.3))
    project.run().assert_outcomes(passed=1)
    project.write(BAR.format(bar="0.9000"))
    project.run("--vaeaudit-confidence=0.9").assert_outcomes(failed=1)
    assert len(project.measured) == 1


@pytest.mark.parametrize(
    ("options", "model"),
    [
        ((), {"weights": "w2"}),
        ((), {"hinge": 0.6}),
        (("--vaeaudit-seed=7",), {}),
        (("--vaeaudit-preset=quick",), {}),
        (("--vaeaudit-pairs=40",), {}),
        (("--vaeaudit-device=cuda",), {}),
    ],
    ids=str,
)
def test_another_model_setting_seed_or_device_is_measured(project: Any, options: Any, model: Any) -> None:
    project.write(BAR.format(bar=0.3))
    project.run().assert_outcomes(passed=1)
    project.set_model(**model)
    result = project.run(*options)
    result.assert_outcomes(passed=1)
    assert len(project.measured) == 2
    assert not cached(result)


def test_a_fingerprint_or_environment_of_a_hook_counts_too(project: Any) -> None:
    project.write(BAR.format(bar=0.3))
    conftest = project.pytester.path / "conftest.py"
    plain = conftest.read_text()
    project.run("--vaeaudit-seed=1").assert_outcomes(passed=1)
    for more in (
        "def pytest_vaeaudit_fingerprint(config, model): return 'mine'",
        "def pytest_vaeaudit_environment(config): return {'quantiser': '4'}",
    ):
        before = len(project.measured)
        conftest.write_text(f"{plain}\n{more}\n")
        project.run("--vaeaudit-seed=1").assert_outcomes(passed=1)
        project.run("--vaeaudit-seed=1").assert_outcomes(passed=1)
        assert len(project.measured) == before + 1


@pytest.mark.parametrize("option", ["--vaeaudit-cache=off", "-pno:cacheprovider"])
def test_without_a_cache_every_session_measures(project: Any, option: str) -> None:
    project.write(BAR.format(bar=0.3))
    project.run().assert_outcomes(passed=1)
    for count in (2, 3):
        assert not cached(project.run(option))
        assert len(project.measured) == count
    assert cached(project.run())


def test_refresh_measures_anew_and_keeps_what_it_measured(project: Any) -> None:
    project.write(BAR.format(bar=0.3) + BAR.replace("test_bar", "test_other").format(bar=0.4))
    project.run().assert_outcomes(passed=2)
    assert not cached(project.run("--vaeaudit-cache=refresh"))
    assert len(project.measured) == 2, "once for the whole session, not once a test"
    assert cached(project.run())


def test_pytests_own_option_clears_the_cache(project: Any) -> None:
    project.write(BAR.format(bar=0.3))
    project.run().assert_outcomes(passed=1)
    assert not cached(project.run("--cache-clear"))
    assert len(project.measured) == 2


@pytest.mark.parametrize("name", ["report.json", "arrays.npz"])
@pytest.mark.parametrize("content", [b"", b"half"], ids=["empty", "cut"])
def test_a_truncated_file_is_measured_anew_and_mended(project: Any, name: str, content: bytes) -> None:
    project.write(BAR.format(bar=0.3))
    project.run().assert_outcomes(passed=1)
    (path,) = (home / "50-pairs" / name for home in homes(project))
    path.write_bytes(path.read_bytes()[:1000] if content else b"")
    result = project.run()
    result.assert_outcomes(passed=1)
    assert len(project.measured) == 2
    assert not cached(result)
    assert cached(project.run())


def test_a_report_of_another_version_is_measured_anew(project: Any) -> None:
    project.write(BAR.format(bar=0.3))
    project.run().assert_outcomes(passed=1)
    (path,) = (home / "50-pairs/report.json" for home in homes(project))
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 1}))
    project.run().assert_outcomes(passed=1)
    assert len(project.measured) == 2


def test_tests_of_one_file_share_a_measurement(project: Any) -> None:
    project.write(BAR.format(bar=0.3) + BAR.replace("test_bar", "test_other").format(bar=0.4))
    project.run("-pno:cacheprovider").assert_outcomes(passed=2)
    assert len(project.measured) == 1


def test_files_draw_pairs_of_their_own(project: Any) -> None:
    project.write(BAR.format(bar=0.3))
    project.write(BAR.format(bar=0.3), name="test_other")
    project.run().assert_outcomes(passed=2)
    assert len({seed for _, seed, *_ in project.measured}) == 2


def test_a_failing_measurement_leaves_nothing_behind(project: Any) -> None:
    project.write(BAR.format(bar=0.3))
    conftest = project.pytester.path / "conftest.py"
    plain = conftest.read_text()
    conftest.write_text(plain + "\nimport stand_in\ndef broken(**_): raise MemoryError\nstand_in.SYNTHETIC = broken\n")
    project.run().assert_outcomes(failed=1)
    conftest.write_text(plain)
    result = project.run()
    result.assert_outcomes(passed=1)
    assert not cached(result)


def test_a_cache_that_cannot_be_written_costs_time_but_no_verdict(project: Any) -> None:
    (project.pytester.path / ".pytest_cache").write_text("a file where the folder should be")
    project.write(BAR.format(bar=0.3))
    result = project.run()
    result.assert_outcomes(passed=1, warnings=None)
    assert "cannot be kept" in result.stdout.str()


# the store by itself


def keep(store: Store, report: AuditReport, identity: Any = None, pairs: int = 50, log: list[int] | None = None) -> Any:
    def measure(rows: Path | None) -> AuditReport:
        if log is not None:
            log.append(pairs)
        return report

    return store.measured(identity or {"name": "w"}, pairs, measure, math.inf)


def test_what_is_kept_is_the_same_report(tmp_path: Path, make_report: MakeReport) -> None:
    report = make_report()
    keep(Store(tmp_path), report)
    kept = keep(Store(tmp_path), make_report(seed=9))
    assert kept.cached
    assert kept.report == report


def test_the_order_of_the_identity_does_not_matter_but_its_content_does(
    tmp_path: Path, make_report: MakeReport
) -> None:
    log: list[int] = []
    store = Store(tmp_path)
    for identity in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3}, {"a": 1, "b": 3, "c": None}):
        keep(Store(tmp_path), make_report(), identity, log=log)
        keep(store, make_report(), identity, log=log)
    assert len(log) == 3


def test_every_number_of_pairs_is_kept_by_itself(tmp_path: Path, make_report: MakeReport) -> None:
    log: list[int] = []
    for pairs in (50, 100, 50, 100):
        keep(Store(tmp_path), make_report(pairs=pairs), pairs=pairs, log=log)
    assert log == [50, 100]


def test_refreshing_lets_go_of_old_measurements_once_and_not_of_new_ones(
    tmp_path: Path, make_report: MakeReport
) -> None:
    log: list[int] = []
    for pairs in (50, 100, 200):
        keep(Store(tmp_path), make_report(pairs=pairs), pairs=pairs)
    refreshing = Store(tmp_path, refresh=True)
    for pairs in (50, 100):
        assert not keep(refreshing, make_report(pairs=pairs), pairs=pairs, log=log).cached
    assert log == [50, 100]
    assert [keep(Store(tmp_path), make_report(pairs=pairs), pairs=pairs).cached for pairs in (50, 100, 200)] == [
        True,
        True,
        False,
    ]


def test_a_measurement_that_was_cut_short_finds_its_rows_again(tmp_path: Path, make_report: MakeReport) -> None:
    seen = []

    def cut(rows: Path | None) -> AuditReport:
        assert rows is not None
        rows.mkdir(parents=True)
        (rows / "row").write_text("finished")
        raise KeyboardInterrupt

    def resumed(rows: Path | None) -> AuditReport:
        assert rows is not None
        seen.extend(path.name for path in rows.iterdir())
        return make_report()

    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path).measured({"w": 1}, 50, cut, math.inf)
    assert not Store(tmp_path).measured({"w": 1}, 50, resumed, math.inf).cached
    assert seen == ["row"]


def test_without_a_folder_reports_are_kept_for_the_session_only(make_report: MakeReport) -> None:
    log: list[int] = []
    store = Store(None)
    assert not keep(store, make_report(), log=log).cached
    assert keep(store, make_report(), log=log).cached
    assert keep(Store(None), make_report(), log=log).folder is None
    assert len(log) == 2


def test_pruning_keeps_what_was_used_last(tmp_path: Path, make_report: MakeReport, monkeypatch: Any) -> None:
    monkeypatch.setattr(store_module, "KEPT", 2)
    for age, name in enumerate(("new", "middle", "old")):
        keep(Store(tmp_path), make_report(), {"name": name})
        newest = max((path for path in tmp_path.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (1e9 - age, 1e9 - age))
    keep(Store(tmp_path), make_report(), {"name": "old"})  # used again, so no longer the oldest
    (tmp_path / "stray").write_text("not the store's")
    Store(tmp_path).prune()
    kept = {name for name in ("new", "middle", "old") if keep(Store(tmp_path), make_report(), {"name": name}).cached}
    assert kept == {"new", "old"}
    assert (tmp_path / "stray").exists()


def test_pruning_without_a_folder_is_nothing(tmp_path: Path) -> None:
    Store(None).prune()
    Store(tmp_path / "absent").prune()
    assert list(tmp_path.iterdir()) == []


def test_who_waits_for_another_gives_up_at_the_deadline(tmp_path: Path, make_report: MakeReport) -> None:
    held, done = threading.Event(), threading.Event()

    def slow(rows: Path | None) -> AuditReport:
        held.set()
        assert done.wait(30)
        return make_report()

    other = threading.Thread(target=lambda: Store(tmp_path).measured({"w": 1}, 50, slow, math.inf))
    other.start()
    assert held.wait(30)
    with pytest.raises(OutOfTimeError):
        Store(tmp_path).measured({"w": 1}, 50, slow, time.monotonic() + 0.05)
    done.set()
    other.join()


def test_two_processes_that_measure_the_same_at_once_measure_once(tmp_path: Path) -> None:
    script = f"""
        import math, sys, time
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from stand_in import SYNTHETIC
        from pytest_vaeaudit.store import Store

        folder = Path({str(tmp_path)!r})

        def measure(rows):
            with (folder / "measured.log").open("a") as log:
                log.write("once\\n")
            time.sleep(0.5)
            return SYNTHETIC()

        (folder / f"ready{{sys.argv[1]}}").touch()
        while not all((folder / f"ready{{n}}").exists() for n in (1, 2)):
            time.sleep(0.01)
        print(Store(folder / "cache").measured({{"w": 1}}, 50, measure, math.inf).cached)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    both = [subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True) for n in (1, 2)]
    said = sorted(process.communicate(timeout=100)[0].strip() for process in both)
    assert said == ["False", "True"]
    assert (tmp_path / "measured.log").read_text() == "once\n"
