"""Models as they come, made into an `Autoencoder`: `wrap` for those in memory, and loaders for saved ones.

Which models are recognised, what is assumed of them and which are refused is told in docs/adapters.md.
"""

from vaeaudit.adapters.exported import from_exported
from vaeaudit.adapters.lightning import load_checkpoint
from vaeaudit.adapters.pythae import load_pythae
from vaeaudit.adapters.tabular import from_tabular
from vaeaudit.adapters.wrapping import wrap

__all__ = ["from_exported", "from_tabular", "load_checkpoint", "load_pythae", "wrap"]
