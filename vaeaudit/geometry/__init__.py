"""Local geometry: pullback metrics of encoder, decoder and round trip, their spectra and scores."""

from vaeaudit.geometry import scores
from vaeaudit.geometry.factors import encoder_factor, round_trip_factor
from vaeaudit.geometry.jacobians import Jacobians, decoder_jacobian, encoder_jacobians
from vaeaudit.geometry.operators import DECODER_METRICS, ENCODER_METRICS, METRICS, ROUND_TRIP_METRICS
from vaeaudit.geometry.quadrature import Interval, SpectralMeasure
from vaeaudit.geometry.small_side import Spectrum, spectrum_of
from vaeaudit.geometry.spectra import decoder_spectrum, encoder_spectrum, round_trip_spectrum
from vaeaudit.geometry.stochastic import (
    ConditionNumber,
    StochasticScores,
    stochastic_condition_number,
    stochastic_scores,
)

__all__ = [
    "DECODER_METRICS",
    "ENCODER_METRICS",
    "METRICS",
    "ROUND_TRIP_METRICS",
    "ConditionNumber",
    "Interval",
    "Jacobians",
    "SpectralMeasure",
    "Spectrum",
    "StochasticScores",
    "decoder_jacobian",
    "decoder_spectrum",
    "encoder_factor",
    "encoder_jacobians",
    "encoder_spectrum",
    "round_trip_factor",
    "round_trip_spectrum",
    "scores",
    "spectrum_of",
    "stochastic_condition_number",
    "stochastic_scores",
]
