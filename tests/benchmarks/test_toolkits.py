"""What the toolkits are asked, and how their answers are judged; and each of them, where it is installed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import vaeaudit

FOLDER = Path(__file__).parents[2] / "benchmarks"
PAIRS, PIXELS = 3, (1, 2, 4)
STEPS = {"steps": 200.0, "step": 0.1}


@pytest.fixture
def task(module):
    """An autoencoder whose code is its input: what every attack should find is known."""
    ae = vaeaudit.Autoencoder(lambda x: x.flatten(1), lambda z: z.view(-1, *PIXELS), bounds=(0.0, 1.0))
    generator = torch.Generator().manual_seed(0)
    originals, targets = (0.2 + 0.6 * torch.rand(PAIRS, *PIXELS, generator=generator) for _ in range(2))
    subject = module("attacking.subjects").Subject(name="identity", ae=ae, originals=originals, targets=targets)
    return module("comparing.questions").Task.of(subject)


def ways(module, part):
    return module(f"comparing.{part}").WAYS


def test_a_code_is_near_exactly_inside_the_radius(module, task):
    questions = module("comparing.questions")
    is_near = questions.IsNear(questions.Code(task.subject.ae), task.codes, 0.5 * task.apart)
    towards = task.subject.targets - task.subject.originals
    for share, expected in ((0.4, questions.FAR), (0.6, questions.NEAR)):
        logits = is_near(task.subject.originals + share * towards)
        assert logits.argmax(1).tolist() == [expected] * PAIRS


def test_the_cross_entropy_of_the_question_leads_to_the_target(module, task):
    questions = module("comparing.questions")
    is_near = questions.IsNear(questions.Code(task.subject.ae), task.codes, task.apart)
    x = task.subject.originals.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(is_near(x), task.labels(questions.NEAR)), x)
    towards = (task.subject.targets - x).flatten(1)
    torch.testing.assert_close(F.cosine_similarity(-gradient.flatten(1), towards), torch.ones(PAIRS))


def test_gradients_are_counted_by_rows_and_plain_evaluations_are_not(module, task):
    code = module("comparing.questions").Code(task.subject.ae)
    code(task.subject.originals)
    assert code.gradients == 0
    x = task.subject.originals.clone().requires_grad_()
    for _ in range(2):
        code(x).sum().backward()
    assert code.gradients == 2 * PAIRS


def test_the_projected_loop_ends_on_the_ball_and_nearer_than_it_began(module, task):
    code, radii = module("comparing.questions").Code(task.subject.ae), torch.full((PAIRS,), 0.1)
    found = module("comparing.in_ball").by_hand(task, code, radii, STEPS)
    judging = module("comparing.judging")
    np.testing.assert_allclose(judging.distortion(task, found), 0.1, rtol=1e-4)
    distance, best = judging.distance(task, found), task.apart.numpy() - 0.1
    assert (distance >= best - 1e-4).all()
    assert (distance < best + 0.05).all()
    assert code.gradients == 200 * PAIRS


def test_of_a_series_the_least_distorted_image_that_is_near_enough_counts(module, task):
    code = module("comparing.questions").Code(task.subject.ae)
    x, towards = task.subject.originals, task.subject.targets - task.subject.originals
    shares = torch.tensor([0.2, 0.55, 0.9])
    candidates = (x[:, None] + shares.view(1, -1, 1, 1, 1) * towards[:, None]).flatten(0, 1)
    found = module("comparing.smallest")._cheapest(task, code, candidates, 0.5 * task.apart)
    torch.testing.assert_close(found, x + 0.55 * towards)


def test_where_a_limit_is_broken_the_figure_is_infinite(module):
    inside = module("comparing.judging").inside
    limited = np.array([0.9, 1.0 + 1e-6, 1.1])
    np.testing.assert_array_equal(inside(np.ones(3), limited, torch.ones(3)), [1, 1, np.inf])


def test_the_best_of_a_sweep_keeps_the_limit_before_it_is_good(module, task):
    judging, toolkits, w = module("comparing.judging"), module("toolkits"), module("comparing.ways")

    def moved(task, code, radii, setting):
        towards = task.subject.targets - task.subject.originals
        return task.subject.originals + setting["share"] * towards

    way = w.Way(name="mover", package="", attack=moved, recommended={"share": 0.1},
                sweep=[{"share": share} for share in (0.2, 0.9, 0.3)])  # fmt: skip
    question = judging.Question(title="", limits=0.5 * task.apart, ours={}, ways=[way], judge=toolkits._nearness)
    default, best = judging._entries(task, question, way)
    assert default.setting == {"share": 0.1}
    assert best.setting == {"share": 0.3}
    assert best.remark == "best of 4"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("index", range(6))
def test_an_installed_toolkit_keeps_to_the_ball_and_comes_nearer(index, module, task):
    way = ways(module, "in_ball")[index]
    if way.version is None:
        pytest.skip(f"{way.package} is not installed")
    toolkits, judging = module("toolkits"), module("comparing.judging")
    question = judging.Question(
        title="", limits=torch.full((PAIRS,), 0.1), ours={}, ways=[way], judge=toolkits._nearness
    )
    found = judging.answer(task, question, way, way.recommended or way.sweep[0])
    assert (question.judge(task, found.images, question.limits) < task.apart.numpy()).all()
    assert found.evaluations > 0


@pytest.mark.filterwarnings("ignore")
def test_both_questions_are_answered_by_all_that_is_installed(module, capsys, tmp_path):
    page = tmp_path / "page.md"
    module("toolkits").main(["--tiny", "--device", "cpu", "--write", str(page)])
    printed = capsys.readouterr().out
    assert printed.startswith("cpu: ")
    assert printed.count("| **vaeaudit, targeted_ball** |") == 1
    assert printed.count("| by hand, Adam, 24 values of C |") == 1
    assert "nan" not in printed
    assert page.read_text().count("<!-- ball cpu -->") == page.read_text().count("<!-- smallest cpu -->") == 1


def test_toolkits_that_are_missing_are_named(module):
    way = module("comparing.ways").Way(name="x", package="no-such-toolkit", attack=None, recommended=None, sweep=[])
    assert module("toolkits").versions([way]) == "No other toolkit; not installed: no-such-toolkit."


def test_an_unknown_question_is_refused(module, capsys):
    with pytest.raises(SystemExit):
        module("toolkits").main(["bal"])
    assert "choose of ball, smallest" in capsys.readouterr().err
