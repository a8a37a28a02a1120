"""Every part of `benchmarks/attack.py` runs, judges both sides alike, and writes where it is told to."""

import importlib
import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import vaeaudit
from vaeaudit import attacks, zoo

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def subject(module):
    subjects, common = module("attacking.subjects"), module("attacking.common")
    return subjects.small(common.Settings(pairs=3))


@pytest.mark.parametrize("part", ["scipy", "loops", "overhead", "scaling", "scale"])
def test_a_part_runs_and_prints_its_table_and_the_machine(part, module, capsys):
    module("attack").main([part, "--tiny", "--device", "cpu"])
    printed = capsys.readouterr().out
    assert printed.startswith("cpu: ")
    assert f"torch {torch.__version__}" in printed
    assert "| ---" in printed
    assert "nan" not in printed


@pytest.mark.filterwarnings("ignore")
def test_the_part_about_art_runs_where_it_is_installed(module, capsys):
    pytest.importorskip("art")
    module("attack").main(["art", "--tiny", "--device", "cpu"])
    assert "ART, sign steps" in capsys.readouterr().out


def test_without_art_its_part_says_how_to_install_it(module, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    module("attack").main(["art", "--tiny", "--device", "cpu"])
    assert "pip install '.[bench]'" in capsys.readouterr().out


def test_an_unknown_part_is_refused(module, capsys):
    with pytest.raises(SystemExit):
        module("attack").main(["scypi"])
    assert "choose of scipy, art, loops, overhead, scaling, scale" in capsys.readouterr().err


def test_a_block_is_replaced_between_its_markers_and_nowhere_else(module, tmp_path):
    insert, file = module("attack").insert, tmp_path / "page.md"
    file.write_text("before\n<!-- scipy cpu -->\nold\n<!-- /scipy cpu -->\nafter <!-- art cpu --><!-- /art cpu -->\n")
    insert(file, "scipy cpu", r"new \1")
    text = file.read_text()
    assert text == (
        "before\n<!-- scipy cpu -->\nnew \\1\n<!-- /scipy cpu -->\nafter <!-- art cpu --><!-- /art cpu -->\n"
    )
    insert(file, "scipy cuda", "on a GPU")
    assert file.read_text() == text + "\n<!-- scipy cuda -->\non a GPU\n<!-- /scipy cuda -->\n"


def test_both_sides_are_judged_by_the_objective_that_the_attack_reports(module, subject):
    attack = attacks.targeted(subject.ae, subject.originals, subject.targets, [1.0, 3.0])
    x, t = (images.repeat_interleave(2, 0) for images in (subject.originals, subject.targets))
    judged = module("attacking.common").objective_of(
        subject.ae, x, t, attack.adversarial.flatten(0, 1), attack.strengths.repeat(3)
    )
    np.testing.assert_allclose(judged, attack.objective.flatten().numpy(), rtol=1e-5)


@pytest.mark.parametrize("penalty", ["l2_squared", "l2"])
def test_scipy_is_given_the_gradient_of_the_objective(penalty, module):
    model = zoo.load_model("mnist-vae").double()
    images, _ = zoo.images("mnist-vae")
    ae = vaeaudit.wrap(model, bounds=(0.0, 1.0))
    double = module("attacking.subjects").Subject(
        name="float64", ae=ae, originals=images[:1].double(), targets=images[1:2].double()
    )
    evaluate = module("attacking.one_by_one").objective(double, 0, 0.3, penalty)
    rng = np.random.default_rng(0)
    at, along = 0.01 * rng.standard_normal(784), rng.standard_normal(784)
    step = 1e-6
    slope = (evaluate(at + step * along)[0] - evaluate(at - step * along)[0]) / (2 * step)
    assert slope == pytest.approx(evaluate(at)[1] @ along, rel=1e-5)


def test_problems_drawn_are_distinct_and_keep_their_place(module):
    strengths = torch.tensor([0.1, 0.2, 0.4])
    problems = module("attacking.one_by_one").drawn(5, strengths, 7, seed=1)
    assert len(set(problems.position.tolist())) == 7
    assert torch.equal(problems.pair * 3 + torch.searchsorted(strengths, problems.strength), problems.position)
    assert len(module("attacking.one_by_one").drawn(5, strengths, 99, seed=1)) == 15


def test_published_attacks_keep_to_their_own_constraints(module, subject):
    published, ae, x, t = module("attacking.published"), subject.ae, subject.originals, subject.targets
    with ae.at_rest():
        clamped = published.adam_loop(ae, x, t, torch.full((3,), 0.1), steps=5)
        ball = published.kuzina2022(ae, x, None, 0.1, steps=3, restarts=2)
        sphere = published.barrett2022(ae, x, 1.5, starts=1, limit=5)
        directions = published.kuzina2021_unsupervised(ae, x, steps=5)
    assert 0 <= float(clamped.min()) <= float(clamped.max()) <= 1
    assert float((ball - x).abs().max()) <= 0.1 + 1e-6
    torch.testing.assert_close((sphere - x).flatten(1).norm(dim=1), torch.full((3,), 1.5))
    torch.testing.assert_close(directions.flatten(1).norm(dim=1), torch.ones(3))


def test_of_our_curve_only_points_at_or_below_the_distortion_count(module, subject):
    attack = attacks.targeted(subject.ae, subject.originals, subject.targets, 6, divergence="mean_l2")
    art_toolbox = module("attacking.art_toolbox")
    least, most = attack.distortion.min(1).values.numpy(), attack.distortion.max(1).values.numpy()
    cost, distance = art_toolbox._at_or_below(subject, attack, 0.5 * least)
    np.testing.assert_array_equal(cost, 0)
    np.testing.assert_allclose(distance, art_toolbox._latent_distance(subject, subject.originals))
    cost, distance = art_toolbox._at_or_below(subject, attack, most)
    np.testing.assert_allclose(distance, attack.divergence.min(1).values.sqrt().numpy(), rtol=1e-5)
    assert (cost <= most).all()


def test_memory_is_told_apart_from_what_was_in_use_before(module):
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("needs Linux")
    held = torch.ones(2**22)
    peak, _ = module("attacking.scaling").peak_of(lambda: torch.ones(2**24).sum(), "cpu")
    assert 0.9 * 2**26 < peak < 1.5 * 2**26
    assert math.isfinite(float(held.sum()))
