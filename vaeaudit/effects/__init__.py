"""Effects: what an attack did to an image's reconstruction, likelihood, robustness and usefulness.

Every measure takes images x, `(images, *event)`, and what an attack made of them, x_a, `(images, budgets, *event)`, as
the attacks return it. Its figures are float64, one an image and budget, and depend neither on the order of the images
nor on their company; those of `downstream` depend on the images that its classifiers learn from, of course.
"""

from vaeaudit.effects.amplification import Amplification, amplification
from vaeaudit.effects.downstream import Downstream, Judgement, downstream
from vaeaudit.effects.likelihood import LikelihoodDegradation, likelihood_degradation
from vaeaudit.effects.refusal import NotMeasured
from vaeaudit.effects.robustness import Robustness, r_robustness
from vaeaudit.effects.similarity import Scales, Similarities, ms_ssim, scales_of, similarities
from vaeaudit.pairs import half_the_median_distance

__all__ = [
    "Amplification",
    "Downstream",
    "Judgement",
    "LikelihoodDegradation",
    "NotMeasured",
    "Robustness",
    "Scales",
    "Similarities",
    "amplification",
    "downstream",
    "half_the_median_distance",
    "likelihood_degradation",
    "ms_ssim",
    "r_robustness",
    "scales_of",
    "similarities",
]
