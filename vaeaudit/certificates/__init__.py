"""Certificates: what no attack can beat, beside what attacks reach.

Bounds hold for every distortion, whether or not an attack finds it. Read `vaeaudit.certificates.ellipsoids` for how a
model's displacement is bounded, `convex` for divergences and `margins` for r-robustness.
"""

from vaeaudit.certificates.certifying import Certificates, certify
from vaeaudit.certificates.constants import Constants, LayerConstant
from vaeaudit.certificates.refusal import NotCertifiedError

__all__ = ["Certificates", "Constants", "LayerConstant", "NotCertifiedError", "certify"]
