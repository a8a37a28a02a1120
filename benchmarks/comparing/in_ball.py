"""As close to the target's code as an L2 ball around the image allows: the ways of other toolkits.

Every package is imported where it is used, so that those which are installed can be compared without the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from comparing.questions import FAR, NEAR, Code, IsNear, Task
from comparing.ways import Setting, Way

STEPS, RATES = (100, 500), (0.025, 0.1, 0.4)
SWEEP = [{"steps": steps, "step": rate} for steps, rate in itertools.product(STEPS, RATES)]
"""A step is a share of the radius."""


def _near(task: Task, code: Code) -> IsNear:
    """The question with the clean distance as its radius, at which a cross-entropy has useful gradients everywhere."""
    return IsNear(code, task.codes, task.apart)


def foolbox_pgd(task: Task, code: Code, radii: Tensor, setting: Setting) -> Tensor:
    """`L2ProjectedGradientDescentAttack`, towards the near class."""
    from foolbox.attacks import L2ProjectedGradientDescentAttack

    attack = L2ProjectedGradientDescentAttack(
        steps=int(setting["steps"]), rel_stepsize=setting["step"], random_start=bool(setting.get("random start", 0))
    )
    return _foolbox(attack.run, task, code, radii)


def foolbox_adam(task: Task, code: Code, radii: Tensor, setting: Setting) -> Tensor:
    """`L2AdamProjectedGradientDescentAttack`, towards the near class."""
    from foolbox.attacks import L2AdamProjectedGradientDescentAttack

    attack = L2AdamProjectedGradientDescentAttack(
        steps=int(setting["steps"]), rel_stepsize=setting["step"], random_start=bool(setting.get("random start", 0))
    )
    return _foolbox(attack.run, task, code, radii)


def _foolbox(run: Callable[..., Tensor], task: Task, code: Code, radii: Tensor) -> Tensor:
    from foolbox import PyTorchModel, TargetedMisclassification

    model = PyTorchModel(_near(task, code), bounds=task.subject.ae.bounds, device=task.codes.device)
    criterion = TargetedMisclassification(task.labels(NEAR))
    return run(model, task.subject.originals, criterion, epsilon=_one(radii)).detach()


def torchattacks_pgd(task: Task, code: Code, radii: Tensor, setting: Setting) -> Tensor:
    """`PGDL2`, away from the far class."""
    from torchattacks import PGDL2

    attack = PGDL2(
        _near(task, code), eps=_one(radii), alpha=setting["step"] * _one(radii), steps=int(setting["steps"]),
        random_start=bool(setting.get("random start", 0)),
    )  # fmt: skip
    found: Tensor = attack(task.subject.originals, task.labels(FAR))
    return found


def autoattack_apgd(task: Task, code: Code, radii: Tensor, setting: Setting) -> Tensor:
    """`APGDAttack` with its cross-entropy, away from the far class; its step sizes are its own."""
    from pyautoattack.autopgd_base import APGDAttack

    attack = APGDAttack(
        _near(task, code), norm="L2", eps=_one(radii), n_iter=int(setting["steps"]),
        n_restarts=int(setting["restarts"]), loss="ce",
    )  # fmt: skip
    found: Tensor = attack.perturb(task.subject.originals, task.labels(FAR), best_loss=True)
    return found.detach()


def captum_pgd(task: Task, code: Code, radii: Tensor, setting: Setting) -> Tensor:
    """`PGD` with a loss of our own, which it takes; its steps are signs even in an L2 ball."""
    from captum.robust import PGD

    def squares(codes: Tensor, targets: Tensor) -> Tensor:
        return (codes - targets).square().sum(1)

    low, high = task.subject.ae.bounds
    attack = PGD(code, loss_func=squares, lower_bound=low, upper_bound=high)
    x = task.subject.originals
    pixels = x[0].numel() ** 0.5
    found: Tensor = attack.perturb(
        x, radius=_one(radii), step_size=setting["step"] * _one(radii) / pixels, step_num=int(setting["steps"]),
        target=task.codes, targeted=True, norm="L2",
    )  # fmt: skip
    return found.detach()


def art_pgd(task: Task, code: Code, radii: Tensor, setting: Setting) -> Tensor:
    """`ProjectedGradientDescentPyTorch` on the squared error of the code, with the target's code as label."""
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    x = task.subject.originals
    classifier = PyTorchClassifier(
        nn.Sequential(code), nn.MSELoss(), tuple(x.shape[1:]), nb_classes=task.codes.shape[1],
        clip_values=task.subject.ae.bounds, device_type="gpu" if x.is_cuda else "cpu",
    )  # fmt: skip
    attack = ProjectedGradientDescentPyTorch(
        classifier, norm=2, eps=_one(radii), eps_step=setting["step"] * _one(radii), max_iter=int(setting["steps"]),
        targeted=True, batch_size=len(x), verbose=False,
    )  # fmt: skip
    return torch.from_numpy(attack.generate(x.cpu().numpy(), task.codes.cpu().numpy())).to(x)


def by_hand(task: Task, code: Code, radii: Tensor, setting: Setting) -> Tensor:
    """Adam on the distortion, put back into the ball and the box after every step."""
    x, (low, high) = task.subject.originals, task.subject.ae.bounds
    d = torch.zeros_like(x).requires_grad_()
    adam = torch.optim.Adam([d], lr=setting["step"] * _one(radii) / x[0].numel() ** 0.5)
    for _ in range(int(setting["steps"])):
        loss = (code(x + d) - task.codes).square().sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        d.data = torch.renorm(d.data, 2, 0, _one(radii))
        d.data = (x + d.data).clamp(low, high) - x
    return x + d.detach()


def _one(radii: Tensor) -> float:
    """The radius that all pairs share."""
    return float(radii[0])


WAYS = [
    Way(name="foolbox, L2 PGD", package="foolbox", attack=foolbox_pgd,
        recommended={"steps": 50, "step": 0.025, "random start": 1}, sweep=SWEEP),
    Way(name="foolbox, L2 Adam PGD", package="foolbox", attack=foolbox_adam,
        recommended={"steps": 50, "step": 0.025, "random start": 1}, sweep=SWEEP),
    Way(name="torchattacks, PGDL2", package="torchattacks", attack=torchattacks_pgd,
        recommended={"steps": 10, "step": 0.2, "random start": 1}, sweep=SWEEP),
    Way(name="AutoAttack, APGD", package="pyautoattack", attack=autoattack_apgd,
        recommended={"steps": 100, "restarts": 1},
        sweep=[{"steps": 500, "restarts": 1}, {"steps": 100, "restarts": 5}]),
    Way(name="ART, L2 PGD", package="adversarial-robustness-toolbox", attack=art_pgd,
        recommended={"steps": 100, "step": 1 / 3}, sweep=SWEEP),
    Way(name="captum, L2 PGD", package="captum", attack=captum_pgd, recommended=None, sweep=SWEEP),
    Way(name="by hand, projected Adam", package="", attack=by_hand, recommended=None, sweep=SWEEP),
]  # fmt: skip
"""ART's defaults are a step of 0.1 for a radius of 0.3."""
