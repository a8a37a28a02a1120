"""Classifiers on latents and reconstructions: their optimum, their folds, and attacks whose success is known."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vaeaudit import Autoencoder, DataError, ModelError, OptionError
from vaeaudit.effects import Downstream, NotMeasured, downstream
from vaeaudit.effects.downstream import _folds
from vaeaudit.effects.logistic import fit_logistic

FREE = (-math.inf, math.inf)


@pytest.mark.parametrize(("rows", "features"), [(60, 4), (20, 50)])
@pytest.mark.parametrize("penalty", [0.1, 5.0])
def test_the_fit_is_the_optimum_of_its_objective(rows: int, features: int, penalty: float) -> None:
    """It is convex, so a vanishing gradient, by torch, says all."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(rows, features)) * np.logspace(0, -3, features) + 7
    classes = generator.integers(0, 3, rows)
    fit = fit_logistic(x, classes, 3, penalty)
    assert fit.converged
    weights = torch.from_numpy(fit.weights).requires_grad_()
    offsets = torch.from_numpy(fit.offsets).requires_grad_()
    centred = torch.from_numpy(x - x.mean(0))
    logits = centred / centred.square().mean().sqrt() @ weights + offsets
    np.testing.assert_allclose(logits.detach().numpy(), fit.logits(x), atol=1e-10)
    loss = nn.functional.cross_entropy(logits, torch.from_numpy(classes), reduction="sum")
    loss = loss + penalty / 2 * weights.square().sum()
    for gradient in torch.autograd.grad(loss, (weights, offsets)):
        assert float(gradient.abs().max()) < 1e-4


def _identity() -> Autoencoder:
    """A model whose latents are its inputs, and whose reconstructions are turned around."""
    return Autoencoder(lambda x: x, lambda z: -z, FREE, modules=(nn.Linear(1, 1).double(),))


