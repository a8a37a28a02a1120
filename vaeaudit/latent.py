"""Posteriors: what an encoder says about an input, read from whatever form it comes in."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from vaeaudit.errors import EncoderOutputError, ModelError, OptionError

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
_LAYERS, _NAMED, _NAME = 8, 8, 40
_RECONSTRUCTIONS = ("reconstruction", "sample", "recon_x", "recon")
TWO_WAYS = (
    "Say which part is which, in one of two ways: "
    "Autoencoder(lambda x: (mean_of(encoder(x)), log_variance_of(encoder(x))), decoder) for a Gaussian posterior "
    "(scale='std' or scale='variance' if that is what the second member is), or "
    "Autoencoder(lambda x: code_of(encoder(x)), decoder) for a deterministic code"
)
GROUPS = (
    "A latent of several groups is a sequence with one torch.distributions.Normal, one mapping with mean and logvar, or "
    "one pair (mean, log_variance) a group; of deterministic codes, one 1-tuple (code,) a group"
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the groups of a latent lie one after the other in a single flat one.

    Attributes:
        shapes: of each group, without the batch.
    """

    shapes: tuple[tuple[int, ...], ...]

    @property
    def units(self) -> int:
        """Of all groups together."""
        return sum(map(math.prod, self.shapes))

    def joined(self, groups: Sequence[Tensor]) -> Tensor:
        """Groups `(batch, *shape)` as one latent, `(batch, units)`."""
        return torch.cat([group.flatten(1) if group.ndim > 1 else group[:, None] for group in groups], 1)

    def split(self, latents: Tensor) -> tuple[Tensor, ...]:
        """The groups, each `(batch, *shape)`, of latents `(batch, units)`.

        Raises:
            ModelError: latents of another number of units.
        """
        if latents.ndim != 2 or latents.shape[1] != self.units:
            raise ModelError(
                f"the encoder's latent has {len(self.shapes)} groups of {self.units} units together, so that latents "
                f"(batch, {self.units}) were expected; got {tuple(latents.shape)}. Join them as Posterior.mean is joined"
            )
        parts = latents.split([math.prod(shape) for shape in self.shapes], 1)
        return tuple(part.reshape(len(part), *shape) for part, shape in zip(parts, self.shapes, strict=True))


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """A diagonal Gaussian q(z|x), or a deterministic code where `log_variance` is None.

    Attributes:
        mean: posterior mean or code, `(batch, *latent)`.
        log_variance: log of the posterior variance, `(batch, *latent)`, or None.
        layout: where the encoder returned several groups, how they lie in the above, which are then `(batch, units)`.
    """

    mean: Tensor
    log_variance: Tensor | None
    layout: Layout | None = None

    @property
    def std(self) -> Tensor:
        """Posterior standard deviation, `(batch, *latent)`; zeros for a deterministic code."""
        if self.log_variance is None:
            return torch.zeros_like(self.mean)
        return (0.5 * self.log_variance).exp()

    def __getitem__(self, rows: Tensor | slice) -> Posterior:
        """The posteriors of some rows of the batch."""
        log_variance = None if self.log_variance is None else self.log_variance[rows]
        return Posterior(mean=self.mean[rows], log_variance=log_variance, layout=self.layout)


def read_posterior(output: Any, scale: Scale | None = None, *, doubt: bool = True) -> Posterior:
    """Read an encoder's output.

    Args:
        output: a tensor; a pair `(mean, scale)`; a `torch.distributions` Normal or Independent of
            one; an object or mapping with `latent_dist`, `embedding`/`log_covariance`, `mean`/`logvar`,
            or with a code (`embedding`, `latents` or `latent`) and no tensor beside it; a named tuple with
            `mean`/`logvar` among its members, in any order; or a tuple or list of two or more of these, none of them
            a bare tensor, which are the groups of one latent: levels of a ladder, steps of a recurrence. Codes in
            groups are 1-tuples. A pair of tensors is never two groups.
        scale: what the second member of a plain pair, or the spread of a named tuple, is; None means a log-variance.
        doubt: whether to refuse a plain pair whose second member is positive everywhere, so that it
            may be no log-variance, which costs a look at the values; and two pairs of one shape where `scale` is
            None, which may be (means, log-variances) of two groups.

    Raises:
        EncoderOutputError: the output cannot be told apart without guessing.
    """
    output = _unwrapped(output)
    if _is_grouped(output):
        return _from_groups(output, scale, doubt)
    return _read_one(output, scale, doubt)


