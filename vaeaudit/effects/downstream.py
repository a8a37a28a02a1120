"""What an attack costs those who use latents or reconstructions: a linear classifier on each of them.

Kuzina, Welling and Tomczak (2022) call the share of attacked images that keep the class *predicted* for the clean one the
adversarial accuracy; accuracy against the labels stands beside it. Their classifier is fitted by stochastic gradients
on the training data. Here no training data are needed: the images are cut into folds, and an image is judged,
clean and attacked, by a classifier fitted to the other folds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeaudit.attacks.objective import checked_inputs
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.effects.attacked import checked_attack, digests
from vaeaudit.effects.logistic import Floats, Integers, fit_logistic
from vaeaudit.effects.refusal import NotMeasured
from vaeaudit.effects.spanned import LIMIT, Spanned, bytes_of, spanned
from vaeaudit.errors import DataError, OptionError

Bools = NDArray[np.bool_]
Kind = Literal["latents", "reconstructions"]
_PARTS: dict[Kind, str] = {"latents": "encoder", "reconstructions": "decoder"}


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What one kind of classifier makes of clean and of attacked images.

    Attributes:
        features: what it sees.
        labels: of the attacked images, `(attacked,)`.
        clean: class predicted for x, `(attacked,)`.
        attacked: class predicted for x_a, `(attacked, budgets)`.
        held_out: whether the label is predicted, for every image of the data, each by a classifier that did not
            learn from it, `(images,)`.
        chance: accuracy of always naming the most frequent class.
        converged: whether every fold's classifier came to its optimum.
    """

    features: Kind
    labels: Integers
    clean: Integers
    attacked: Integers
    held_out: Bools
    chance: float
    converged: bool

    @property
    def kept(self) -> Bools:
        """Whether x_a keeps the class predicted for x, `(attacked, budgets)`."""
        found: Bools = self.attacked == self.clean[:, None]
        return found

    @property
    def adversarial_accuracy(self) -> Floats:
        """Share that keeps it, `(budgets,)`; higher is more robust, 1 at no distortion."""
        return _share(self.kept)

    @property
    def clean_right(self) -> Bools:
        """Whether x is given its label, `(attacked,)`."""
        found: Bools = self.clean == self.labels
        return found

    @property
    def attacked_right(self) -> Bools:
        """Whether x_a is given the label of x, `(attacked, budgets)`."""
        found: Bools = self.attacked == self.labels[:, None]
        return found

    @property
    def accuracy(self) -> float:
        """Share of attacked images that are given their label before the attack."""
        return float(self.clean_right.mean())

    @property
    def attacked_accuracy(self) -> Floats:
        """Share that is given it after the attack, `(budgets,)`; higher is more robust."""
        return _share(self.attacked_right)

    @property
    def held_out_accuracy(self) -> float:
        """Accuracy over all images of the data; near `chance`, this classifier says nothing about attacks."""
        return float(self.held_out.mean())


@dataclass(frozen=True, kw_only=True)
class Downstream:
    """A classifier on posterior means, and one on mean reconstructions.

    Attributes:
        latents: what the one on posterior means says.
        reconstructions: what the one on mean reconstructions says.
        folds: into which the images were cut.
        penalty: weight of the classifiers' squared penalty.
    """

    latents: Judgement
    reconstructions: Judgement
    folds: int
    penalty: float


def downstream(
    ae: Autoencoder,
    images: Tensor,
    labels: Any,
    adversarial: Tensor,
    *,
    rows: Any = None,
    folds: int = 5,
    penalty: float = 1.0,
    seed: int = 0,
) -> Downstream | NotMeasured:
    """Fit classifiers to clean images, and ask them about attacked ones.

    Equal images share a fold, folds hold equal parts of every class, and who is in which follows from what the images show
    and the seed: nothing depends on their order.

    Args:
        ae: the model.
        images: all images that there are labels for, `(images, *event)`.
        labels: their classes, integers, `(images,)`; None where there are none.
        adversarial: x_a of some of them, `(attacked, budgets, *event)`.
        rows: which of the images were attacked, `(attacked,)`; None means all, in their order.
        folds: into how many parts the images are cut.
        penalty: weight of half the squared length of a classifier's weights, beside a sum over images.
        seed: seed of the folds, and of the model's randomness, should it have any.

    Returns:
        What the classifiers say; or why there are none: no labels, a single class, fewer different images of a class
        than folds, an encoder or decoder that returns NaN or infinite values, or more features of more images than
        are fitted in memory.

    Raises:
        DataError: images or labels that do not belong together.
        OptionError: folds or a penalty that there cannot be.
    """
    if folds < 2 or not 0 < penalty < np.inf:
        raise OptionError(f"downstream expects at least 2 folds and a positive penalty, got {folds} and {penalty}")
    if labels is None:
        return NotMeasured(reason="a classifier needs labels, and the data have none; pass labels with the images")
    images = checked_inputs(ae, images, "images")
    classes, names = _checked_labels(labels, len(images))
    chosen = _checked_rows(rows, len(images))
    attacked = checked_attack(ae, images[torch.from_numpy(chosen).to(images.device)], adversarial)
    prints = digests(images)
    if (reason := _too_few(classes, names, prints, folds)) is not None:
        return reason
    cut = _Cut(
        classes=classes, names=names, rows=chosen, folds=_folds(classes, prints, folds, seed),
        order=np.argsort(np.array(prints), kind="stable"), penalty=penalty,
    )  # fmt: skip
    with ae.at_rest(seed):
        moved = attacked.adversarial.flatten(0, 1)
        latents = cut.asked("latents", lambda x: ae.posteriors(x).mean, images, moved)
        if isinstance(latents, NotMeasured):
            return latents
        reconstructions = cut.asked("reconstructions", ae.reconstructions, images, moved)
        if isinstance(reconstructions, NotMeasured):
            return reconstructions
    return Downstream(latents=latents, reconstructions=reconstructions, folds=folds, penalty=penalty)


