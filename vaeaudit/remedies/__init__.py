"""Remedies: ways to train an autoencoder that is harder to fool. They stand beside the audit and know nothing of it."""

from vaeaudit.remedies.mixup import Mixup, MixupTerms, mixup_loss

__all__ = ["Mixup", "MixupTerms", "mixup_loss"]
