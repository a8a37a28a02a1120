"""Upper bounds of spectral norms: never below the true one, which power iteration alone cannot promise.

All are computed in float64 and widened by `MARGIN`, which is far more than what LAPACK, a product or an FFT
loses there: their errors are a small multiple of the dimension times 1e-16, relative to the norm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

MARGIN = 1e-9
EIGENVALUES = 5
"""Multiply-adds of a symmetric matrix's eigenvalues, about, over the cube of its size."""
_FREQUENCY_WORK = 2**31


def largest_eigenvalue(gram: Tensor) -> float:
    """An upper bound of the largest eigenvalue of a symmetric positive semidefinite matrix, tight to rounding."""
    if not bool(gram.isfinite().all()):
        return math.inf
    return max(0.0, float(torch.linalg.eigvalsh(gram)[-1])) * (1 + MARGIN)


def norm_of_matrix(matrix: Tensor) -> float:
    """An upper bound of ||A||_2, tight to rounding, from the smaller Gram matrix."""
    matrix = matrix.double()
    gram = matrix @ matrix.mT if matrix.shape[0] <= matrix.shape[1] else matrix.mT @ matrix
    return math.sqrt(largest_eigenvalue(gram))


def work_of_norm(rows: int, columns: int) -> float:
    """Multiply-adds, about, of `norm_of_matrix`: a Gram matrix, and its eigenvalues."""
    small = min(rows, columns)
    return float(rows * columns * small + EIGENVALUES * small**3)


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """A convolution with zero padding, or the transpose of one; its norm is bounded at any input size.

    A convolution at a finite size is a piece of the convolution on a torus that is large enough for nothing to wrap
    around: zero padding, cropping and striding pick rows and columns of it. Its norm is thus at most the torus's,
    which the Fourier transform makes block diagonal (Sedghi et al. 2019, arXiv 1805.10408, for stride 1).

    Attributes:
        weight: `(out, in / groups, *kernel)` of the convolution (for a transposed one: of the one it transposes).
        stride: one a spatial axis.
        dilation: one a spatial axis.
        groups: of channels; the operator is block diagonal in them.
        size: spatial size on the side of the convolution's input, with its padding.
    """

    weight: Tensor
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    size: tuple[int, ...]

    def norm(self) -> float:
        """The least of three upper bounds of the spectral norm."""
        blocks = self.weight.detach().double().chunk(self.groups)
        return max(min(self._by_patches(block), self._by_taps(block), self._by_frequencies(block)) for block in blocks)

    @property
    def work(self) -> float:
        """Multiply-adds that `norm` takes, about."""
        out, taken = self.weight.shape[0] // self.groups, self.weight.shape[1]
        taps = math.prod(self.weight.shape[2:])
        torus, rows, columns = self._torus(self.weight.shape[0] // self.groups)
        small, places = min(rows, columns), math.prod(torus)
        frequencies = places * (4 * rows * columns * small + 4 * EIGENVALUES * small**3)
        tried = frequencies if places * rows * columns * small <= _FREQUENCY_WORK else 0
        return self.groups * (work_of_norm(out, taken * taps) + taps * work_of_norm(out, taken) + tried)

    def _torus(self, out: int) -> tuple[list[int], int, int]:
        """Size of the torus of one group's phases, and of a block of its block diagonal."""
        taps = [
            math.ceil((d * (k - 1) + 1) / s)
            for k, s, d in zip(self.weight.shape[2:], self.stride, self.dilation, strict=True)
        ]
        torus = [math.ceil(n / s) + t for n, s, t in zip(self.size, self.stride, taps, strict=True)]
        return torus, out, self.weight.shape[1] * math.prod(self.stride)

    def _by_patches(self, weight: Tensor) -> float:
        """Norm of the kernel as a matrix, times the root of how many patches share a pixel."""
        shared = (overlap(k, s, d) for k, s, d in zip(weight.shape[2:], self.stride, self.dilation, strict=True))
        return math.sqrt(math.prod(shared)) * norm_of_matrix(weight.flatten(1)) * (1 + MARGIN)

    def _by_taps(self, weight: Tensor) -> float:
        """A convolution is a sum of shifts, each followed by one tap's matrix."""
        return sum(norm_of_matrix(tap) for tap in weight.flatten(2).unbind(2)) * (1 + MARGIN)

    def _by_frequencies(self, weight: Tensor) -> float:
        """The largest block of the torus's block diagonal; infinite where that is too much work."""
        torus, rows, columns = self._torus(len(weight))
        if math.prod(torus) * rows * columns * min(rows, columns) > _FREQUENCY_WORK:
            return math.inf
        phases = _phases(weight, self.stride, self.dilation)
        spectrum = torch.fft.fftn(phases, s=torus, dim=tuple(range(2, phases.ndim)))
        blocks = spectrum.flatten(2).permute(2, 0, 1)
        gram = blocks @ blocks.mH if rows <= columns else blocks.mH @ blocks
        return math.sqrt(max(0.0, float(torch.linalg.eigvalsh(gram).max()))) * (1 + MARGIN)


def overlap(kernel: int, stride: int, dilation: int) -> int:
    """How many windows of a strided, dilated kernel can share one position."""
    return math.ceil(kernel / (stride // math.gcd(stride, dilation)))


def _phases(weight: Tensor, stride: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """The kernel of the same convolution with stride 1, over the input's phases as channels.

    With k = s q + p: y[i] = sum over k of w[k] x[s i + k] = sum over p and q of w[s q + p] x_p[i + q], x_p[j] = x[s j + p].
    """
    for axis, (s, d) in enumerate(zip(stride, dilation, strict=True), start=2):
        taps = weight.shape[axis]
        spread = weight.new_zeros(*weight.shape[:axis], d * (taps - 1) + 1, *weight.shape[axis + 1 :])
        spread.index_copy_(axis, d * torch.arange(taps), weight)
        short = -spread.shape[axis] % s
        padding = reduce(lambda pads, _: [0, 0, *pads], range(weight.ndim - 1 - axis), [0, short])
        weight = F.pad(spread, padding)
        weight = weight.unflatten(axis, (-1, s)).movedim(axis + 1, 1).flatten(1, 2)
    return weight