@dataclass(frozen=True, kw_only=True)
class _Cut:
    """Images cut into folds, `(images,)` each, and which of them were attacked."""

    classes: Integers
    names: Integers
    rows: Integers
    folds: Integers
    order: Integers
    penalty: float

    def asked(
        self, kind: Kind, features: Callable[[Tensor], Tensor], images: Tensor, moved: Tensor
    ) -> Judgement | NotMeasured:
        """What a classifier of these features says of images `(images, *event)` and attacked `(attacked * budgets, *event)`."""
        clean, attacked = features(images).flatten(1), features(moved).flatten(1)
        if not bool(clean.isfinite().all() & attacked.isfinite().all()):
            return NotMeasured(
                reason=f"the {_PARTS[kind]} returns NaN or infinite values, which no classifier can learn from or judge; "
                "check it at the images and at the attacked ones"
            )
        if (needed := bytes_of(clean)) > LIMIT:
            return NotMeasured(
                reason=f"a classifier of {clean.shape[1]:,} features of {len(clean):,} {kind} takes {needed:,} bytes, more "
                f"than {LIMIT:,}; give fewer images"
            )
        return self.judged(kind, spanned(clean, attacked, self.order))

    def judged(self, kind: Kind, features: Spanned) -> Judgement:
        """Cross-fit."""
        clean, attacked = features.clean, features.attacked
        on_clean = np.empty(len(clean), np.int64)
        on_attacked = np.empty((len(self.rows), len(attacked) // len(self.rows)), np.int64)
        attacked = attacked.reshape(*on_attacked.shape, clean.shape[1])
        converged = True
        for fold in np.unique(self.folds):
            # in an order of their own, which sums are rounded in
            learnt = self.order[self.folds[self.order] != fold]
            fit = fit_logistic(clean[learnt], self.classes[learnt], len(self.names), self.penalty, features.width)
            here, there = self.folds == fold, self.folds[self.rows] == fold
            on_clean[here] = fit.classes(clean[here])
            on_attacked[there] = fit.classes(attacked[there])
            converged = converged and fit.converged
        return Judgement(
            features=kind, labels=self.names[self.classes[self.rows]], clean=self.names[on_clean[self.rows]],
            attacked=self.names[on_attacked], held_out=on_clean == self.classes,
            chance=float(np.bincount(self.classes).max() / len(self.classes)), converged=converged,
        )  # fmt: skip


def _folds(classes: Integers, prints: list[str], folds: int, seed: int) -> Integers:
    """The fold of each image, `(images,)`: those of a class, in a random order, are dealt out in turn."""
    fold_of: dict[str, int] = {}
    turn = 0
    for one in range(int(classes.max()) + 1):
        # equal images of different classes go where the first of them went
        group = sorted({prints[i] for i in np.flatnonzero(classes == one)} - fold_of.keys())
        for place in np.random.default_rng((seed % 2**64, one)).permutation(len(group)):
            fold_of[group[place]] = turn % folds
            turn += 1
    return np.array([fold_of[found] for found in prints], np.int64)


def _too_few(classes: Integers, names: Integers, prints: list[str], folds: int) -> NotMeasured | None:
    counts = [len({prints[i] for i in np.flatnonzero(classes == one)}) for one in range(len(names))]
    if len(names) < 2:
        return NotMeasured(reason=f"a classifier needs two classes, and all images have the label {names[0]}")
    if min(counts) >= folds:
        return None
    scarce = ", ".join(f"{name} ({n})" for name, n in zip(names, counts, strict=True) if n < folds)
    return NotMeasured(
        reason=f"{folds} folds need as many different images of every class, and there are fewer of {scarce}; give more "
        "labelled images, or take fewer folds"
    )


def _checked_labels(labels: Any, count: int) -> tuple[Integers, Integers]:
    """Classes from 0 on, `(images,)`, and the label of each class."""
    given = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if given.shape != (count,) or given.dtype.kind not in "iu":
        raise DataError(f"labels expect one integer an image, ({count},), got {given.dtype} of shape {given.shape}")
    names, classes = np.unique(given.astype(np.int64), return_inverse=True)
    return classes.astype(np.int64), names


def _checked_rows(rows: Any, count: int) -> Integers:
    if rows is None:
        return np.arange(count)
    given = rows.detach().cpu().numpy() if isinstance(rows, Tensor) else np.asarray(rows)
    if given.ndim != 1 or given.dtype.kind not in "iu" or (len(given) and not 0 <= given.min() <= given.max() < count):
        raise DataError(f"rows expect positions among the {count} images, got {given.dtype} of shape {given.shape}")
    return given.astype(np.int64)


def _share(found: Bools) -> Floats:
    share: Floats = found.mean(0)
    return share
