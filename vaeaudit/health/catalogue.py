"""Every health check by name: what is behind it, what it does to the scores, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from vaeaudit.health.groups import ATTACKED, CURVES, DAMAGED, HEADLINE_DAMAGE


@dataclass(frozen=True, kw_only=True)
class Check:
    """A health check, whatever it finds.

    Attributes:
        severity: the severities that it can have.
        measured: how.
        threshold: from where on it speaks, and why from there.
        cause: what usually is behind it.
        consequence: what it does to the scores.
        remedy: what to do.
        spoils: scores that it makes INVALID where it is severe; empty for none.
    """

    severity: str
    measured: str
    threshold: str
    cause: str
    consequence: str
    remedy: str
    spoils: str = ""


_CURVES, _ATTACK, _DAMAGE = (", ".join(group) for group in (CURVES, ATTACKED, DAMAGED))
_ENCODER = f"{_ATTACK}, {_DAMAGE}, encoder.*, round_trip.*"
_PART = f"of the encoder: {_ENCODER}; of the decoder: {_DAMAGE}, decoder.*, round_trip.*"
_POINTS = (
    "Half of the points in one place (images, under the untargeted attack, under the targeted attack) makes it INVALID, "
    "a tenth a warning: single points may lie on a bend."
)
_LOOKED = "On the second look's pairs, at the originals and at what both attacks made of them"

CHECKS: dict[str, Check] = {
    "training_mode": Check(
        severity="warning, info",
        measured="The modules' training flags before the audit.",
        threshold="A warning where a layer behaves differently in training mode, else for the record.",
        cause="The model was handed over without model.eval().",
        consequence="None for the figures: evaluation mode was audited. What is shipped may be in the other.",
        remedy="Call model.eval() before the audit, so that what is audited is what is shipped.",
    ),
    "weights_not_found": Check(
        severity="warning",
        measured="The modules and tensors that can be reached from the encoder and the decoder.",
        threshold="None found behind one of them.",
        cause="The weights hide behind a callable that cannot be looked into.",
        consequence="Mode, device and fingerprint are unknown, so changed weights are not noticed.",
        remedy="Pass them: Autoencoder(encoder, decoder, modules=(model,)).",
    ),
    "older_schema": Check(
        severity="warning",
        measured="The schema of a report that is loaded.",
        threshold="An older one than this version writes.",
        cause="An older version of vaeaudit made the report.",
        consequence="What later versions measure is missing, and checks that came later were not made. Figures and verdicts "
        "rest on the samples that the report keeps.",
        remedy="Audit the model again with this version.",
    ),
    "stochastic_encoder": Check(
        severity="invalid",
        measured="Two encodings of one batch, largest difference relative to the largest entry.",
        threshold="Above 1e-4, a hundred times what nondeterministic GPU kernels differ by.",
        spoils=_ENCODER,
        cause="The encoder returns a sample, or dropout stays on: a defence by noise, or an oversight.",
        consequence="Noise hides the gradient, and robustness figures would measure the noise.",
        remedy="Return the posterior (mean and log-variance) instead of a sample, and switch sampling and dropout off.",
    ),
    "stochastic_decoder": Check(
        severity="invalid",
        measured="Two decodings of one latent, as for the encoder.",
        threshold="Above 1e-4.",
        spoils=f"{_ATTACK}, {_DAMAGE}, decoder.*, round_trip.*, reconstruction_error, reach",
        cause="The decoder samples its output.",
        consequence="Distances of reconstructions hold the noise.",
        remedy="Return the mean of the output distribution instead of a sample.",
    ),
    "stateful_model": Check(
        severity="invalid",
        measured="Encodings and reconstructions of the same images before and after other calls: eight times while the "
        "model is probed, and at the beginning and the end of the measurements.",
        threshold="Above 1e-4 of the largest entry, as for noise.",
        spoils=f"{_ENCODER}, decoder.*, reconstruction_error, reach",
        cause="A counter, a cache or a running statistic inside the model changes what it computes.",
        consequence="Every figure mixes several models, and no attack can be repeated.",
        remedy="Freeze the state in evaluation mode, or hand over a copy of the model without it.",
    ),
    "batch_dependent_encoder": Check(
        severity="invalid",
        measured="An image's posterior alone and in a batch.",
        threshold="Above 1e-3, for rounding differs between sizes of a batch.",
        spoils=_ENCODER,
        cause="Batch statistics in evaluation mode, or a normalisation across images.",
        consequence="One image's attack moves the others' posteriors.",
        remedy="Use batch statistics frozen in evaluation mode; an encoder must treat each image by itself.",
    ),
    "outputs_outside_bounds": Check(
        severity="warning",
        measured="Share of reconstructed values outside the bounds, with a slack of 0.1 % of the range.",
        threshold="Above 1 %.",
        cause="bounds= describes another space than the model's.",
        consequence="The attack may be held in the wrong box.",
        remedy="Check that bounds= describes the space the model was trained in.",
    ),
    "images_fill_little_of_bounds": Check(
        severity="warning, invalid",
        measured="What lies between the smallest and the largest value of all images, as a share of the bounds' width, where "
        "both are finite.",
        threshold="Half or less a warning, less than a twentieth INVALID: images in [0, 1] with bounds=(0, 255) fill 0.4 %.",
        spoils=_DAMAGE,
        cause="bounds= are those of another scale, or the images were scaled down twice.",
        consequence="Budgets of damage are shares of the bounds, so they are far too large for such images, and their gains are "
        "too small: the model looks robust.",
        remedy="Pass as bounds= the range of the images that the model was trained on, and images in this range.",
    ),
    "saturated_outputs": Check(
        severity="warning, invalid",
        measured="Share of reconstructed values that lie exactly on a bound.",
        threshold="Above half a warning, above 99 % INVALID. A sigmoid comes near its bounds without reaching them.",
        spoils=_DAMAGE,
        cause="The decoder clips its output, or a sigmoid is so steep that it rounds to 0 or 1.",
        consequence="These values have no gradient, so the untargeted attack does not see how to move them.",
        remedy="Audit the decoder without the clipping, or with the logits as output.",
    ),
    "zero_gradients": Check(
        severity="warning, invalid",
        measured=f"Gradient of a weighted sum of the posterior mean at the probed images. {_LOOKED}, that of the reconstruction too.",
        threshold=f"Exactly zero. {_POINTS}",
        spoils=_PART,
        cause="Rounding, thresholds, clipping or saturation at the input, or a part of the model under no_grad.",
        consequence="The attack cannot start or go on there, and what looks robust may only be masked.",
        remedy="Look for rounding, clipping or saturation at the encoder's input, and audit the encoder without it.",
    ),
    "non_finite_gradients": Check(
        severity="warning, invalid",
        measured=f"{_LOOKED}.",
        threshold=_POINTS,
        spoils=_PART,
        cause="An overflow, or a root, logarithm or norm at zero, where an attack gets to.",
        consequence="The attack stops there for no reason of its own.",
        remedy="Look for sqrt, log and norm at zero, and for exponentials of large numbers.",
    ),
    "vanishing_gradients": Check(
        severity="warning, invalid",
        measured=f"{_LOOKED}: |g| |y - x| / |f(y) - f(x)|, y the pair's other image and g the longer gradient of both "
        "ends; for the code unit by unit, the median of the four that respond most.",
        threshold=f"Below 0.1. A linear model has at least 1, bundled and random models have 2.5 and more. {_POINTS}",
        spoils=_PART,
        cause="A saturating non-linearity, or a detached branch that carries what matters.",
        consequence="Gradients lead nowhere although larger changes do, so attacks look weaker than they could be.",
        remedy="Audit the model before the saturating step (its logits), or with all of it differentiable.",
    ),
    "gradients_disagree": Check(
        severity="warning, invalid",
        measured=f"{_LOOKED}: central differences along the gradient and along four random directions, at steps of 1/2, "
        "1/8, 1/32 and 1/128 of the smallest budget; the error is a share of the larger of prediction and response, and "
        "the best of the lengths counts, so that neither bends nor rounding do.",
        threshold=f"Above 0.3; sound models stay below 0.15. {_POINTS}",
        spoils=_PART,
        cause="A straight-through estimator, a detached branch, a custom backward, or noise.",
        consequence="The attack follows directions that are not those of the model, and stops early.",
        remedy="Audit the model with its true gradients, or replace the step by a smooth one that computes the same.",
    ),
    "shattered_gradients": Check(
        severity="warning, invalid",
        measured="As `gradients_disagree`, at steps of 1/2 and 1/8 of the smallest budget alone.",
        threshold=f"Above 0.7 at both, where shorter steps agree; sound models stay below 0.35. {_POINTS}",
        spoils=_PART,
        cause="A fine ripple on the code: high frequencies, steep steps, or a defence that shatters gradients.",
        consequence="The gradient is that of the ripple; every step of an attack leaves the range in which it holds.",
        remedy="Smooth the ripple, or average the gradient over small noise, and audit that.",
    ),
    "quantised_response": Check(
        severity="warning, invalid",
        measured="As `gradients_disagree`: outputs equal to the last bit on both sides of a "
        "point along all directions, at the shortest step.",
        threshold=f"INVALID only where the gradient does not hold at longer steps either: fine steps do an attack no harm. {_POINTS}",
        spoils=_PART,
        cause="Inputs or activations are rounded, and the gradient is passed through.",
        consequence="Small improvements of an attack have no effect, and its line searches fail.",
        remedy="Audit the model without the rounding; if it is part of the product, audit both.",
    ),
    "blind_inputs": Check(
        severity="warning, invalid",
        measured=f"{_LOOKED}: values without gradient are set to the pair's other image's.",
        threshold=f"Where they make more than a quarter of the whole response. {_POINTS}",
        spoils=_PART,
        cause="Inputs are clipped inside the model, or a steep step saturates at most of them.",
        consequence="The attack does not know that these values count.",
        remedy="Take the clipping out, or set bounds= to the range that the model lets through.",
    ),
    "excluded_pairs": Check(
        severity="warning, invalid",
        measured="Pairs whose reach is not clearly positive.",
        threshold="More than half of them make it INVALID.",
        spoils=_ATTACK,
        cause="The model reconstructs original and target alike.",
        consequence="Their curves have no scale.",
        remedy="A model of little reach is hard to read by its hinge: judge it by damage and reconstruction error.",
    ),
    "non_finite_under_attack": Check(
        severity="invalid",
        measured="Reconstructions at the end of the targeted attack's paths, and values and gradients wherever the untargeted "
        "attack came.",
        threshold="One pair, or one image.",
        spoils=f"of the targeted attack: {_ATTACK}; of the untargeted one: {_DAMAGE}",
        cause="Overflow, or a division by zero, where attacked images lie.",
        consequence="The attack cannot be followed there, and where the model returns NaN that counts in no figure.",
        remedy="Look for overflow in the encoder's exponentials and divisions near the bounds of the input.",
    ),
    "curves_not_saturating": Check(
        severity="warning, invalid",
        measured="Curves that still fall at the smallest C.",
        threshold="Half of them make it INVALID.",
        spoils=_CURVES,
        cause="C is not small enough, or the attack never reaches the target.",
        consequence="Their hinge is only known to be at least the largest distortion reached.",
        remedy="Pass smaller strengths. AUDDC does not help: it takes the smallest gap reached for all distortions beyond.",
    ),
    "attack_not_converged": Check(
        severity="warning, invalid",
        measured="Problems of the targeted attack that ran out of gradient evaluations.",
        threshold="Above 2 % a warning, above a quarter INVALID.",
        spoils=_CURVES,
        cause="Too few evaluations for this model.",
        consequence="A stronger attack may exist.",
        remedy="Audit with a larger preset: it affords more evaluations.",
    ),
    "poor_targets": Check(
        severity="warning",
        measured="Targets whose own reconstruction is further away than half of the original's.",
        threshold="A quarter of them.",
        cause="The model was not trained on such images, or hardly trained at all.",
        consequence="Reaching such targets means little.",
        remedy="Audit on images like those the model was trained on.",
    ),
    "target_not_reached": Check(
        severity="warning",
        measured="Median gap right of the hinge.",
        threshold="Above 0.2.",
        cause="The attack, or the model, saturates before the target.",
        consequence="The hinge is that of a way half gone.",
        remedy="Look at the adversarial reconstructions: the posterior may be matched where the decoder's input is not.",
    ),
    "few_active_units": Check(
        severity="invalid",
        measured="Latent units whose posterior mean varies by more than 0.01 over the data.",
        threshold="Fewer than two (definitions D9).",
        spoils="encoder, decoder and round_trip.condition_number",
        cause="The posterior has collapsed onto the prior, or the code has a very small scale.",
        consequence="The condition number is undefined.",
        remedy="Lower beta or the KL weight; the posterior has collapsed onto the prior. A deterministic code on a very "
        "small scale looks the same: rescale it.",
    ),
    "too_few_pairs": Check(
        severity="warning",
        measured="The number of pairs.",
        threshold="Fewer than a 95 % interval of a median needs.",
        cause="Few images, or few pairs asked for.",
        consequence="There is no interval.",
        remedy="Pass more images or more pairs.",
    ),
    "shared_originals": Check(
        severity="warning, invalid",
        measured="How many different originals the pairs have.",
        threshold="Fewer than pairs is a warning, fewer than half as many INVALID. With 24 pairs a verdict at 95 % passes falsely up "
        "to 13 times in 100 where 12 originals stand twice each, 23 times with 6 originals, 50 with a single one (simulated, "
        "the figures of an original all alike). Pairs that are drawn have an original each.",
        spoils=f"{_ATTACK}, reach, certified_distortion, scores of plugins that are measured a pair",
        cause="Pairs were given, and name some originals several times.",
        consequence="Intervals and bounds take every pair for independent of the others. Of images in general they tell less "
        "than they claim; of these images alone they tell what they say.",
        remedy="Give every pair an original of its own, or pass the number of pairs alone. If these images are all that is in "
        "question, set the check aside: suppress.",
    ),
    "shortened": Check(
        severity="warning",
        measured="The multiply-adds of one reconstruction, counted before anything is measured.",
        threshold="A measurement that would take more than its share of what the preset, or `work=`, affords.",
        cause="A large model, or large inputs.",
        consequence="What was cut down tells less: attacks with fewer evaluations find less.",
        remedy="Audit with a larger preset or work= where the machine is fast enough, with fewer pairs or strengths, or at "
        "a smaller size of the inputs (docs/big_models.md).",
    ),
    "no_second_look": Check(
        severity="invalid",
        measured="What the preset, or `work=`, affords.",
        threshold="Not even one pair can be looked at again.",
        spoils=f"{_ATTACK}, {_DAMAGE}",
        cause="A large model, or large inputs.",
        consequence="Nobody knows whether the attacks were any good: masked gradients would go unnoticed.",
        remedy="Audit with a larger preset or work=, or look at the model yourself at a smaller size of the inputs, and set "
        "this aside: suppress=('no_second_look',).",
    ),
    "spectrum_not_computed": Check(
        severity="info",
        measured="What the preset affords.",
        threshold="Fewer than two images.",
        cause="Inputs or latents are large.",
        consequence="No geometry scores.",
        remedy="The attack figures stand; audit with a larger preset, or smaller inputs, for the spectra.",
    ),
    "spectrum_estimated": Check(
        severity="info",
        measured="Whether Jacobians fit into the memory budget.",
        threshold="They do not.",
        cause="Inputs or latents are large.",
        consequence="Scores of the geometry carry the noise of random vectors.",
        remedy="The noise of their random vectors is part of the scores' intervals over images. A larger preset takes more "
        "images, vectors and steps.",
    ),
    "local_minima": Check(
        severity="info",
        measured="Objectives of the attack's paths from both ends before they are polished.",
        threshold="More than 10 % apart at half of the points.",
        cause="The objective has many local minima.",
        consequence="Better ones may be hidden still.",
        remedy='The better one counts. Many local minima may hide better ones still: preset "thorough" adds random starts.',
    ),
    "stronger_attack": Check(
        severity="invalid, warning",
        spoils=", ".join(HEADLINE_DAMAGE),
        measured='The preset "thorough": the worst of all attacks inside the L2 balls against the maximum-damage attack '
        "alone, median gain over images.",
        threshold="A gain above 5 % at any budget is a warning, above 25 % INVALID.",
        cause="The damage has many local maxima, or its gradient misleads.",
        consequence="The damage is underestimated.",
        remedy="Quote worst_damage instead, which is the worst case over all attacks.",
    ),
    "curves_not_resolved": Check(
        severity="info",
        measured="Hinge and AUDDC with every other strength left out, but for the ends.",
        threshold="They move by more than 0.01: an upper estimate of what twice as many strengths would change.",
        cause="The series of C is coarse where the curves bend.",
        consequence="Hinge and AUDDC may be off by about as much.",
        remedy="Audit with a larger preset, or pass strengths= with more values.",
    ),
    "damage_not_converged": Check(
        severity="info",
        measured="Untargeted attacks that still gained 0.1 % when their steps ran out.",
        threshold="Above a quarter, for the record: such gains are small, and `untargeted_attack_improvable` measures what more "
        "steps are worth.",
        cause="Too few steps for this model.",
        consequence="A little more damage is possible.",
        remedy="Audit with a larger preset: it affords more steps.",
    ),
    "condition_number_unresolved": Check(
        severity="warning",
        measured="Error of the smallest eigenvalue.",
        threshold="One image.",
        cause="Two latent units say nearly the same, or the encoder has fewer directions to move in than active units: a "
        "layer before the latent that is narrow, or most of whose units are off.",
        consequence="The condition number is only a lower bound.",
        remedy="Count the units of the layers before the latent that are on. If there are enough of them, audit the model in "
        "float64 to see further down.",
    ),
    "targeted_attack_improvable": Check(
        severity="warning, invalid",
        measured="A few pairs are attacked again at one strength, with twice the evaluations and two more random restarts; "
        "the gain is the objective's fall as a share of what it was.",
        threshold="Gains of more than 20 %, about 10 % of the distortion, count. At half of the pairs INVALID, at a tenth a warning.",
        spoils=_ATTACK,
        cause="Many local minima, or gradients that lead into them.",
        consequence="The hinge is too large: a stronger attack exists.",
        remedy="Audit with a larger preset, which adds restarts, and look at the other findings for masked gradients.",
    ),
    "untargeted_attack_improvable": Check(
        severity="warning, invalid",
        measured="A few images are attacked again with twice the steps and two more random restarts.",
        threshold="Gains of more than 10 % of the damage count. At half of the images INVALID, at a tenth a warning.",
        spoils=_DAMAGE,
        cause="Too few steps or restarts for this model.",
        consequence="The damage is too small: a stronger attack exists.",
        remedy="Audit with a larger preset: it affords more steps.",
    ),
    "search_beats_targeted_attack": Check(
        severity="warning, invalid",
        measured="`attacks.random_search` towards the target, in the ball of one of the attack's own distortions, about half "
        "way to the hinge, against the best divergence that the attack reached inside it, or projected gradient steps from "
        "the straight way to the target.",
        threshold="Better by more than 5 %. At a quarter of the pairs INVALID, else a warning: blind search in hundreds of "
        "dimensions beats nothing that follows a true gradient.",
        spoils=_ATTACK,
        cause="Gradients are masked.",
        consequence="The attack is weaker than one that knows nothing of the model.",
        remedy="Find the step that masks the gradient (see the other findings), and audit the model without it.",
    ),
    "search_beats_untargeted_attack": Check(
        severity="warning, invalid",
        measured="`attacks.random_search` for displacement at the middle budget, against the untargeted attack's damage.",
        threshold="Better by more than 5 %. At a quarter of the images INVALID, else a warning.",
        spoils=_DAMAGE,
        cause="Gradients of the encoder or the decoder are masked.",
        consequence="The attack is weaker than one that knows nothing of the model.",
        remedy="Find the step that masks the gradient (see the other findings), and audit the model without it.",
    ),
    "hinge_below_quantisation": Check(
        severity="warning",
        measured="Root mean square of the distortion at the hinge, median over pairs, where all images are "
        "whole multiples of 1/255 of the range.",
        threshold="Below one step of 1/255.",
        cause="The model is very easy to fool, or its input has far more values than it needs.",
        consequence="Attacked images at the hinge may not exist as 8-bit files: the hinge is that of real numbers.",
        remedy="Read `lost_by_rounding` beside it, and quote the hinge for inputs that are not quantised.",
    ),
    "lost_by_rounding": Check(
        severity="warning, invalid",
        measured="Attacked images of the second look are rounded to 8 bits, where all images are so: "
        "what is left of the fall of the divergence, and of the displacement.",
        threshold="Less than half of the effect is left. At half of the images INVALID, at a tenth a warning.",
        spoils=f"targeted: {_ATTACK}; untargeted: {_DAMAGE}",
        cause="The attack lives on differences that 8-bit images do not have.",
        consequence="Figures speak of inputs that a product fed with 8-bit images never sees.",
        remedy="Audit the model behind the quantiser of the product, on inputs as it sees them.",
    ),
    "attack_beats_certificate": Check(
        severity="invalid",
        measured="X of the targeted attack at its smallest C, and displacement by the untargeted one, against the bounds "
        "of `vaeaudit.certificates` at the same pairs.",
        threshold="Better by more than 1e-4: far more than float32 loses, and no attack can be better at all.",
        spoils=f"{_ATTACK}, {_DAMAGE}, certified_distortion",
        cause="What is certified is not what is attacked: a model that computes something else when it is traced or run in "
        "float64, weights so large that float32 rounds them away, or a fault of this library.",
        consequence="Either the attack's figures or the certificates are wrong, and nothing says which.",
        remedy="Audit the model in float64. If that mends it, rounding was the cause; if not, please report the model's code.",
    ),
    "plugin_attack_at_fault": Check(
        severity="invalid",
        measured="What an attack of a plugin returns: its shape, and whether it is finite, inside the ball and inside the bounds.",
        threshold="Any row that is not; a ball and the bounds have a leeway of 1e-4, more than float32 rounds.",
        spoils="worst_damage, worst_gap, or their L-infinity forms: that of the attack",
        cause="A fault in the plugin.",
        consequence="The worst case over all attacks lacks these rows of one of them.",
        remedy="Update or mend the plugin, or audit without it (VAEAUDIT_PLUGINS, docs/extending.md).",
    ),
    "plugin_score_at_fault": Check(
        severity="invalid",
        measured="The figures of a plugin's score.",
        threshold="Any that is NaN, infinite, or beyond the ends that the plugin gives.",
        spoils="the score",
        cause="A fault in the plugin, or a model that it is not made for.",
        consequence="Bounds of the score would rest on the rows that went well.",
        remedy="Update or mend the plugin, or audit without it (VAEAUDIT_PLUGINS, docs/extending.md).",
    ),
}
"""By name, in the order in which docs/health.md tells them."""

DECLARED: dict[str, Check] = {}
"""Checks of the plugins that are active, by their full names."""


def check_named(name: str) -> Check:
    """A check of the catalogue or of a plugin.

    Raises:
        KeyError: there is none of that name.
    """
    return DECLARED[name] if name in DECLARED else CHECKS[name]
