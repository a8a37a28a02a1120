"""Encoders and decoders that return, raise or do anything at all either can be audited, or are refused with a reason."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Independent, Laplace, Normal

from vaeaudit import AuditError, Autoencoder, plan

fuzzed = settings(max_examples=120, deadline=None, derandomize=True, phases=[Phase.generate])
N, K = 6, 3
WEIGHT = torch.randn(N, K, generator=torch.Generator().manual_seed(0))
IMAGES = torch.rand(12, N, generator=torch.Generator().manual_seed(1))


def code(x: Tensor) -> Tensor:
    return x.flatten(1).float() @ WEIGHT


def _object(**members: Any) -> Any:
    return types.SimpleNamespace(**members)


RETURNS: dict[str, Callable[[Tensor], Any]] = {
    "code": code,
    "pair": lambda x: (code(x), code(x) - 9),
    "positive pair": lambda x: (code(x), code(x).exp()),
    "list": lambda x: [code(x), code(x) - 9],
    "three": lambda x: (code(x), code(x) - 9, code(x)),
    "empty tuple": lambda x: (),
    "nested tuple": lambda x: (((code(x),),),),
    "very nested tuple": lambda x: __import__("functools").reduce(lambda inner, _: (inner,), range(5000), code(x)),
    "pair of shapes": lambda x: (code(x), code(x)[:, :2]),
    "pair with None": lambda x: (code(x), None),
    "normal": lambda x: Normal(code(x), code(x).exp()),
    "independent": lambda x: Independent(Normal(code(x), 1.0), 1),
    "wide independent": lambda x: Independent(Independent(Normal(code(x)[:, None], 1.0), 1), 1),
    "normal of no spread": lambda x: Normal(code(x), 0 * code(x), validate_args=False),
    "scalar normal": lambda x: Normal(code(x).mean(), 1.0),
    "bernoulli": lambda x: Bernoulli(logits=code(x)),
    "laplace": lambda x: Laplace(code(x), 1.0),
    "categorical": lambda x: Categorical(logits=code(x)),
    "mapping": lambda x: {"mu": code(x), "logvar": code(x) - 9},
    "mapping of a code": lambda x: {"latents": code(x)},
    "mapping of much": lambda x: {"latents": code(x), "other": code(x)},
    "mapping of odd keys": lambda x: {3: code(x), None: 1},
    "object": lambda x: _object(embedding=code(x), log_covariance=code(x) - 9),
    "object of itself": lambda x: _itself(),
    "latent_dist": lambda x: _object(latent_dist=Normal(code(x), 1.0)),
    "class": lambda x: Normal,
    "None": lambda x: None,
    "text": lambda x: "latent",
    "number": lambda x: 3.0,
    "array": lambda x: code(x).detach().numpy(),
    "generator": lambda x: (code(x) for _ in range(2)),
    "raises": lambda x: 1 / 0,
    "raises RecursionError": lambda x: _forever(x),
    "raises StopIteration": lambda x: next(iter(())),
    "raises an empty message": lambda x: _raise(AssertionError()),
}
SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "as it is": lambda z: z,
    "none": lambda z: z[:, :0],
    "one unit": lambda z: z[:, :1],
    "no batch": lambda z: z[0],
    "a number": lambda z: z.sum(),
    "fewer rows": lambda z: z[: len(z) // 2],
    "one row more": lambda z: torch.cat([z, z[:1]]),
    "rows last": lambda z: z.T,
    "wide": lambda z: z[:, :, None, None],
    "expanded": lambda z: z[:, :1].expand(-1, 5),
    "float64": lambda z: z.double(),
    "float16": lambda z: z.half(),
    "bfloat16": lambda z: z.bfloat16(),
    "whole": lambda z: z.round().long(),
    "bool": lambda z: z > 0,
    "complex": lambda z: torch.complex(z, z),
    "NaN": lambda z: z * math.nan,
    "one NaN": lambda z: torch.where(torch.arange(len(z))[:, None] == 1, math.nan, z),
    "infinite": lambda z: z / 0,
    "huge": lambda z: z * 1e38,
    "tiny": lambda z: z * 1e-40,
    "zero": lambda z: 0 * z,
    "constant": lambda z: torch.ones_like(z),
    "detached": lambda z: z.detach(),
    "noisy": lambda z: z + torch.randn_like(z),
    "batch-dependent": lambda z: z - z.mean(0),
    "in place": lambda z: z.detach().add_(1).requires_grad_(z.requires_grad),
    "sparse": lambda z: z.to_sparse(),
    "meta": lambda z: z.to("meta"),
}


def _raise(error: Exception) -> Any:
    raise error


def _forever(x: Any) -> Any:
    return _forever(x)


def _itself() -> Any:
    made = _object()
    made.latent_dist = made
    return made


def check_message(error: AuditError, fewest: int, most: int) -> None:
    """An error's message says something, and not everything."""
    assert fewest < len(str(error)) < most


