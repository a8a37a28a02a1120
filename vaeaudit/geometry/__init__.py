"""Local geometry: pullback metrics of encoder, decoder and round trip, their spectra and scores."""

from vaeaudit.geometry import scores
from vaeaudit.geometry.jacobians import Jacobians, decoder_jacobian, encoder_jacobians
from vaeaudit.geometry.spectra import (
    ENCODER_METRICS,
    Spectrum,
    decoder_spectrum,
    encoder_factor,
    encoder_spectrum,
    round_trip_factor,
    round_trip_spectrum,
    spectrum_of,
)

__all__ = [
    "ENCODER_METRICS",
    "Jacobians",
    "Spectrum",
    "decoder_jacobian",
    "decoder_spectrum",
    "encoder_factor",
    "encoder_jacobians",
    "encoder_spectrum",
    "round_trip_factor",
    "round_trip_spectrum",
    "scores",
    "spectrum_of",
]
