"""Posteriors: what an encoder says about an input, read from whatever form it comes in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from vaeaudit.errors import EncoderOutputError, OptionError

Scale = Literal["log_variance", "variance", "std"]
SCALES: tuple[Scale, ...] = ("log_variance", "variance", "std")
_PAIRS = (
    ("embedding", "log_covariance"),
    ("mean", "logvar"),
    ("mean", "log_variance"),
    ("mu", "logvar"),
    ("mu", "log_var"),
    ("loc", "log_variance"),
)
_CODES = ("embedding", "latents", "latent")
_RECONSTRUCTIONS = ("reconstruction", "sample", "recon_x", "recon")
TWO_WAYS = (
    "Say which part is which, in one of two ways: "
    "Autoencoder(lambda x: (mean_of(encoder(x)), log_variance_of(encoder(x))), decoder) for a Gaussian posterior "
    "(scale='std' or scale='variance' if that is what the second member is), or "
    "Autoencoder(lambda x: code_of(encoder(x)), decoder) for a deterministic code"
)


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """A diagonal Gaussian q(z|x), or a deterministic code where `log_variance` is None.

    Attributes:
        mean: posterior mean or code, `(batch, *latent)`.
        log_variance: log of the posterior variance, `(batch, *latent)`, or None.
    """

    mean: Tensor
    log_variance: Tensor | None

    @property
    def std(self) -> Tensor:
        """Posterior standard deviation, `(batch, *latent)`; zeros for a deterministic code."""
        if self.log_variance is None:
            return torch.zeros_like(self.mean)
        return (0.5 * self.log_variance).exp()

    def __getitem__(self, rows: Tensor | slice) -> Posterior:
        """The posteriors of some rows of the batch."""
        log_variance = None if self.log_variance is None else self.log_variance[rows]
        return Posterior(mean=self.mean[rows], log_variance=log_variance)


def read_posterior(output: Any, scale: Scale | None = None, *, doubt: bool = True) -> Posterior:
    """Read an encoder's output.

    Args:
        output: a tensor; a pair `(mean, scale)`; a `torch.distributions` Normal or Independent of
            one; an object or mapping with `latent_dist`, `embedding`/`log_covariance`, `mean`/`logvar`,
            or with a code (`embedding`, `latents` or `latent`) and no tensor beside it.
        scale: what the second member of a plain pair is; None means a log-variance.
        doubt: whether to refuse a plain pair whose second member is positive everywhere, so that it
            may be no log-variance; costs a look at the values.

    Raises:
        EncoderOutputError: the output cannot be told apart without guessing.
    """
    if isinstance(output, Tensor):
        return Posterior(mean=_real(output, "the code"), log_variance=None)
    if isinstance(output, Distribution):
        return _from_distribution(output)
    if isinstance(output, (tuple, list)):
        return _from_sequence(output, scale, doubt)
    if (inner := _member(output, "latent_dist")) is not None:
        return read_posterior(inner, scale, doubt=doubt)
    for mean, log_variance in _PAIRS:
        pair = _member(output, mean), _member(output, log_variance)
        if isinstance(pair[0], Tensor) and isinstance(pair[1], Tensor):
            return _from_pair(pair[0], pair[1], "log_variance")
    for name in _CODES:
        if isinstance(code := _member(output, name), Tensor) and _tensors_in(output) <= 1:
            return Posterior(mean=_real(code, name), log_variance=None)
    raise EncoderOutputError(f"the encoder returned {describe(output)}, which could mean several things. {TWO_WAYS}.")


def read_reconstruction(output: Any) -> Tensor:
    """Read a decoder's output: a tensor, a distribution's mean, `reconstruction` or `sample`.

    Raises:
        EncoderOutputError: the output cannot be read without guessing.
    """
    if isinstance(output, Tensor):
        return _real(output, "the reconstruction")
    if isinstance(output, Distribution):
        return _real(output.mean, "the reconstruction")
    if isinstance(output, (tuple, list)) and len(output) == 1:
        return read_reconstruction(output[0])
    for name in _RECONSTRUCTIONS:
        if isinstance(found := _member(output, name), Tensor):
            return _real(found, name)
    raise EncoderOutputError(
        f"the decoder returned {describe(output)}, expected a tensor of reconstructions. "
        "Pass Autoencoder(encoder, lambda z: reconstruction_of(decoder(z)))."
    )


def read_output_std(output: Any) -> Tensor | None:
    """Standard deviation of a decoder's output where that is a Gaussian, `(batch, *event)`; None otherwise.

    Other distributions, such as a Bernoulli, have no spread of their own beside the mean.
    """
    if isinstance(output, (tuple, list)) and len(output) == 1:
        return read_output_std(output[0])
    while isinstance(output, Independent):
        output = output.base_dist
    return _real(output.scale, "the output's standard deviation") if isinstance(output, Normal) else None


def _from_distribution(distribution: Distribution) -> Posterior:
    base = distribution
    while isinstance(base, Independent):
        base = base.base_dist
    if not isinstance(base, Normal):
        raise EncoderOutputError(
            f"the encoder returned a {type(distribution).__name__}; a posterior must be a Normal, or an Independent "
            f"of one (a diagonal Gaussian). {TWO_WAYS}."
        )
    return _from_pair(base.loc, base.scale, "std")


def _from_sequence(output: tuple[Any, ...] | list[Any], scale: Scale | None, doubt: bool) -> Posterior:
    if len(output) == 1:
        return read_posterior(output[0], scale, doubt=doubt)
    tensors = [item for item in output if isinstance(item, Tensor)]
    if len(output) != 2 or len(tensors) != 2 or tensors[0].shape != tensors[1].shape:
        raise EncoderOutputError(
            f"the encoder returned {describe(output)}; a pair of equal shapes (mean, log_variance) was expected. {TWO_WAYS}."
        )
    if doubt and scale is None and len(tensors[1]) > 1 and bool((tensors[1] > 0).all()):
        raise EncoderOutputError(
            "the encoder returned a pair whose second member is positive everywhere: it may be a standard deviation "
            "or a variance rather than the log-variance that a plain pair stands for. Say which, in one of two ways: "
            "scale='log_variance', scale='variance' or scale='std'; or return a torch.distributions.Normal."
        )
    return _from_pair(tensors[0], tensors[1], scale or "log_variance")


def _from_pair(mean: Tensor, second: Tensor, scale: Scale) -> Posterior:
    if scale not in SCALES:
        raise OptionError(f"scale expects one of {', '.join(SCALES)}, got {scale!r}")
    mean, second = _real(mean, "the mean"), _real(second, f"the {scale}")
    if mean.shape != second.shape:
        raise EncoderOutputError(
            f"mean and {scale} must have one shape, got {tuple(mean.shape)} and {tuple(second.shape)}"
        )
    if scale == "log_variance":
        return Posterior(mean=mean, log_variance=second)
    return Posterior(mean=mean, log_variance=second.log() if scale == "variance" else 2 * second.log())


def _real(tensor: Tensor, what: str) -> Tensor:
    """Figures are computed in float32 or better, whatever the model's precision."""
    if not tensor.is_floating_point():
        raise EncoderOutputError(
            f"{what} has dtype {tensor.dtype}, which carries no gradient (a quantised or discrete bottleneck?); "
            "expected a floating-point tensor"
        )
    return tensor.float() if torch.finfo(tensor.dtype).bits < 32 else tensor


def _member(output: Any, name: str) -> Any:
    if isinstance(output, Mapping):
        return cast("Mapping[str, Any]", output).get(name)
    return getattr(output, name, None)


def _tensors_in(output: Any) -> int:
    members = output if isinstance(output, Mapping) else getattr(output, "__dict__", {})
    return sum(isinstance(member, Tensor) for member in members.values())


def describe(output: Any) -> str:
    """An encoder's or decoder's output in words, for messages."""
    if isinstance(output, Tensor):
        return f"a tensor {tuple(output.shape)}"
    if isinstance(output, (tuple, list)):
        return f"a {type(output).__name__} of {len(output)} ({', '.join(map(describe, output))})"
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} with {', '.join(map(str, output))}"
    return f"a {type(output).__name__}"
