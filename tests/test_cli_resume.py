"""A command that was interrupted goes on where it stopped: a real audit of a small model."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

import vaeaudit
from vaeaudit import cli
from vaeaudit.score_names import DIRECTIONS

SUBJECT = """
import os, signal
from pathlib import Path
import torch
from torch import nn

HERE = Path(__file__).parent
CALLS = []

class Model(nn.Module):
    '''Four directions of sixteen; sends itself one Ctrl-C as soon as a first chunk of pairs is finished.'''
    def __init__(self):
        super().__init__()
        basis = torch.linalg.qr(torch.randn(16, 4, generator=torch.Generator().manual_seed(0)))[0]
        self.basis = nn.Parameter(basis)
    def encode(self, images):
        CALLS.append(len(images))
        if any((HERE / "interrupted" / "partial").glob("tradeoff-*.npz")) and not (HERE / "sent").exists():
            (HERE / "sent").touch()
            os.kill(os.getpid(), signal.SIGINT)
        mean = images.flatten(1) @ self.basis
        return mean, torch.full_like(mean, -4.0)
    def decode(self, latents):
        return (latents @ self.basis.T).view(-1, 1, 4, 4)

def images():
    return torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(1))
"""


def test_after_an_interrupt_the_same_command_goes_on_to_the_same_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "interrupting.py").write_text(SUBJECT)
    file = tmp_path / "audit.toml"
    file.write_text('model = "interrupting:Model"\ndata = "interrupting:images"\npreset = "quick"\npairs = 30\n')

    def run(output: str) -> tuple[int, int]:
        calls: list[int] = sys.modules["interrupting"].CALLS if "interrupting" in sys.modules else []
        before = sum(calls)
        status = cli.main(["run", str(file), "--output", str(tmp_path / output), "--quiet"])
        return status, sum(sys.modules["interrupting"].CALLS) - before

    try:
        assert run("interrupted")[0] == 130
        said = capsys.readouterr().err
        assert "targeted attack: 30 of 30 finished\n" in said
        assert "Finished measurements are kept in" in said
        status, resumed = run("interrupted")
        assert status == 0
        status, whole = run("whole")
        assert status == 0
    finally:
        sys.modules.pop("interrupting", None)
    assert resumed < whole
    assert not (tmp_path / "interrupted" / "partial").exists()
    reports = [vaeaudit.load(tmp_path / name) for name in ("interrupted", "whole")]
    resumed, whole = (report.provenance.work["targeted attack"].gradients for report in reports)
    assert resumed < 0.5 * whole
    one, other = (
        dataclasses.replace(report, provenance=dataclasses.replace(report.provenance, seconds={}, work={}))
        for report in reports
    )
    assert one == other
    directions = {name: score.higher_is_better for name, score in one.scores().items()}
    assert directions.items() <= DIRECTIONS.items()
    assert not {name for name in DIRECTIONS.keys() - directions if not name.startswith(("worst_", "certified_"))}
    for name, score in one.scores().items():
        sample = one.sample(name)
        if sample.statistic == "count":
            assert (sample.values > sample.threshold).sum() == score.value
        else:
            assert len(sample.values) == score.n
            assert getattr(np, sample.statistic)(sample.values) == pytest.approx(score.value, rel=1e-12)
    assert (one.curves.evaluations > 0).all()
