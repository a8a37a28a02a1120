"""Reports in experiment trackers: against stand-ins with the signatures of the real calls, and against what is installed."""

from __future__ import annotations

import math
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vaeaudit import AuditReport, PackageError, load
from vaeaudit.health import Finding
from vaeaudit.loggers import log_to_mlflow, log_to_tensorboard, log_to_wandb, scalars

MakeReport = Callable[..., AuditReport]
INVALID = Finding(name="blind_inputs", severity="invalid", message="m", remedy="r", affects=("hinge",))
FILES = ["arrays.npz", "report.html", "report.json"]


@pytest.fixture(scope="module")
def report(make_report: MakeReport) -> AuditReport:
    """A small report whose hinge is open above and not to be relied upon."""
    return make_report(pairs=8, censored=5, strengths=4, event=(1, 4, 4), health=(INVALID,))


def installed(name: str) -> Any:
    """A package, or the test is skipped; what it warns of while it is imported is its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name)


def test_a_score_brings_its_value_its_finite_bounds_and_whether_it_can_be_relied_upon(report: AuditReport) -> None:
    found = scalars(report)
    assert found["vaeaudit/hinge"] == report.hinge.value
    assert found["vaeaudit/hinge_low"] == report.hinge.low
    assert "vaeaudit/hinge_high" not in found
    assert (found["vaeaudit/hinge_trusted"], found["vaeaudit/auddc_trusted"]) == (0.0, 1.0)
    assert found["vaeaudit/encoder/trace"] == report.scores()["encoder.trace"].value
    assert [found[f"vaeaudit/findings_{kind}"] for kind in ("info", "warning", "invalid")] == [0, 0, 1]
    for name in report.scores():
        assert f"vaeaudit/{name.replace('.', '/')}_trusted" in found


def test_scalars_are_finite_floats_under_names_that_every_tracker_takes(report: AuditReport) -> None:
    for name, value in scalars(report, prefix="audit/final").items():
        assert name.startswith("audit/final/")
        assert name.replace("/", "").replace("_", "").isalnum()
        assert isinstance(value, float)
        assert math.isfinite(value)


def test_no_name_is_a_folder_of_another(report: AuditReport) -> None:
    names = set(scalars(report))
    assert not {name.rpartition("/")[0] for name in names} & names


def test_what_was_not_measured_is_not_logged(make_report: MakeReport) -> None:
    found = scalars(make_report(pairs=2, excluded=2, sections=False, gallery=False))
    assert "vaeaudit/hinge" not in found
    assert "vaeaudit/encoder/trace_trusted" not in found


class Mlflow(types.ModuleType):
    """`mlflow` with two of its calls, which note what they are given."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.metrics: dict[str, Any] = {}
        self.artifacts: dict[str, Any] = {}

    def log_metrics(
        self, metrics: dict[str, float], step: int | None = None, synchronous: bool | None = None,
        run_id: str | None = None, timestamp: int | None = None, model_id: str | None = None, dataset: Any = None,
    ) -> None:  # fmt: skip
        self.metrics = {"metrics": metrics, "step": step, "run_id": run_id}

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None, run_id: str | None = None) -> None:
        kept = sorted(path.name for path in Path(local_dir).iterdir()), load(local_dir)
        self.artifacts = {"kept": kept, "path": artifact_path, "run_id": run_id}


def test_mlflow_gets_metrics_and_the_whole_report(report: AuditReport, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = Mlflow()
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    log_to_mlflow(report, step=7, run_id="r1", prefix="audit")
    assert mlflow.metrics == {"metrics": scalars(report, prefix="audit"), "step": 7, "run_id": "r1"}
    assert mlflow.artifacts == {"kept": (FILES, report), "path": "audit", "run_id": "r1"}


def test_without_mlflow_the_error_says_what_to_install(report: AuditReport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(PackageError, match=r"log_to_mlflow needs mlflow, .*; pip install mlflow"):
        log_to_mlflow(report)


class WandbRun:
    """A run of `wandb` with two of its calls, which note what they are given."""

    def __init__(self) -> None:
        self.logged: dict[str, Any] = {}
        self.artifact: dict[str, Any] = {}

    def log(self, data: dict[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        self.logged = {"data": data, "step": step}

    def log_artifact(
        self, artifact_or_path: Any, name: str | None = None, type: str | None = None,  # noqa: A002
        aliases: list[str] | None = None, tags: list[str] | None = None,
    ) -> None:  # fmt: skip
        self.artifact = {"name": Path(artifact_or_path).name, "report": load(artifact_or_path), "type": type}


def test_wandb_gets_scalars_and_the_whole_report(report: AuditReport) -> None:
    run = WandbRun()
    log_to_wandb(report, run, step=3)
    assert run.logged == {"data": scalars(report), "step": 3}
    assert run.artifact == {"name": "vaeaudit-report", "report": report, "type": "vaeaudit-report"}


@pytest.fixture
def events(report: AuditReport, tmp_path: Path) -> Any:
    """What TensorBoard reads of a report that was written at step 5."""
    installed("tensorboard")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from torch.utils.tensorboard import SummaryWriter
    with SummaryWriter(str(tmp_path)) as writer:
        log_to_tensorboard(report, writer, step=5)
    return EventAccumulator(str(tmp_path)).Reload()


def test_tensorboard_reads_back_every_scalar_and_the_table(report: AuditReport, events: Any) -> None:
    expected = scalars(report)
    assert set(events.Tags()["scalars"]) == set(expected)
    for name, value in expected.items():
        (event,) = events.Scalars(name)
        assert (event.step, event.value) == (5, pytest.approx(value, rel=1e-6))
    (text,) = events.Tensors("vaeaudit/report/text_summary")
    table = text.tensor_proto.string_val[0].decode()
    assert [line[4:] for line in table.splitlines() if line] == [line for line in str(report).splitlines() if line]


def test_the_real_mlflow_takes_it(report: AuditReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = installed("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with mlflow.start_run() as run:
            log_to_mlflow(report, step=2)
        kept = mlflow.get_run(run.info.run_id).data.metrics
        names = [file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id, "vaeaudit")]
    assert kept == pytest.approx(scalars(report))
    assert sorted(names) == [f"vaeaudit/{name}" for name in FILES]


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A run of the real wandb that asks no server."""
    wandb = installed("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with wandb.init(mode="offline", dir=str(tmp_path), project="p") as run:
            yield run


def test_the_real_wandb_takes_it(report: AuditReport, offline: Any) -> None:
    log_to_wandb(report, offline)
    assert {name: offline.summary[name] for name in scalars(report)} == pytest.approx(scalars(report))
