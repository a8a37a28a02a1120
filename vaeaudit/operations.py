"""How many floating-point operations a computation takes: counted while it runs, by torch's own formulas."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count


def _of_recurrence(inputs: Tensor, *further: Any, **_: Any) -> int:
    """Operations of a fused recurrent layer, which multiplies each of its weight matrices once a step."""
    candidates = further[0] if isinstance(further[0], (list, tuple)) else further[:2]
    steps = inputs.numel() // inputs.shape[-1]
    return 2 * steps * sum(int(one.numel()) for one in candidates if one.ndim == 2)


def _of_attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """Operations of the two products of scaled dot-product attention."""
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))


_OURS: Mapping[str, Callable[..., int]] = {
    "aten::mkldnn_rnn_layer": _of_recurrence, "aten::_cudnn_rnn": _of_recurrence,
    "aten::_scaled_dot_product_flash_attention_for_cpu": _of_attention,
}  # fmt: skip
"""What torch has no formula for (of attention on a CPU: before 2.6), while it has one for the products into which other
machines split it."""


@contextlib.contextmanager
def counted_operations() -> Iterator[Counting]:
    """Inside, operations are counted, two a multiply-add, without gradients.

    Matrix products, convolutions, attention and recurrent layers count; what torch has no formula for, such as an
    extension's own kernels, counts as nothing.
    """
    with torch.no_grad(), _attention_in_parts(), Counting() as counting:
        yield counting


@contextlib.contextmanager
def _attention_in_parts() -> Iterator[None]:
    """Inside, attention is not computed by the fused kernels of evaluation mode, which have no formula."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


class Counting(TorchDispatchMode):
    """Counts as torch's `FlopCounterMode` does, which imports torch's compiler first.

    Attributes:
        operations: so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports its compiler, some seconds, to keep it away from the method below

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count it."""
        kwargs = kwargs or {}
        formula = _OURS.get(func.name()) or flop_registry.get(func._overloadpacket)
        if formula is None:
            with self:  # in inference mode layers arrive whole, and it is their parts that have formulas
                parts = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if parts is NotImplemented else parts
        out = func(*args, **kwargs)
        self.operations += formula(*args, **kwargs, out_val=out)
        return out