def _read_one(output: Any, scale: Scale | None, doubt: bool) -> Posterior:
    if isinstance(output, Tensor):
        return Posterior(mean=_real(output, "the code"), log_variance=None)
    if isinstance(output, Distribution):
        return _from_distribution(output)
    if (named := _from_names(output, scale)) is not None:
        return named
    if isinstance(output, (tuple, list)):
        return _from_sequence(output, scale, doubt)
    for name in _CODES:
        if isinstance(code := _member(output, name), Tensor) and _tensors_in(output) <= 1:
            return Posterior(mean=_real(code, name), log_variance=None)
    raise EncoderOutputError(f"the encoder returned {describe(output)}, which could mean several things. {TWO_WAYS}.")


def read_reconstruction(output: Any) -> Tensor:
    """Read a decoder's output: a tensor, a distribution's mean, `reconstruction` or `sample`.

    Raises:
        EncoderOutputError: the output cannot be read without guessing.
    """
    output = _unwrapped(output, posterior=False)
    if isinstance(output, Tensor):
        return _real(output, "the reconstruction")
    if isinstance(output, Distribution):
        return _real(output.mean, "the reconstruction")
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
    output = _unwrapped(output, posterior=False)
    while isinstance(output, Independent):
        output = output.base_dist
    return _real(output.scale, "the output's standard deviation") if isinstance(output, Normal) else None


def _unwrapped(output: Any, *, posterior: bool = True) -> Any:
    """What an output wraps by itself, as the only member or as `latent_dist`; a few layers of it, for it may be endless."""
    for _ in range(_LAYERS):
        if isinstance(output, (tuple, list)) and len(output) == 1:
            output = output[0]
        elif posterior and not _told(output) and (inner := _member(output, "latent_dist")) is not None:
            output = inner
        else:
            break
    return output


def _told(output: Any) -> bool:
    return isinstance(output, (Tensor, Distribution, tuple, list))


def _is_grouped(output: Any) -> bool:
    several = isinstance(output, (tuple, list)) and len(output) > 1
    return several and not any(isinstance(member, Tensor) for member in output)


def _from_groups(output: Sequence[Any], scale: Scale | None, doubt: bool) -> Posterior:
    """Several posteriors as one flat one; they are independent of each other, as the units of a group are.

    Raises:
        EncoderOutputError: a group that cannot be read, groups of another batch or kind, or pairs that may be lists.
    """
    if doubt and scale is None and _may_be_lists(output):
        raise EncoderOutputError(
            f"the encoder returned {describe(output)}: it may be ((mean, log_variance), (mean, log_variance)) of two groups or "
            "their (means, log_variances). Say which, in one of two ways: scale='log_variance', scale='variance' or "
            "scale='std', whichever the second member of a group's pair is; or return a torch.distributions.Normal a group."
        )
    groups = [_group(output, number, scale, doubt) for number in range(len(output))]
    means, seconds = [g.mean for g in groups], [g.log_variance for g in groups if g.log_variance is not None]
    if any(mean.ndim == 0 for mean in means) or len({len(mean) for mean in means}) > 1:
        raise EncoderOutputError(
            f"the groups of a latent must have one batch, got {', '.join(str(tuple(mean.shape)) for mean in means)}"
        )
    if len(seconds) not in (0, len(groups)):
        raise EncoderOutputError(
            f"the encoder returned {describe(output)}, some groups of it with a variance and some without; give all a "
            f"variance or none. {GROUPS}."
        )
    layout = Layout(shapes=tuple(tuple(mean.shape[1:]) for mean in means))
    log_variance = layout.joined(seconds) if seconds else None
    return Posterior(mean=layout.joined(means), log_variance=log_variance, layout=layout)


