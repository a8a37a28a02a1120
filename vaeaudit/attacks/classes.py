"""A classifier as something to attack: its logits, and the cross-entropy to a wanted class."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vaeaudit.attacks.goals import Goal
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.batches import in_batches
from vaeaudit.errors import AuditError, ModelError, OptionError

Classifier = Callable[[Tensor], Tensor]


def as_subject(classifier: Classifier, bounds: tuple[float, float]) -> Autoencoder:
    """A classifier where an encoder is expected: its logits stand for a code, which nothing decodes.

    Raises:
        OptionError: it cannot be called, or the bounds are none.
    """
    if not callable(classifier):
        raise OptionError(f"the classifier must be callable, got a {type(classifier).__name__}")
    return Autoencoder(functools.partial(_logits, classifier), _nothing_to_decode, bounds=bounds, name="classifier")


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassGoal(Goal):
    """Cross-entropy to a wanted class, nats.

    Attributes:
        classes: wanted, `(problems,)`.
    """

    classes: Tensor

    def measured(self, inputs: Tensor, problem: Tensor) -> Tensor:
        """Cross-entropy of each row."""
        return F.cross_entropy(self.autoencoder.encode(inputs).mean, self.classes[problem], reduction="none")

    def margin(self, inputs: Tensor, problem: Tensor) -> Tensor:
        """By how much the wanted class's logit exceeds the largest other, of finished inputs, `(rows,)`, float64."""
        logits = in_batches(lambda x: self.autoencoder.encode(x).mean, inputs).double()
        own = self.classes[problem][:, None]
        others = logits.scatter(1, own, -torch.inf).amax(1)
        return logits.gather(1, own)[:, 0] - others


def _logits(classifier: Classifier, inputs: Tensor) -> Tensor:
    try:
        logits = classifier(inputs)
    except (AuditError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise ModelError(
            f"the classifier failed on inputs of shape {tuple(inputs.shape)} and {inputs.dtype}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(inputs) or logits.shape[1] < 2:
        came = f"a tensor {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise ModelError(
            f"the classifier returned {came}; expected logits ({len(inputs)}, classes) with at least two classes. "
            "Wrap it in a function that returns them"
        )
    return logits


def _nothing_to_decode(latents: Tensor) -> Tensor:
    return latents