def _clusters(each: int = 12, spread: float = 0.1) -> tuple[Tensor, np.ndarray, Tensor]:
    """Three well separated classes with labels 3, 5 and 9, in a mixed order; and their centres."""
    centres = torch.tensor([[2.0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(3).repeat(each)
    x = centres[classes] + spread * torch.randn(3 * each, 4, generator=generator, dtype=torch.float64)
    return x, np.array([3, 5, 9])[classes.numpy()], centres


def _judged(*arguments, **options) -> Downstream:
    found = downstream(*arguments, **options)
    assert isinstance(found, Downstream)
    return found


def test_attacks_to_another_class_are_counted() -> None:
    x, labels, centres = _clusters()
    moved = torch.stack([x, x + 0.01, x.clone()], 1)
    fooled = [0, 4, 5, 20]
    moved[fooled, 2] = centres[[1, 2, 0, 0]]
    found = _judged(_identity(), x, labels, moved)
    for judgement in (found.latents, found.reconstructions):
        assert judgement.converged
        assert judgement.held_out_accuracy == judgement.accuracy == 1
        assert judgement.chance == pytest.approx(1 / 3)
        assert judgement.adversarial_accuracy.tolist() == [1, 1, 1 - 4 / 36]
        assert judgement.attacked_accuracy.tolist() == [1, 1, 1 - 4 / 36]
        assert judgement.attacked[fooled, 2].tolist() == [5, 9, 3, 3]
        assert np.flatnonzero(~judgement.kept[:, 2]).tolist() == fooled


def test_what_counts_is_the_predicted_class_and_beside_it_the_label() -> None:
    x, labels, centres = _clusters()
    labels = labels.copy()
    labels[0] = 5  # shows a 3
    moved = torch.stack([x, x], 1)
    moved[0, 1] = centres[1]
    found = _judged(_identity(), x, labels, moved).latents
    assert (found.labels[0], found.clean[0]) == (5, 3)
    assert found.accuracy == found.held_out_accuracy == 35 / 36
    assert found.adversarial_accuracy.tolist() == [1, 35 / 36]
    assert found.attacked_accuracy.tolist() == [35 / 36, 1]  # the attack lands on what the label says


def test_latents_and_reconstructions_are_judged_apart() -> None:
    """A decoder that ignores the latent leaves the reconstruction's classifier nothing to learn."""
    x, labels, _ = _clusters()
    ae = Autoencoder(lambda y: y, torch.zeros_like, FREE, modules=(nn.Linear(1, 1).double(),))
    found = _judged(ae, x, labels, x[:, None])
    assert found.latents.held_out_accuracy == 1
    assert found.reconstructions.held_out_accuracy <= 0.5
    assert found.reconstructions.adversarial_accuracy.tolist() == [1]


def test_no_image_is_judged_by_a_classifier_that_learnt_from_it() -> None:
    """Random labels and more features than images: whoever learnt an image knows its label, others are at chance."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(80, 200, generator=generator, dtype=torch.float64)
    labels = np.arange(80) % 2
    found = _judged(_identity(), x, labels, x[:, None])
    own = fit_logistic(x.numpy(), labels.astype(np.int64), 2, 1.0)
    assert float((own.classes(x.numpy()) == labels).mean()) == 1
    assert abs(found.latents.held_out_accuracy - 0.5) < 3 * math.sqrt(0.25 / 80)
    # nor does a copy of it help
    twice = _judged(_identity(), torch.cat([x, x]), np.concatenate([labels, labels]), x[:, None], rows=range(80))
    assert abs(twice.latents.held_out_accuracy - 0.5) < 3 * math.sqrt(0.25 / 80)


def test_folds_hold_equal_parts_of_every_class_and_equal_images_share_one() -> None:
    prints = [f"{i:03d}" for i in range(90)] + ["007", "050"]
    classes = np.concatenate([np.repeat([0, 1, 2], 30), [0, 2]])
    folds = _folds(classes, prints, 5, 0)
    assert (folds[90], folds[91]) == (folds[7], folds[50])
    for one in range(3):
        assert np.bincount(folds[:90][classes[:90] == one], minlength=5).tolist() == [6] * 5
    assert not np.array_equal(folds, _folds(classes, prints, 5, 1))


def test_the_order_of_images_does_not_matter_nor_that_of_the_attacked() -> None:
    x, labels, _ = _clusters(spread=1.5)
    moved = x[:, None] + torch.randn(36, 2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    first = _judged(_identity(), x, labels, moved)
    assert 0.4 < first.latents.held_out_accuracy < 1
    order = np.random.default_rng(0).permutation(36)
    again = _judged(_identity(), x[order], labels[order], moved[order])
    some = _judged(_identity(), x, labels, moved[[30, 2]], rows=[30, 2])
    for name in ("latents", "reconstructions"):
        one, other, few = (getattr(found, name) for found in (first, again, some))
        assert np.array_equal(one.clean[order], other.clean)
        assert np.array_equal(one.attacked[order], other.attacked)
        assert np.array_equal(one.held_out[order], other.held_out)
        assert np.array_equal(one.attacked[[30, 2]], few.attacked)
        assert few.labels.tolist() == labels[[30, 2]].tolist()


@pytest.mark.parametrize(("low", "span"), [(0.0, 255.0), (-1.0, 2.0), (5.0, 1e-3)])
def test_the_unit_of_pixels_does_not_matter(low: float, span: float) -> None:
    x, labels, _ = _clusters(spread=1.5)
    features, classes = x.numpy(), np.unique(labels, return_inverse=True)[1]
    one, other = fit_logistic(features, classes, 3, 1.0), fit_logistic(low + span * features, classes, 3, 1.0)
    np.testing.assert_allclose(other.logits(low + span * features), one.logits(features), atol=1e-4)


def test_posterior_means_are_what_the_classifier_sees(linear: ModuleType) -> None:
    model = linear.linear_gaussian(n=6, k=2, slope=1.0)
    x = linear.points(6, 60)
    means = model.encode(x)[0]
    labels = (means[:, 0] > means[:, 0].median()).long()
    found = _judged(model.autoencoder, x, labels, x[:, None])
    assert found.latents.held_out_accuracy > 0.85


def test_what_cannot_be_measured_says_why() -> None:
    x, labels, _ = _clusters(each=4)
    for given, reason in (
        (None, "the data have none"),
        (np.full(12, 7), "all images have the label 7"),
        (labels, r"fewer of 3 \(4\), 5 \(4\), 9 \(4\)"),
    ):
        found = downstream(_identity(), x, given, x[:, None])
        assert isinstance(found, NotMeasured)
        with pytest.raises(ValueError, match=reason):
            raise ValueError(found.reason)
    same = downstream(_identity(), torch.cat([x] * 2), np.concatenate([labels] * 2), x[:, None], rows=range(12))
    assert isinstance(same, NotMeasured)
    assert isinstance(downstream(_identity(), x, labels, x[:, None], folds=4), Downstream)


def test_what_makes_no_sense_is_refused() -> None:
    x, labels, _ = _clusters()
    ae = _identity()
    for options in ({"folds": 1}, {"penalty": 0.0}):
        with pytest.raises(OptionError, match="at least 2 folds and a positive penalty"):
            downstream(ae, x, labels, x[:, None], **options)
    for wrong in (labels[:3], labels + 0.5, labels[:, None]):
        with pytest.raises(DataError, match=r"labels expect one integer an image, \(36,\)"):
            downstream(ae, x, wrong, x[:, None])
    with pytest.raises(DataError, match="rows expect positions among the 36 images"):
        downstream(ae, x, labels, x[:1, None], rows=[36])
    with pytest.raises(DataError, match="adversarial images expect the shape"):
        downstream(ae, x, labels, x[:2, None], rows=[0])
    broken = Autoencoder(lambda y: y, lambda z: z / 0, FREE, modules=(nn.Linear(1, 1).double(),))
    with pytest.raises(ModelError, match="the decoder returns NaN or infinite values"):
        downstream(broken, x, labels, x[:, None])
