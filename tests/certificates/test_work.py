"""What a certificate takes is counted before it is made: large models are refused at once, wide layers go without matrices."""

from __future__ import annotations

import math
from types import ModuleType

import pytest
import torch
from torch import Tensor, fx, nn

from vaeaudit import Autoencoder
from vaeaudit.certificates import NotCertifiedError, certify, work
from vaeaudit.certificates.graph import read_network
from vaeaudit.certificates.norms import Convolution
from vaeaudit.certificates.prepared import prepare
from vaeaudit.certificates.reading import Reader
from vaeaudit.certificates.work import MOST_PARAMETERS, forward_work, propagation_work

FREE = (-math.inf, math.inf)


def _nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a model that is too large was run")

    monkeypatch.setattr(Reader, "run", refuse)


@pytest.mark.parametrize("computed", [0, 2**40])
def test_a_forward_pass_counts_the_same_without_data_and_on_zeros(
    computed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_COMPUTED", computed)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16 * 16, 5))
    counted = forward_work(fx.symbolic_trace(net), (3, 16, 16))
    assert counted == 256 * 8 * 27 + 5 * 8 * 256 + 3 * 256


def test_many_weights_are_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    _nothing_runs(monkeypatch)
    side = math.isqrt(MOST_PARAMETERS) + 1
    model = nn.utils.skip_init(nn.Linear, side, side)
    with pytest.raises(NotCertifiedError, match=f"{side * side + side:,} weights is too large"):
        read_network(model, [model], torch.zeros(1, side))


def test_much_work_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    _nothing_runs(monkeypatch)
    layers = [nn.Conv2d(3 if i == 0 else 128, 128, 3, padding=1) for i in range(5)]
    model = nn.Sequential(*layers)
    with pytest.raises(NotCertifiedError, match=r"multiply-adds, and no more than 2.0e\+10"):
        read_network(model, [model], torch.zeros(1, 3, 256, 256), most=2e10)


def test_wide_convolutions_are_refused_before_their_norms_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five hundred channels: a pass is cheap on a small image, but not the norms of the layers."""

    def refuse(*_: object) -> float:
        raise AssertionError("a norm was computed")

    monkeypatch.setattr(Convolution, "norm", refuse)
    encoder = nn.Sequential(nn.Conv2d(3, 512, 3, stride=2), nn.ReLU(), nn.Conv2d(512, 512, 3), nn.ReLU(), nn.Flatten())
    ae = Autoencoder(encoder, nn.Sequential(nn.Linear(2048, 6)), FREE)
    with ae.at_rest(), torch.no_grad():
        found = prepare(ae, torch.randn(2, 3, 9, 9), most=3e9)
    assert found.encoder is None
    assert "multiply-adds" in found.refusals["encoder"]


def test_matrices_are_given_up_where_they_cost_too_much_and_the_bound_stays_sound() -> None:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(6, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 2)).double()
    ae = Autoencoder(encoder, nn.Linear(2, 6).double(), FREE)
    examples = torch.randn(2, 6, dtype=torch.float64)
    with ae.at_rest(), torch.no_grad():
        rich, poor = (prepare(ae, examples, most=most) for most in (1e11, 1e9))
        assert (rich.widest, poor.widest) == (1024, 256)
        jacobian = max(
            float(torch.linalg.matrix_norm(torch.autograd.functional.jacobian(encoder, x), 2)) for x in examples
        )
        assert poor.everywhere.constant >= rich.everywhere.constant > jacobian
    assert rich.encoder is not None
    wide, narrow = (propagation_work(rich.encoder.steps, 6, widest) for widest in (1024, 64))
    assert wide.each > 2 * 8 * 400**3
    assert narrow.each < 400**3


class _Remembering(nn.Module):
    """Keeps what it computed last, as many models do."""

    def __init__(self, fails: bool) -> None:
        super().__init__()
        self.layer, self.fails, self.last = nn.Linear(6, 2), fails, None

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.layer(x)
        return torch.softmax(self.last, 1) if self.fails else self.last


@pytest.mark.parametrize("fails", [False, True])
def test_a_trace_leaves_no_stand_ins_behind(fails: bool) -> None:
    model = _Remembering(fails)
    found = certify(Autoencoder(model, nn.Linear(2, 6), FREE), torch.randn(2, 6), torch.randn(2, 6), balls=0)
    assert ("encoder" in found.refusals) == fails
    assert model.last is None or isinstance(model.last, Tensor)


def test_budgets_may_differ_from_pair_to_pair_or_be_none(models: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    model = models.randomised(models.DenseVAE(nn.ReLU), generator, 0.7)
    ae = Autoencoder(model.encode, model.decode, FREE, modules=(model,), scale="log_variance")
    x, t = torch.rand(2, 2, 8, generator=generator, dtype=torch.float64)
    each = torch.tensor([[0.01, 0.1], [0.2, 0.02]], dtype=torch.float64)
    found = certify(ae, x, t, budgets=each, balls=2)
    assert found.divergence is not None
    assert found.damage is not None
    for row in range(2):
        one = certify(ae, x[row : row + 1], t[row : row + 1], budgets=each[row].tolist(), balls=2)
        assert one.divergence is not None
        assert one.damage is not None
        torch.testing.assert_close(found.divergence[row], one.divergence[0], rtol=1e-9, atol=0)
        torch.testing.assert_close(found.damage[row], one.damage[0], rtol=1e-9, atol=0)
    none = certify(ae, x, t, budgets=(), balls=1)
    assert none.divergence is not None
    assert none.damage is not None
    assert none.divergence.shape == none.damage.shape == (2, 0)
    assert none.distortion is not None
    assert bool((none.distortion > 0).all())


def test_a_ball_without_bound_costs_the_other_pairs_nothing() -> None:
    """The slope of exp overflows around one original and not around the other."""
    torch.manual_seed(0)
    trunk = nn.Linear(6, 4).double()
    ae = Autoencoder(
        lambda x: (trunk(x)[:, :2], (trunk(x)[:, 2:] * 400).exp()), nn.Linear(2, 6).double(), FREE, scale="std",
        modules=(trunk,),
    )  # fmt: skip
    x = torch.stack([torch.zeros(6), -trunk.weight[2:].sum(0).detach() * 0.5]).double()
    t = x + 0.01 * torch.randn(2, 6, dtype=torch.float64)
    both = certify(ae, x, t, budgets=(0.5, 1e4), divergence="mean_l2")
    alone = [
        certify(ae, x[i : i + 1], t[i : i + 1], budgets=(0.5, 1e4), divergence="mean_l2", r=both.r) for i in (0, 1)
    ]
    assert both.distortion is not None
    assert "encoder, bounds in a ball" in both.refusals
    for row, one in enumerate(alone):
        assert one.distortion is not None
        torch.testing.assert_close(both.distortion[row], one.distortion[0], rtol=1e-9, atol=0)
