"""Every form in which encoders answer is read as the same posterior, and doubt is an error with two ways out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent, Laplace, LogNormal, MultivariateNormal, Normal

from vaeaudit import AuditError, EncoderOutputError, OptionError
from vaeaudit.latent import Posterior, describe, read_posterior, read_reconstruction

TWO_WAYS = r"in one of two ways: Autoencoder\(.*\) for a Gaussian posterior.*, or Autoencoder\(.*\) for a deterministic"


def _drawn(*shape: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    mean, log_variance = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return mean.to(dtype), log_variance.to(dtype)


MEAN, LOG_VARIANCE = _drawn(5, 3)
STD = (0.5 * LOG_VARIANCE).exp()


@dataclass(frozen=True)
class Slotted:
    """An object without a `__dict__`, as fast data classes are."""

    __slots__ = ("logvar", "mean")
    mean: Tensor
    logvar: Tensor


class Backwards(NamedTuple):
    """A named tuple that begins with what a plain pair ends with."""

    log_var: Tensor
    mu: Tensor


class Sampled(NamedTuple):
    """A named tuple with more than the posterior."""

    sample: Tensor
    mean: Tensor
    logvar: Tensor


class Dynamic:
    """An object whose members are computed."""

    @property
    def mu(self) -> Tensor:
        return MEAN

    @property
    def log_var(self) -> Tensor:
        return LOG_VARIANCE


GAUSSIANS: dict[str, Callable[[], Any]] = {
    "tuple": lambda: (MEAN, LOG_VARIANCE),
    "list": lambda: [MEAN, LOG_VARIANCE],
    "Normal": lambda: Normal(MEAN, STD),
    "Independent": lambda: Independent(Normal(MEAN, STD), 1),
    "nested Independent": lambda: Independent(Independent(Normal(MEAN[:, None], STD[:, None]), 1), 1),
    "broadcast Normal": lambda: Normal(MEAN, STD[:1]).expand((5, 3)),
    "latent_dist object": lambda: SimpleNamespace(latent_dist=SimpleNamespace(mean=MEAN, logvar=LOG_VARIANCE)),
    "latent_dist mapping": lambda: OrderedDict(latent_dist=Normal(MEAN, STD)),
    "1-tuple of a latent_dist": lambda: (SimpleNamespace(mean=MEAN, logvar=LOG_VARIANCE),),
    "1-tuple of a pair": lambda: ((MEAN, LOG_VARIANCE),),
    "embedding mapping": lambda: {"embedding": MEAN, "log_covariance": LOG_VARIANCE, "features": MEAN},
    "embedding object": lambda: SimpleNamespace(embedding=MEAN, log_covariance=LOG_VARIANCE),
    "mean and logvar mapping": lambda: {"mean": MEAN, "logvar": LOG_VARIANCE},
    "mean and log_variance mapping": lambda: {"mean": MEAN, "log_variance": LOG_VARIANCE},
    "mu and logvar mapping": lambda: {"mu": MEAN, "logvar": LOG_VARIANCE},
    "loc and log_variance object": lambda: SimpleNamespace(loc=MEAN, log_variance=LOG_VARIANCE),
    "slotted object": lambda: Slotted(MEAN, LOG_VARIANCE),
    "object with properties": Dynamic,
    "named tuple in another order": lambda: Backwards(LOG_VARIANCE, MEAN),
    "named tuple with more beside it": lambda: Sampled(STD, MEAN, LOG_VARIANCE),
}


@pytest.mark.parametrize("form", GAUSSIANS)
def test_every_form_of_a_gaussian_is_the_same_posterior(form: str) -> None:
    posterior = read_posterior(GAUSSIANS[form]())
    assert posterior.log_variance is not None
    expected = LOG_VARIANCE[:1].expand(5, 3) if form == "broadcast Normal" else LOG_VARIANCE
    torch.testing.assert_close(posterior.mean.reshape(5, 3), MEAN, rtol=0, atol=0)
    torch.testing.assert_close(posterior.log_variance.reshape(5, 3), expected)


@pytest.mark.parametrize(("scale", "spread"), [("std", STD), ("variance", STD.square())])
def test_a_scale_that_is_given_is_that_of_a_named_tuple_too(scale: Any, spread: Tensor) -> None:
    posterior = read_posterior(Backwards(spread, MEAN), scale)
    assert posterior.log_variance is not None
    torch.testing.assert_close(posterior.mean, MEAN)
    torch.testing.assert_close(posterior.log_variance, LOG_VARIANCE)


@pytest.mark.parametrize(
    "output",
    [MEAN, (MEAN,), [MEAN], {"embedding": MEAN}, SimpleNamespace(latents=MEAN), SimpleNamespace(latent=MEAN, step=3)],
)
def test_a_lone_tensor_is_a_deterministic_code(output: Any) -> None:
    posterior = read_posterior(output)
    assert posterior.log_variance is None
    assert torch.equal(posterior.mean, MEAN)
    assert torch.equal(posterior.std, torch.zeros(5, 3))


@pytest.mark.parametrize(
    ("scale", "second"), [("log_variance", LOG_VARIANCE), ("variance", LOG_VARIANCE.exp()), ("std", STD)]
)
@pytest.mark.parametrize("kind", [tuple, list])
def test_all_three_scales_give_the_same_posterior(scale: Any, second: Tensor, kind: type) -> None:
    posterior = read_posterior(kind((MEAN, second)), scale)
    assert posterior.log_variance is not None
    torch.testing.assert_close(posterior.log_variance, LOG_VARIANCE)
    torch.testing.assert_close(posterior.std, STD)


def test_scale_speaks_of_plain_pairs_only() -> None:
    for output in (Normal(MEAN, STD), {"mean": MEAN, "logvar": LOG_VARIANCE}):
        posterior = read_posterior(output, "variance")
        assert posterior.log_variance is not None
        torch.testing.assert_close(posterior.log_variance, LOG_VARIANCE)


@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3, 3), (2, 7, 1)])
def test_latents_of_any_shape_keep_it(shape: tuple[int, ...]) -> None:
    mean, log_variance = _drawn(*shape)
    posterior = read_posterior((mean, log_variance))
    assert posterior.mean.shape == posterior.std.shape == shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_float32_before_anything_is_computed(dtype: torch.dtype) -> None:
    std = torch.full((2, 3), 1e-4).to(dtype)
    posterior = read_posterior((torch.zeros(2, 3, dtype=dtype), std), "std")
    assert posterior.log_variance is not None
    assert posterior.mean.dtype == posterior.log_variance.dtype == torch.float32
    torch.testing.assert_close(posterior.log_variance, 2 * std.float().log())


def test_float64_stays_float64() -> None:
    assert read_posterior(_drawn(2, 3, dtype=torch.float64)).std.dtype == torch.float64


@pytest.mark.parametrize(
    ("output", "message"),
    [
        pytest.param((MEAN, LOG_VARIANCE, MEAN), r"a tuple of 3 \(a tensor \(5, 3\).*\); a pair.*" + TWO_WAYS, id="3"),
        pytest.param((MEAN, LOG_VARIANCE[:, :2]), r"a tensor \(5, 2\)\); a pair of equal shapes.*" + TWO_WAYS, id="sh"),
        pytest.param((MEAN, None), r"a tuple of 2 \(a tensor \(5, 3\), a NoneType\).*" + TWO_WAYS, id="None"),
        pytest.param((), r"a tuple of 0 \(\); a pair.*" + TWO_WAYS, id="empty"),
        pytest.param(object(), r"returned a object, which could mean several things.*" + TWO_WAYS, id="object"),
        pytest.param(None, r"returned a NoneType, which could.*" + TWO_WAYS, id="no return"),
        pytest.param(np.zeros((5, 3)), r"returned a ndarray, which could.*" + TWO_WAYS, id="array"),
        pytest.param({"z": MEAN}, r"returned a dict with z, which could.*" + TWO_WAYS, id="unknown key"),
        pytest.param({"mean": MEAN, "std": STD}, r"a dict with mean, std, which could.*" + TWO_WAYS, id="unknown pair"),
        pytest.param(
            {"embedding": MEAN, "log_concentration": LOG_VARIANCE[:, :1]},
            r"a dict with embedding, log_concentration, which could.*" + TWO_WAYS,
            id="code beside another tensor",
        ),
        pytest.param(
            Laplace(MEAN, STD), r"returned a Laplace; a posterior must be a Normal.*" + TWO_WAYS, id="Laplace"
        ),
        pytest.param(LogNormal(MEAN, STD), r"returned a LogNormal; .*" + TWO_WAYS, id="LogNormal"),
        pytest.param(
            MultivariateNormal(MEAN, torch.eye(3)),
            r"returned a MultivariateNormal; .*" + TWO_WAYS,
            id="full covariance",
        ),
        pytest.param(
            Independent(Laplace(MEAN, STD), 1),
            r"returned a Independent; a posterior .*" + TWO_WAYS,
            id="Indep. Laplace",
        ),
        pytest.param(
            (MEAN, STD),
            r"positive everywhere: it may be a standard deviation.*in one of two ways: "
            r"scale='log_variance', scale='variance' or scale='std'; or return a torch.distributions.Normal",
            id="positive",
        ),
        pytest.param(MEAN.long(), r"the code has dtype torch.int64, which carries no gradient", id="integer code"),
        pytest.param((MEAN.long(), MEAN), r"the mean has dtype torch.int64", id="integer mean"),
        pytest.param((MEAN, -MEAN.abs().long()), r"the log_variance has dtype torch.int64", id="integer scale"),
        pytest.param(
            {"mean": MEAN, "logvar": LOG_VARIANCE[:1]},
            r"one shape, got \(5, 3\) and \(1, 3\)",
            id="named pair of uneven shapes",
        ),
    ],
)
def test_doubt_is_an_error(output: Any, message: str) -> None:
    with pytest.raises(EncoderOutputError, match=message) as caught:
        read_posterior(output)
    assert isinstance(caught.value, AuditError)
    assert isinstance(caught.value, TypeError)


def test_a_pair_that_is_positive_everywhere_is_read_once_its_scale_is_said() -> None:
    posterior = read_posterior((MEAN, STD), "log_variance")
    assert posterior.log_variance is STD


def test_a_pair_that_is_negative_somewhere_needs_no_scale() -> None:
    second = STD.clone()
    second[-1, -1] = -1e-3
    assert read_posterior((MEAN, second)).log_variance is second


def test_an_unknown_scale_is_refused() -> None:
    with pytest.raises(OptionError, match=r"scale expects one of log_variance, variance, std, got 'sigma'"):
        read_posterior((MEAN, -STD), "sigma")  # type: ignore[arg-type]


def test_gradients_flow_through_the_reading() -> None:
    mean, std = MEAN.clone().requires_grad_(), STD.clone().requires_grad_()
    posterior = read_posterior((mean, std), "std")
    assert posterior.log_variance is not None
    (gradient,) = torch.autograd.grad(posterior.log_variance.sum(), std)
    torch.testing.assert_close(gradient, 2 / STD)


@pytest.mark.parametrize("log_variance", [LOG_VARIANCE, None])
@pytest.mark.parametrize("rows", [slice(1, 3), torch.tensor([4, 0])])
def test_rows_are_taken_of_mean_and_variance_alike(log_variance: Tensor | None, rows: Any) -> None:
    part = Posterior(mean=MEAN, log_variance=log_variance)[rows]
    assert torch.equal(part.mean, MEAN[rows])
    assert part.log_variance is None if log_variance is None else torch.equal(part.log_variance, LOG_VARIANCE[rows])


@pytest.mark.parametrize(
    "output",
    [
        MEAN,
        (MEAN,),
        SimpleNamespace(sample=MEAN),
        {"reconstruction": MEAN},
        SimpleNamespace(recon_x=MEAN),
        Normal(MEAN, STD),
        Independent(Normal(MEAN, 1.0), 1),
    ],
)
def test_every_form_of_a_reconstruction_is_its_tensor(output: Any) -> None:
    assert torch.equal(read_reconstruction(output), MEAN)


def test_a_bernoulli_decoder_reconstructs_its_mean() -> None:
    torch.testing.assert_close(read_reconstruction(Bernoulli(logits=MEAN)), MEAN.sigmoid())


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ((MEAN, STD), r"decoder returned a tuple of 2 \(.*\), expected a tensor.*reconstruction_of\(decoder\(z\)\)"),
        ({"mean": MEAN}, r"decoder returned a dict with mean, expected a tensor of reconstructions"),
        (MEAN.to(torch.uint8), r"the reconstruction has dtype torch.uint8, which carries no gradient"),
    ],
)
def test_an_unreadable_reconstruction_is_an_error(output: Any, message: str) -> None:
    with pytest.raises(EncoderOutputError, match=message):
        read_reconstruction(output)


def test_outputs_are_described_with_their_shapes() -> None:
    described = describe([MEAN, {"a": 1}])
    assert described == "a list of 2 (a tensor (5, 3), a dict with a)"
