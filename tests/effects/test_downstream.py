"""Classifiers on latents and reconstructions: their optimum, their folds, and attacks whose success is known."""

from __future__ import annotations

import importlib
import math
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vaeaudit import Autoencoder, DataError, OptionError
from vaeaudit.effects import Downstream, NotMeasured, downstream
from vaeaudit.effects.downstream import _folds
from vaeaudit.effects.logistic import fit_logistic
from vaeaudit.effects.spanned import LIMIT, Spanned, bytes_of, spanned

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


@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize("limit", [1.9, 5.0])
def test_a_part_that_is_not_finite_somewhere_is_named_and_nothing_is_raised(part: str, limit: float) -> None:
    """Whether at the images or, after hours of attacks, at attacked ones alone."""

    def breaking(y: Tensor) -> Tensor:
        return torch.where(y.amax(1, keepdim=True) > limit, torch.nan, y)

    x, labels, _ = _clusters()
    moved = x[:, None].clone()
    moved[3] += 10
    encode, decode = (breaking if part == name else torch.clone for name in ("encoder", "decoder"))
    found = downstream(Autoencoder(encode, decode, FREE, modules=(nn.Linear(1, 1).double(),)), x, labels, moved)
    assert isinstance(found, NotMeasured)
    assert found.reason.startswith(f"the {part} returns NaN or infinite values")


def test_features_in_the_span_of_the_images_are_classified_like_the_features_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More features than images, in blocks of columns: the same optimum, and the same classes of what leaves the span."""
    generator = torch.Generator().manual_seed(0)
    clean = 5 + torch.randn(40, 300, generator=generator, dtype=torch.float64) * torch.logspace(1, -6, 300)
    clean[7] = clean[3]  # a direction fewer
    attacked = clean.repeat(3, 1) + torch.randn(120, 300, generator=generator, dtype=torch.float64)
    classes = np.arange(40) % 3
    order = np.random.default_rng(0).permutation(40)
    found = spanned(clean, attacked, order)
    assert found.width == 300
    assert found.clean.shape[1] <= 38
    np.testing.assert_allclose(found.clean @ found.clean.T, _gram(clean), atol=1e-9 * float(clean.square().sum()))
    wide, narrow = clean.numpy()[order[:30]], found.clean[order[:30]]
    learnt = classes[order[:30]]
    usual, pixels = fit_logistic(narrow, learnt, 3, 0.3, found.width), fit_logistic(wide, learnt, 3, 0.3)
    np.testing.assert_array_equal(usual.classes(found.attacked), pixels.classes(attacked.numpy()))
    # two fits stop apart by a gradient of 1e-8 / penalty 0.3 * length of the rows 17 * curvature's root 45: at most 3e-5
    monkeypatch.setattr("vaeaudit.effects.logistic._GRADIENT", 1e-8)
    ours, theirs = fit_logistic(narrow, learnt, 3, 0.3, found.width), fit_logistic(wide, learnt, 3, 0.3)
    assert ours.converged
    assert theirs.converged
    assert ours.scale == pytest.approx(theirs.scale, rel=1e-9)
    np.testing.assert_allclose(ours.logits(found.attacked), theirs.logits(attacked.numpy()), atol=1e-5)


def _gram(rows: Tensor) -> np.ndarray:
    centred = (rows - rows.mean(0)).numpy()
    return centred @ centred.T


def test_blocks_of_columns_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(12, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = spanned(x, x + 1, np.arange(12))
    monkeypatch.setattr("vaeaudit.effects.spanned._BYTES_AT_ONCE", 8 * 24 * 7)
    parts = spanned(x, x + 1, np.arange(12))
    np.testing.assert_allclose(_products_of(parts), _products_of(whole), atol=1e-10)


def _products_of(found: Spanned) -> np.ndarray:
    return np.concatenate([found.clean, found.attacked]) @ found.clean.T


def test_features_that_are_all_alike_are_judged_at_chance() -> None:
    x, labels, _ = _clusters()
    ae = Autoencoder(lambda y: y, lambda z: z.new_zeros(len(z), 90), FREE, modules=(nn.Linear(1, 1).double(),))
    found = _judged(ae, x, labels, x[:, None]).reconstructions
    assert found.held_out_accuracy <= 0.5
    assert found.adversarial_accuracy.tolist() == [1]


def test_too_many_features_of_too_many_images_are_refused_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels, _ = _clusters()
    assert bytes_of(torch.empty(2048, 3 * 256 * 256, device="meta")) == 8 * 2048**2 < LIMIT
    assert bytes_of(torch.empty(60000, 3072, device="meta")) == 8 * 60000 * 3072
    monkeypatch.setattr(importlib.import_module("vaeaudit.effects.downstream"), "LIMIT", 36 * 4 * 8)
    assert isinstance(downstream(_identity(), x, labels, x[:, None]), Downstream)
    monkeypatch.setattr(importlib.import_module("vaeaudit.effects.downstream"), "LIMIT", 36 * 4 * 8 - 1)
    found = downstream(_identity(), x, labels, x[:, None])
    assert isinstance(found, NotMeasured)
    assert "4 features of 36 latents takes 1,152 bytes, more than 1,151; give fewer images" in found.reason
