"""What rows remember of their curvature, and the subspace step it leads to.

Each row keeps its last few pairs of step s and change of gradient y = g(x + s) - g(x). They stand for the
limited-memory BFGS matrix in its compact form, B = theta I - W M W' with W = [Y, theta S] (Byrd, Nocedal and
Schnabel 1994, eq. 3.2). A known multiple of the identity in the Hessian is never learnt but added: y + shift s
takes the place of y, so pairs stay valid when the shift changes. The step minimises the model over the free
coordinates alone, the subspace minimisation of L-BFGS-B (Byrd, Lu, Nocedal and Zhu 1995, section 5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

SMALLEST_COSINE = 1e-8
"""A pair is used if s'y is above this fraction of |s| |y|: only then B stays positive definite."""
_CACHED_BYTES = 2**22
_TINY = torch.finfo(torch.float64).tiny


@dataclass(kw_only=True)
class Curvature:
    """The pairs of each row; `m` is how many are kept.

    Attributes:
        pairs: y / |s|, then s / |s|, then what nobody reads, `(rows, 2 m + 2, n)`.
        gram: inner products over all coordinates, `(rows, 2 m + 2, 2 m + 2)`, float64.
        age: when each pair came, counted from 1; 0 where there is none, `(rows, m)`.
        newest: age of the newest, `(rows,)`.
    """

    pairs: Tensor
    gram: Tensor
    age: Tensor
    newest: Tensor

    @classmethod
    def none(cls, like: Tensor, memory: int) -> Curvature:
        """No pairs yet for rows like these, `(rows, n)`."""
        rows, n = like.shape
        return cls(
            pairs=like.new_zeros(rows, 2 * memory + 2, n),
            gram=like.new_zeros(rows, 2 * memory + 2, 2 * memory + 2, dtype=torch.float64),
            age=torch.zeros(rows, memory, dtype=torch.long, device=like.device),
            newest=torch.zeros(rows, dtype=torch.long, device=like.device),
        )

    def select(self, rows: Tensor) -> Curvature:
        """These rows alone."""
        return Curvature(
            pairs=self.pairs[rows], gram=self.gram[rows], age=self.age[rows], newest=self.newest[rows]
        )  # fmt: skip

    def joined(self, others: Curvature) -> Curvature:
        """With other rows behind."""
        return Curvature(**{
            field.name: torch.cat([getattr(self, field.name), getattr(others, field.name)]) for field in fields(self)
        })  # fmt: skip

    def forget(self, rows: Tensor) -> None:
        """Drop the pairs of the rows that are True, `(rows,)`."""
        self.age.masked_fill_(rows[:, None], 0)

    def remember(self, moved: Tensor, change: Tensor, rows: Tensor) -> None:
        """Put the pair of the rows that are True in the place of their oldest; all `(rows, ...)`."""
        memory = self.age.shape[1]
        oldest = self.age.argmin(1)
        # what is not kept is written where nobody reads it: telling such rows apart would cost a synchronisation
        spare = torch.arange(2 * memory, 2 * memory + 2, device=oldest.device)
        places = torch.where(rows[:, None], torch.stack([oldest, oldest + memory], 1), spare)
        every = torch.arange(len(oldest), device=oldest.device)
        unit = torch.linalg.vector_norm(moved, dim=1, keepdim=True).clamp_min(torch.finfo(moved.dtype).tiny)
        new = torch.stack([change, moved], 1).div_(unit[:, None])
        self.pairs[every[:, None], places] = new
        (products,) = _batched(lambda a, b: ((a @ b.mT).double(),), new, self.pairs)
        self.gram[every[:, None], places] = products
        self.gram[every[:, None], :, places] = products
        self.newest += rows
        self.age[every, oldest] = torch.where(rows, self.newest, self.age[every, oldest])

    def shifted(self, shift: Tensor) -> Model:
        """The curvature with a multiple of the identity added to the Hessian, `(rows,)`, float64."""
        memory = self.age.shape[1]
        own = self.gram.diagonal(dim1=1, dim2=2)
        yy, ss = own[:, :memory], own[:, memory : 2 * memory]
        sy = self.gram.diagonal(-memory, dim1=1, dim2=2)[:, :memory]
        wide = shift[:, None]
        along = torch.addcmul(sy, wide, ss)
        squares = torch.addcmul(yy, wide, sy + along)
        lengths = (squares.clamp_min(0) * ss).sqrt()
        usable = (self.age > 0) & (along > SMALLEST_COSINE * lengths) & (along > _TINY)
        newest = (self.age * usable).argmax(1, keepdim=True)
        steepest = (squares / along.clamp_min(_TINY)).gather(1, newest)[:, 0]
        return Model(curvature=self, shift=shift, usable=usable, known=usable.any(1), steepest=steepest)


