"""What the authors released, and where this reproduction differs from it.

The released arrays hold 50 betas, 3072 images each, of one data set (the files for MNIST and Fashion-MNIST are identical to the
last bit, so it cannot be said which). Their scores are most probably those of the round trip. Definitions, Part II, 3.3 and 3.4.
"""

from __future__ import annotations

from typing import NamedTuple

from .settings import Setting


class Released(NamedTuple):
    """Released figures of one beta: means over images, and errors of the first direction at steps 0.1, 1.06 and 10."""

    beta: float
    entropy: float
    radius: float
    median_radius: float
    errors: tuple[float, float, float]


RELEASED = (
    Released(0.010, 4.95, 4.27, 4.09, (0.014, 0.144, 0.474)),
    Released(0.041, 3.56, 3.63, 3.47, (0.016, 0.100, 0.393)),
    Released(0.168, 3.13, 4.87, 4.55, (0.025, 0.189, 0.472)),
    Released(0.339, 2.31, 2.39, 2.20, (0.020, 0.065, 0.309)),
    Released(0.687, 1.64, 1.30, 1.06, (0.028, 0.042, 0.167)),
    Released(1.048, 1.42, 1.19, 1.02, (0.028, 0.039, 0.146)),
    Released(2.812, 1.18, 0.712, 0.583, (0.035, 0.037, 0.084)),
    Released(5.690, 0.64, 0.441, 0.416, (0.053, 0.053, 0.063)),
    Released(10.0, 0.66, 0.075, 0.072, (0.064, 0.064, 0.064)),
)
ERRORS_BY_DIRECTION = (0.474, 0.453, 0.431, 0.411, 0.390)
"""At beta 0.01 and step 10, along directions 1 to 5."""
CORRELATIONS = {
    "spectral radius": -0.969,
    "von Neumann entropy": -0.967,
    "error, step 0.1": 0.975,
    "error, step 10": -0.961,
}
"""With beta, over the 50 released models."""


def nearest(beta: float) -> Released:
    """The released figures of the beta that is nearest on a logarithmic scale."""
    return min(RELEASED, key=lambda found: max(found.beta / beta, beta / found.beta))


def deviations(setting: Setting) -> list[str]:
    """Every way in which this run differs from what is known of theirs."""
    series, trial, size = setting.series[0], setting.trial[0], setting.of_series
    betas = len({recipe.beta for recipe in setting.series})
    return [
        f"{betas} betas of theirs' range, one seed each, instead of 50.",
        f"{series.images} training images and {series.epochs} epochs instead of 60000 and 100; the cosine ends with the last "
        "epoch instead of at twice their number.",
        "Their architecture is not known (its configuration was not released): 784-256-256-20 and its mirror image, ReLU, "
        "Bernoulli likelihood, stand for it. The loss is a mean over the batch, theirs a sum, which Adam hardly feels.",
        f"{size.spectra} test images for the scores in their conventions instead of 3072. All other scores are those of an "
        f"audit with the `{size.preset}` preset.",
        f"Attacks are held against each other at equal L2 budgets inside the bounds, at {size.images} images. Theirs step by "
        "multiples of the singular value, without bounds and of one sign, and measure the distance to the image instead of "
        "to its clean reconstruction; section 4 does that too.",
        "No attack that they compared with was released, so the baselines are this library's: ascent on the reconstruction, "
        "ascent on the 2-Wasserstein distance of the posteriors, and a random direction.",
        "What their code calls entropy is normalised by the largest value instead of the sum, so it is no entropy. Both are "
        "given.",
        f"Mixup draws one permutation and one weight for images and latents, as was surely meant; their code draws each its own. "
        f"The trial has {trial.images} images and {trial.epochs} epochs.",
        "CIFAR-10 and CelebA, for which their code has loaders, are left out.",
    ]
