"""The smallest distortion that brings the code within a distance of the target's: the ways of other toolkits."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from comparing.questions import FAR, NEAR, Code, IsNear, Task
from comparing.ways import Setting, Way

STEPS = (100, 500)
STRENGTHS = 24
LEAST_AND_MOST = (-3, 2)
"""Powers of ten: C of the loop written by hand."""


def foolbox_carlini_wagner(task: Task, code: Code, radii: Tensor, setting: Setting) -> Tensor:
    """`L2CarliniWagnerAttack`: |d|^2 + c * max(0, distance^2 / radius^2 - 1), c found by bisection."""
    from foolbox.attacks import L2CarliniWagnerAttack

    attack = L2CarliniWagnerAttack(
        binary_search_steps=int(setting["searches"]), steps=int(setting["steps"]), stepsize=setting["rate"]
    )
    return _foolbox(attack.run, task, code, radii)


def foolbox_ddn(task: Task, code: Code, radii: Tensor, setting: Setting) -> Tensor:
    """`DDNAttack`: direction and norm of the step apart."""
    from foolbox.attacks import DDNAttack

    return _foolbox(DDNAttack(steps=int(setting["steps"]), gamma=setting["gamma"]).run, task, code, radii)


def foolbox_fmn(task: Task, code: Code, radii: Tensor, setting: Setting) -> Tensor:
    """`L2FMNAttack`: a radius that shrinks while the point inside succeeds."""
    from foolbox.attacks import L2FMNAttack

    return _foolbox(L2FMNAttack(steps=int(setting["steps"]), gamma=setting["gamma"]).run, task, code, radii)


def _foolbox(run: Callable[..., Tensor], task: Task, code: Code, radii: Tensor) -> Tensor:
    from foolbox import PyTorchModel, TargetedMisclassification

    model = PyTorchModel(IsNear(code, task.codes, radii), bounds=task.subject.ae.bounds, device=task.codes.device)
    criterion = TargetedMisclassification(task.labels(NEAR))
    return run(model, task.subject.originals, criterion).detach()


def torchattacks_carlini_wagner(task: Task, code: Code, radii: Tensor, setting: Setting) -> Tensor:
    """`CW`, of which c is given and not searched for."""
    from torchattacks import CW

    attack = CW(IsNear(code, task.codes, radii), c=setting["c"], steps=int(setting["steps"]), lr=setting["rate"])
    found: Tensor = attack(task.subject.originals, task.labels(FAR))
    return found


def by_hand(task: Task, code: Code, radii: Tensor, setting: Setting) -> Tensor:
    """Adam on distance^2 + C * |d|^2 for a series of C at once; of those that are near enough, the least distorted."""
    x, codes = (part.repeat_interleave(STRENGTHS, 0) for part in (task.subject.originals, task.codes))
    low, high = task.subject.ae.bounds
    strengths = torch.logspace(*LEAST_AND_MOST, STRENGTHS).to(x).repeat(len(task))
    d = torch.zeros_like(x).requires_grad_()
    adam = torch.optim.Adam([d], lr=setting["rate"])
    for _ in range(int(setting["steps"])):
        loss = (code(x + d) - codes).square().sum(1) + strengths * d.flatten(1).square().sum(1)
        adam.zero_grad()
        loss.sum().backward()
        adam.step()
        d.data = (x + d.data).clamp(low, high) - x
    return _cheapest(task, code, (x + d.detach()).clamp(low, high), radii)


def _cheapest(task: Task, code: Code, found: Tensor, radii: Tensor) -> Tensor:
    """Of every pair's images the least distorted that is near enough, or any where none is."""
    candidates = found.view(len(task), -1, *found.shape[1:])
    with torch.no_grad():
        distance = (code(found).view(*candidates.shape[:2], -1) - task.codes[:, None]).norm(dim=2)
    cost = (candidates - task.subject.originals[:, None]).flatten(2).norm(dim=2)
    best = cost.where(distance <= radii[:, None], torch.inf).argmin(1)
    return candidates[torch.arange(len(task)), best]


WAYS = [
    Way(name="foolbox, L2 Carlini-Wagner", package="foolbox", attack=foolbox_carlini_wagner,
        recommended=None,
        sweep=[{"searches": 9, "steps": 1000, "rate": rate} for rate in (0.01, 0.05)]),
    Way(name="foolbox, DDN", package="foolbox", attack=foolbox_ddn, recommended={"steps": 100, "gamma": 0.05},
        sweep=[{"steps": 1000, "gamma": gamma} for gamma in (0.05, 0.01)]),
    Way(name="foolbox, L2 FMN", package="foolbox", attack=foolbox_fmn, recommended={"steps": 100, "gamma": 0.05},
        sweep=[{"steps": 1000, "gamma": gamma} for gamma in (0.05, 0.01)]),
    Way(name="torchattacks, CW", package="torchattacks", attack=torchattacks_carlini_wagner,
        recommended={"c": 1, "steps": 50, "rate": 0.01},
        sweep=[{"c": c, "steps": 1000, "rate": rate} for c, rate in itertools.product((10, 100, 1000), (0.01, 0.05))]),
    Way(name=f"by hand, Adam, {STRENGTHS} values of C", package="", attack=by_hand, recommended=None,
        sweep=[{"steps": steps, "rate": rate} for steps, rate in itertools.product(STEPS, (0.01, 0.05))]),
]  # fmt: skip
