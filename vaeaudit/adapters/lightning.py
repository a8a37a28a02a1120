"""Checkpoints of Lightning; its modules are recognised by their methods, like any other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import AuditError, OptionError, brief
from vaeaudit.hookspecs import Bounds
from vaeaudit.latent import Scale


def load_checkpoint(
    kind: Any, path: str | os.PathLike[str], bounds: Bounds | None = None, *, scale: Scale | None = None, name: str = "",
    **arguments: Any,
) -> Autoencoder:  # fmt: skip
    """The module that a Lightning checkpoint holds the weights of, on the CPU and ready to audit.

    Args:
        kind: the class of the module; a checkpoint holds weights and hyperparameters, and no code.
        path: the .ckpt file.
        bounds: lower and upper end of valid inputs, as for `vaeaudit.wrap`.
        scale: what the second member of a plain pair is.
        name: name shown in reports; by default the class.
        **arguments: for `load_from_checkpoint`: arguments of the class that the checkpoint does not hold, `strict`, or
            `weights_only=False` for a file that you trust and that holds more than weights.

    Raises:
        OptionError: no LightningModule, no such file, or one that does not fit the class.
    """
    from vaeaudit.adapters.wrapping import wrap

    if not callable(getattr(kind, "load_from_checkpoint", None)):
        raise OptionError(f"load_checkpoint expects the class of a LightningModule, got {brief(kind)}")
    if not Path(path).is_file():
        raise OptionError(f"there is no checkpoint at {path}")
    try:
        module = kind.load_from_checkpoint(path, **{"map_location": "cpu", **arguments})
    except AuditError:
        raise
    except Exception as error:  # of torch, of pickle, of the user's constructor
        raise OptionError(
            f"{path} cannot be loaded as a {kind.__name__}: {type(error).__name__}: {error}. Arguments of the class that "
            "the checkpoint does not hold go in by name: load_checkpoint(kind, path, latent=8)"
        ) from error
    return wrap(module, bounds, scale=scale, name=name)
