"""Hooks of a conftest.py: what each is asked or told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import HIGH, OPEN, a_test, counts

HOOKS = """
import json
from pathlib import Path

def note(config, **content):
    with (config.rootpath / "hooks.jsonl").open("a") as file:
        file.write(json.dumps(content, allow_nan=False) + "\\n")

def pytest_vaeaudit_verdict(config, item, verdict):
    note(config, hook="verdict", test=item.nodeid, verdict=verdict)

def pytest_vaeaudit_report(config, item, report, cached):
    note(config, hook="report", test=item.nodeid, pairs=len(report.curves.hinge), cached=cached)

def pytest_vaeaudit_device(config, item):
    note(config, hook="device", test=item.nodeid)
    return "meta:" + item.name

def pytest_vaeaudit_fingerprint(config, model):
    return "known by name" if getattr(model, "weights", "") == "w2" else None

def pytest_vaeaudit_environment(config):
    return {"accelerator": (config.rootpath / "accelerator.txt").read_text()}
"""


def hooked(project: Any, name: str) -> list[Any]:
    lines = (project.pytester.path / "hooks.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["hook"] == name]


@pytest.fixture
def with_hooks(project: Any) -> Any:
    """The project with a conftest.py that implements every hook."""
    project.add_to_conftest(HOOKS)
    (project.pytester.path / "accelerator.txt").write_text("one")
    return project


def test_the_verdict_hook_gets_every_verdict_as_builtin_types(with_hooks: Any) -> None:
    with_hooks.write(a_test("vae_audit(fragile, None).require(auddc=at_least(0.01), hinge=at_least(0.3))"))
    with_hooks.run().assert_outcomes(failed=1)
    verdicts = [entry["verdict"] for entry in hooked(with_hooks, "verdict")]
    assert [(v["score"], v["outcome"], v["kind"], v["n"]) for v in verdicts] == [
        ("auddc", "PASS", "bar", 50),
        ("hinge", "FAIL", "bar", 50),
    ]
    assert verdicts[1]["test"] == "test_ci.py::test_it"
    assert (verdicts[1]["bar"], verdicts[1]["bar_kind"], verdicts[1]["looks"]) == (0.3, "at_least", 3)
    assert verdicts[1]["low"] < verdicts[1]["value"] < verdicts[1]["high"] < 0.3
    assert verdicts[1]["margin"] == pytest.approx(verdicts[1]["low"] / 0.3 - 1)


def test_the_report_hook_gets_every_report_and_whether_it_was_measured_earlier(with_hooks: Any) -> None:
    with_hooks.write(
        a_test(f"vae_audit(Model(hinges={OPEN + HIGH * 3!r}), None, pairs=24).require(hinge=at_least(0.3))")
    )
    with_hooks.run()
    with_hooks.run()
    found = [(entry["pairs"], entry["cached"]) for entry in hooked(with_hooks, "report")]
    assert found == [(24, False), (48, False), (24, True), (48, True)]


def test_the_device_hook_is_asked_only_where_nobody_says(with_hooks: Any) -> None:
    with_hooks.write("""
        def test_asks(vae_audit, robust):
            assert vae_audit(robust, None).provenance.environment["device_type"] == "meta:test_asks"

        def test_says(vae_audit, robust):
            assert vae_audit(robust, None, device="cpu").provenance.environment["device_type"] == "cpu"
    """)
    with_hooks.run().assert_outcomes(passed=2)
    assert [entry["test"] for entry in hooked(with_hooks, "device")] == ["test_ci.py::test_asks"]
    with_hooks.run("--vaeaudit-device=cpu", "-k", "says").assert_outcomes(passed=1, deselected=1)
    assert len(hooked(with_hooks, "device")) == 1


def test_the_fingerprint_hook_stands_for_the_weights_where_it_answers(with_hooks: Any) -> None:
    with_hooks.write("""
        def test_known(vae_audit):
            vae_audit(Model(weights="w2"), None)
            vae_audit(Model(weights="w2", device="elsewhere"), None)

        def test_unknown(vae_audit, robust):
            vae_audit(robust, None)
    """)
    with_hooks.run().assert_outcomes(passed=2)
    seeds = {measured[0]: measured[1] for measured in with_hooks.measured}
    assert seeds["w1"] != seeds["w2"]
    (with_hooks.pytester.path / "measured.log").unlink()
    (with_hooks.pytester.path / "conftest.py").write_text(
        (with_hooks.pytester.path / "conftest.py").read_text().replace("known by name", "known by another name")
    )
    with_hooks.run("-k", "test_known")
    assert {measured[1] for measured in with_hooks.measured}.isdisjoint(seeds.values())


def test_another_fingerprint_of_the_hook_measures_anew_whatever_the_seed(with_hooks: Any) -> None:
    with_hooks.write(a_test("vae_audit(fragile, None, seed=5)"))
    with_hooks.run()
    conftest = with_hooks.pytester.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace("known by name", "known by another name"))
    with_hooks.run()
    assert with_hooks.measured == [["w2", "5", "50", "standard"]] * 2


def test_an_extension_of_a_figure_of_an_earlier_run_is_no_cached_one(with_hooks: Any) -> None:
    with_hooks.write(
        a_test(f"vae_audit(Model(hinges={OPEN + HIGH * 3!r}), None, pairs=24).require(hinge=at_least(0.3))")
    )
    with_hooks.run("--vaeaudit-max-pairs=24")
    with_hooks.run()
    found = [(entry["pairs"], entry["cached"]) for entry in hooked(with_hooks, "report")]
    assert found == [(24, False), (24, True), (48, False)]


def test_another_environment_of_the_hook_measures_anew(with_hooks: Any) -> None:
    with_hooks.write(a_test("vae_audit(robust, None)"))
    with_hooks.run()
    with_hooks.run()
    assert counts(with_hooks) == [50]
    (with_hooks.pytester.path / "accelerator.txt").write_text("two")
    with_hooks.run()
    assert counts(with_hooks) == [50, 50]


def test_a_fingerprint_that_a_hook_gives_makes_them_known(project: Any) -> None:
    conftest = project.pytester.path / "conftest.py"
    hook = "\ndef pytest_vaeaudit_fingerprint(config, model):\n    return model.weights\n"
    conftest.write_text(conftest.read_text() + hook)
    project.write("""
        def test_it(vae_audit):
            vae_audit(Model(known=False), None).require(hinge=at_least(0.3))
    """)
    project.run().assert_outcomes(passed=1)
    project.run().assert_outcomes(passed=1)
    assert counts(project) == [50]


def test_a_hook_of_another_folder_has_no_say(project: Any) -> None:
    for name in ("a", "b"):
        project.pytester.mkdir(name)
        project.write("def test_it(vae_audit, robust): vae_audit(robust, None)", name=f"{name}/test_{name}")
    hook = "def pytest_vaeaudit_device(config, item):\n    return 'cuda'\n"
    (project.pytester.path / "b" / "conftest.py").write_text(hook)
    project.run().assert_outcomes(passed=2)
    together = project.measured
    project.run("a", "--vaeaudit-cache=refresh").assert_outcomes(passed=1)
    assert project.measured[-1] in together
