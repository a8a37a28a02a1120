"""One call each to keep a report with the runs of an experiment tracker: MLflow, Weights & Biases, TensorBoard.

All three get the same scalars: for each score its value and the ends of its 95 % interval, where they are finite, and
whether it is to be relied upon (1 or 0), named `vaeaudit/hinge`, `vaeaudit/hinge_low`, `vaeaudit/hinge_high`,
`vaeaudit/hinge_trusted`, with a slash for the dot of `encoder.trace`; and the number of health findings by severity.
"""

from __future__ import annotations

import math
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from vaeaudit.health import Severity
from vaeaudit.packages import optional
from vaeaudit.report import words
from vaeaudit.report.model import FOLDER_NAME, AuditReport

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PREFIX = "vaeaudit"
KIND = "vaeaudit-report"
"""Type of the artifact in Weights & Biases."""


def scalars(report: AuditReport, *, prefix: str = PREFIX) -> dict[str, float]:
    """What trackers get of a report, by name: letters, digits, underscores and slashes only.

    Args:
        report: the report.
        prefix: stands before each name, parted by a slash.
    """
    counts = Counter(finding.severity for finding in report.health)
    findings = ((f"findings_{severity}", float(counts[severity])) for severity in get_args(Severity))
    return {f"{prefix}/{name}": value for name, value in (*_scores(report), *findings)}


def _scores(report: AuditReport) -> Iterator[tuple[str, float]]:
    for score, estimate in report.scores().items():
        name = score.replace(".", "/")
        parts = {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        yield from ((part, float(value)) for part, value in parts.items() if math.isfinite(value))
        yield f"{name}_trusted", float(words.trusted(report, score))


def log_to_mlflow(
    report: AuditReport, *, step: int | None = None, run_id: str | None = None, prefix: str = PREFIX
) -> None:
    """Log a report's scalars as metrics, and its page, JSON and pictures as artifacts in a folder named by the prefix.

    Args:
        report: the report.
        step: of the metrics; None for MLflow's default.
        run_id: of the run to log to; None for the active run, which MLflow starts where there is none.
        prefix: stands before each name.

    Raises:
        PackageError: MLflow is not installed (`mlflow` or `mlflow-skinny`).
    """
    mlflow = optional("mlflow", "log_to_mlflow")
    mlflow.log_metrics(scalars(report, prefix=prefix), step=step, run_id=run_id)
    with tempfile.TemporaryDirectory() as folder:
        mlflow.log_artifacts(str(report.save(folder)), artifact_path=prefix, run_id=run_id)


def log_to_wandb(report: AuditReport, run: Any, *, step: int | None = None, prefix: str = PREFIX) -> None:
    """Log a report's scalars to a run of Weights & Biases, and its page, JSON and pictures as one artifact.

    Args:
        report: the report.
        run: what `wandb.init` returned.
        step: of the scalars; None for the run's own.
        prefix: stands before each name.
    """
    run.log(scalars(report, prefix=prefix), step=step)
    with tempfile.TemporaryDirectory() as folder:
        run.log_artifact(str(report.save(Path(folder) / FOLDER_NAME)), type=KIND)


def log_to_tensorboard(report: AuditReport, writer: SummaryWriter, *, step: int = 0, prefix: str = PREFIX) -> None:
    """Write a report's scalars, and the table that `print` shows, as text.

    TensorBoard has no place for files: `report.save` keeps the page.

    Args:
        report: the report.
        writer: a `torch.utils.tensorboard.SummaryWriter`, or whatever has its `add_scalar` and `add_text`.
        step: at which the figures are drawn, such as the epoch of the checkpoint.
        prefix: stands before each name.
    """
    for name, value in scalars(report, prefix=prefix).items():
        writer.add_scalar(name, value, step)
    # indented, Markdown leaves it alone
    writer.add_text(f"{prefix}/report", textwrap.indent(str(report), "    "), step)
