"""Curves of an attack that was run by itself are those of an audit."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

import vaeaudit
from vaeaudit import DataError, attacks, curves_of_attack
from vaeaudit.attacks.targeted import SOLVER
from vaeaudit.spec import PRESETS

STRENGTHS = [1e-3, 1e-2, 0.1, 0.5, 2.0, 20.0]
PAIRS = [(0, 5), (3, 1), (2, 7), (6, 4)]


def test_they_agree_with_an_audit_to_the_last_bit(linear: ModuleType) -> None:
    model, images = linear.linear_gaussian(slope=0.2), linear.points(12, 8)
    audited = vaeaudit.audit(model.autoencoder, images, preset="quick", pairs=PAIRS, seed=3, strengths=STRENGTHS).curves
    spec = PRESETS["quick"]
    x, t = (images[[pair[end] for pair in PAIRS]] for end in (0, 1))
    attack = attacks.targeted(
        model.autoencoder, x, t, STRENGTHS, seed=3, solver=replace(SOLVER, max_evaluations=spec.evaluations)
    )
    curves = curves_of_attack(model.autoencoder, x, t, attack, samples=spec.samples, seed=3, pairs=PAIRS)
    for name, value in vars(audited).items():
        np.testing.assert_array_equal(getattr(curves, name), value, err_msg=name)


def test_pairs_that_do_not_match_the_attack_are_refused(linear: ModuleType) -> None:
    model, images = linear.linear_gaussian(), linear.points(12, 4)
    attack = attacks.targeted(model.autoencoder, images[:2], images[2:], STRENGTHS)
    with pytest.raises(DataError, match=r"one \(original, target\) for each of 2 originals"):
        curves_of_attack(model.autoencoder, images[:2], images[2:], attack, pairs=[(0, 2)])
    with pytest.raises(DataError, match="an attack on 2"):
        curves_of_attack(model.autoencoder, images[:1], images[2:3], attack)