def _group(output: Sequence[Any], number: int, scale: Scale | None, doubt: bool) -> Posterior:
    try:
        return _read_one(_unwrapped(output[number]), scale, doubt)
    except EncoderOutputError as error:
        raise EncoderOutputError(f"group {number + 1} of {len(output)}: {error} {GROUPS}.") from error


def _may_be_lists(output: Sequence[Any]) -> bool:
    """Whether (means, log-variances) of two groups would look the same."""
    if len(output) != 2 or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in output):
        return False
    members = [member for pair in output for member in pair]
    return all(isinstance(m, Tensor) for m in members) and len({m.shape for m in members}) == 1


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


def _from_names(output: Any, scale: Scale | None) -> Posterior | None:
    """The Gaussian that members of an object, a mapping or a named tuple are called, in whichever order they stand.

    A named tuple is a pair as well, so a scale that is given is that of its member, whatever that is called.
    """
    for mean, log_variance in _PAIRS:
        pair = _member(output, mean), _member(output, log_variance)
        if isinstance(pair[0], Tensor) and isinstance(pair[1], Tensor):
            return _from_pair(pair[0], pair[1], (scale if isinstance(output, tuple) else None) or "log_variance")
    return None


def _from_sequence(output: tuple[Any, ...] | list[Any], scale: Scale | None, doubt: bool) -> Posterior:
    tensors = [item for item in output if isinstance(item, Tensor)]
    if len(output) != 2 or len(tensors) != 2 or tensors[0].shape != tensors[1].shape:
        raise EncoderOutputError(
            f"the encoder returned {describe(output)}; a pair of equal shapes (mean, log_variance) was expected. {TWO_WAYS}. "
            f"{GROUPS}."
        )
    mean, second = _real(tensors[0], "the mean"), _real(tensors[1], f"the {scale or SCALES[0]}")
    if doubt and scale is None and second.ndim and not second.is_meta and len(second) > 1 and bool((second > 0).all()):
        raise EncoderOutputError(
            "the encoder returned a pair whose second member is positive everywhere: it may be a standard deviation "
            "or a variance rather than the log-variance that a plain pair stands for. Say which, in one of two ways: "
            "scale='log_variance', scale='variance' or scale='std'; or return a torch.distributions.Normal."
        )
    return _from_pair(mean, second, scale or "log_variance")


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
    if tensor.layout != torch.strided:
        raise EncoderOutputError(f"{what} is no dense tensor but a {tensor.layout} one; return a dense one")
    if tensor.ndim and 0 in tensor.shape[1:]:
        raise EncoderOutputError(f"{what} has the shape {tuple(tensor.shape)}, which holds no units for an input")
    return tensor.float() if torch.finfo(tensor.dtype).bits < 32 else tensor


def _member(output: Any, name: str) -> Any:
    if isinstance(output, Mapping):
        return cast("Mapping[str, Any]", output).get(name)
    return getattr(output, name, None)


def _tensors_in(output: Any) -> int:
    members = output if isinstance(output, Mapping) else getattr(output, "__dict__", {})
    return sum(isinstance(member, Tensor) for member in members.values())


def describe(output: Any, layers: int = 3) -> str:
    """An encoder's or decoder's output in words, for messages: its outer layers, and the first of many members."""
    if isinstance(output, Tensor):
        return f"a tensor {tuple(output.shape)}"
    if isinstance(output, (tuple, list)) and layers:
        inside = [describe(item, layers - 1) for item in output[:_NAMED]]
        return f"a {type(output).__name__} of {len(output)} ({', '.join(inside)}{_more(output)})"
    if isinstance(output, Mapping):
        names = ", ".join(str(name)[:_NAME] for name in itertools.islice(output, _NAMED))
        return f"a {type(output).__name__} with {names}{_more(output)}"
    return f"a {type(output).__name__}"


def _more(output: Sized) -> str:
    return ", ..." if len(output) > _NAMED else ""