def shaped(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """An encoder's output with its tensors changed."""
    if isinstance(output, Tensor):
        return change(output)
    if isinstance(output, (tuple, list)) and len(output) == 2:
        return type(output)(shaped(item, change) for item in output)
    if isinstance(output, dict):
        return {key: shaped(item, change) for key, item in output.items()}
    return output


def _planned(ae: Callable[[], Autoencoder], **options: Any) -> None:
    """Plan an audit; what comes of it is figures, or an error of ours that says something."""
    try:
        made = plan(ae(), IMAGES, "quick", pairs=4, strengths=4, **options)
    except AuditError as error:
        check_message(error, 15, 3000)
        return
    assert len(made.series) == 4
    assert bool(made.series.isfinite().all())
    assert bool((made.series > 0).all())


@settings(fuzzed, max_examples=150)
@given(
    returned=st.sampled_from(sorted(RETURNS)), shape=st.sampled_from(sorted(SHAPES)),
    scale=st.sampled_from([None, None, "std", "variance", "log_variance"]),
)  # fmt: skip
def test_whatever_an_encoder_returns(returned: str, shape: str, scale: Any) -> None:
    make, change = RETURNS[returned], SHAPES[shape]

    def encoder(x: Tensor) -> Any:
        return shaped(make(x), change)

    _planned(lambda: Autoencoder(encoder, lambda z: z.float().flatten(1) @ WEIGHT.T[: z[0].numel()], scale=scale))


@fuzzed
@given(returned=st.sampled_from(sorted(RETURNS)), shape=st.sampled_from(sorted(SHAPES)))
def test_whatever_a_decoder_returns(returned: str, shape: str) -> None:
    make, change, whole = RETURNS[returned], SHAPES[shape], WEIGHT.T

    def decoder(z: Tensor) -> Any:
        return shaped(make(z @ whole), change)

    _planned(lambda: Autoencoder(code, decoder))


ODD: tuple[Any, ...] = (
    None, True, 3, -1.5, math.nan, math.inf, 10**400, "x", "", b"x", [], (), (0,), (0, 1), (1, 0), (0, 0), (math.nan, 1),
    (-math.inf, math.inf), ("a", "b"), (None, 1), (0, 10**400), [[0, 1]], {}, {"a": 1}, torch.zeros(3), torch.nn.Linear(2, 2),
    object(), len, types.SimpleNamespace(), ..., "\x00", "cuda:99", "meta", "cpu:7",
)  # fmt: skip


@settings(fuzzed, max_examples=200)
@given(
    name=st.sampled_from([
        "preset", "pairs", "device", "devices", "seed", "strengths", "divergence", "penalty", "precision", "most_pairs",
    ]),
    value=st.sampled_from(ODD),
)  # fmt: skip
def test_whatever_is_passed_as_an_option(name: str, value: Any) -> None:
    options: dict[str, Any] = {"preset": "quick", "pairs": 4, "strengths": 4, name: value}
    try:
        plan(Autoencoder(code, lambda z: z @ WEIGHT.T, bounds=(0, 1)), IMAGES, **options)
    except AuditError as error:
        check_message(error, 15, 1000)


@fuzzed
@given(name=st.sampled_from(["encoder", "decoder", "bounds", "scale", "name", "modules"]), value=st.sampled_from(ODD))
def test_whatever_an_autoencoder_is_made_of(name: str, value: Any) -> None:
    parts: dict[str, Any] = {"encoder": code, "decoder": lambda z: z @ WEIGHT.T, name: value}
    _planned(lambda: Autoencoder(**parts))


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
def test_whatever_is_passed_as_a_model(value: Any) -> None:
    with pytest.raises(AuditError) as caught:
        plan(value, IMAGES)
    assert 15 < len(str(caught.value)) < 1500