@dataclass(frozen=True, kw_only=True)
class Model:
    """The quadratic model of each row.

    Attributes:
        curvature: the pairs.
        shift: multiple of the identity in the Hessian beside them, `(rows,)`.
        usable: pairs of positive curvature, `(rows, m)`.
        known: rows with such a pair, `(rows,)`.
        steepest: y'y / s'y of the newest one, an upper estimate of the curvature, `(rows,)`.
    """

    curvature: Curvature
    shift: Tensor
    usable: Tensor
    known: Tensor
    steepest: Tensor

    def step(self, gradient: Tensor, free: Tensor, theta: Tensor) -> Tensor:
        """Minimiser of the model over the free coordinates, as a step, `(rows, n)`.

        Args:
            gradient: zero on coordinates that are not free, `(rows, n)`.
            free: 1 where a coordinate may move, else 0, `(rows, n)`.
            theta: curvature in all directions that no pair tells of, positive, `(rows,)`.
        """
        pairs = self.curvature.pairs[:, :-2]
        gram, slopes = _batched(_masked_products, pairs, free, gradient)
        weights = self._weights(gram, slopes, theta).to(gradient.dtype)
        correction = (weights[:, None] @ pairs)[:, 0]
        return correction.mul_(free).add_(gradient).div_(-theta.to(gradient.dtype)[:, None])

    def _weights(self, gram: Tensor, slopes: Tensor, theta: Tensor) -> Tensor:
        """Weights of the pairs in -theta times the step, beside the gradient, `(rows, 2 m)`.

        With W = [Y + shift S, theta S] and g on the free coordinates, the step is -(g + W (theta M^-1 - W'W)^-1 W'g) / theta.
        It is solved for the weights of Y and S themselves, (A - [Y, S]'[Y, S]) weights = [Y, S]'g: in A the powers of theta and
        of the shift that would cancel each other have gone.
        """
        memory = self.usable.shape[1]
        y, s = slice(memory), slice(memory, 2 * memory)
        sy, ss = self.curvature.gram[:, s, y], self.curvature.gram[:, s, s]
        later = self.curvature.age[:, :, None] > self.curvature.age[:, None, :]
        theta, shift, wide = theta[:, None], self.shift[:, None], self.shift[:, None, None]
        lower = sy * later
        across = torch.addcmul(lower, wide, ss * ~later, value=-1)
        own_sy, own_ss = sy.diagonal(dim1=1, dim2=2), ss.diagonal(dim1=1, dim2=2)
        matrix = gram.neg()
        matrix[:, y, y].addcmul_(wide, lower + lower.mT, value=-1)
        matrix.diagonal(dim1=1, dim2=2)[:, y].sub_(theta * own_sy + shift * (theta - shift) * own_ss)
        matrix[:, y, s].add_(across.mT)
        matrix[:, s, y].add_(across)
        matrix[:, s, s].add_(ss)
        used = self.usable.repeat(1, 2)
        none = torch.eye(2 * memory, dtype=matrix.dtype, device=matrix.device)
        matrix = torch.where(used[:, :, None] & used[:, None, :], matrix, none)
        solution, _ = torch.linalg.solve_ex(matrix, (slopes * used)[:, :, None])
        weights: Tensor = (solution[:, :, 0] * used).nan_to_num(0.0, 0.0, 0.0)
        return weights


def _masked_products(pairs: Tensor, free: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Inner products of the pairs over the free coordinates, and with the gradient, float64."""
    masked = pairs * free[:, None]
    # the gradient on the left: with one row alone, matrix times vector would round differently than in company
    return (masked @ masked.mT).double(), (gradient[:, None] @ masked.mT)[:, 0].double()


def _batched(function: Callable[..., tuple[Tensor, ...]], *arguments: Tensor) -> tuple[Tensor, ...]:
    """Apply a function of rows to as many at a time as a processor's cache holds."""
    rows = len(arguments[0])
    largest = max(argument[0].numel() * argument.element_size() for argument in arguments)
    size = max(1, _CACHED_BYTES // largest)
    if arguments[0].device.type != "cpu" or rows <= size:
        return function(*arguments)
    parts = [function(*some) for some in zip(*(argument.split(size) for argument in arguments), strict=True)]
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))
