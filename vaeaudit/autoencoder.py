"""`Autoencoder`: any encoder and decoder as one clean thing to attack and measure."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from vaeaudit.batches import Sizes, in_batches, micro_batched, remembering
from vaeaudit.code_identity import Code, read_code
from vaeaudit.errors import AuditError, ModelError, OptionError, brief
from vaeaudit.introspection import Found, copied, find
from vaeaudit.latent import SCALES, Layout, Posterior, Scale, read_output_std, read_posterior, read_reconstruction
from vaeaudit.meter import by_model
from vaeaudit.preservation import preserved, tf32_products

Precision = Literal["bfloat16", "tf32"]
PRECISIONS: tuple[Precision, ...] = ("bfloat16", "tf32")
_AT_REST = "_dtype_at_rest"
_PRECISION = "_precision"
_SIZES = "_sizes"
_LAYOUT = "_layout"


@dataclass(frozen=True)
class Autoencoder:
    """An encoder and a decoder, and the box that inputs live in.

    Args:
        encoder: maps inputs `(batch, *event)` to a code or posterior; any callable. What it may
            return is told at `vaeaudit.latent.read_posterior`.
        decoder: maps latents `(batch, *latent)` to reconstructions `(batch, *event)`; any callable. Where the encoder
            returns several groups it is called with the tuple of them, each of the shape that the encoder gave it.
        bounds: lower and upper end of valid inputs, such as (0, 1) for pixels; infinite ends are allowed.
        scale: what the second member of a plain pair from the encoder is: "log_variance",
            "variance" or "std". None means log-variance, and an error where that is doubtful.
        name: name shown in reports; by default the model's class.
        modules: the modules that encoder and decoder compute with, where they cannot be found
            through closures, bound methods, partials and attributes.

    A latent of several groups, the levels of a ladder or the steps of a recurrence, is one latent `(batch, units)` for
    everything else: the groups flattened, one after the other (`Posterior.layout`). Attacks and samples take the groups
    to be independent given the input; where one level's posterior is computed from a sample of another, let the encoder
    compute it from the other's mean.

    Raises:
        OptionError: arguments of the wrong kind.
    """

    encoder: Callable[[Tensor], Any]
    decoder: Callable[[Any], Any]
    bounds: tuple[float, float] = (0.0, 1.0)
    _: dataclasses.KW_ONLY
    scale: Scale | None = None
    name: str = ""
    modules: tuple[nn.Module, ...] = ()

    def __post_init__(self) -> None:
        for role in ("encoder", "decoder"):
            if not callable(getattr(self, role)):
                raise OptionError(f"the {role} must be callable, got a {type(getattr(self, role)).__name__}")
        if self.scale is not None and self.scale not in SCALES:
            raise OptionError(f"scale expects one of {', '.join(SCALES)}, got {self.scale!r}")
        if not isinstance(self.modules, (tuple, list)) or not all(isinstance(part, nn.Module) for part in self.modules):
            raise OptionError(f"modules expects a tuple of torch modules, got {brief(self.modules)}")
        object.__setattr__(self, "bounds", _checked_bounds(self.bounds))
        object.__setattr__(self, "name", self.name or self._default_name())

    def _default_name(self) -> str:
        owner = getattr(self.encoder, "__self__", self.encoder)
        if isinstance(owner, nn.Module):
            return type(owner).__name__
        return next((type(m).__name__ for m in self.found.modules), "autoencoder")

    @property
    def found(self) -> Found:
        """The modules and loose tensors that encoder and decoder compute with, as they are bound now."""
        return find(*self.modules, self.encoder, self.decoder)

    @property
    def parts_without_weights(self) -> tuple[str, ...]:
        """Which of "encoder" and "decoder" no tensor was found behind; neither where `modules` were named."""
        if self.modules:
            return ()
        return tuple(role for role in ("encoder", "decoder") if not any(find(getattr(self, role)).named_state()))

    @property
    def device(self) -> torch.device | None:
        """Where the model lives; None if no weights could be found.

        Raises:
            ModelError: its parts live on several devices.
        """
        found = self.found
        tensors = found.weights() or list(found.tensors)
        devices = sorted({str(t.device) for t in tensors if t.ndim} or {str(t.device) for t in tensors})
        if len(devices) > 1:
            raise ModelError(f"the model is spread over {', '.join(devices)}; move it to one device")
        return torch.device(devices[0]) if devices else None

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the model's weights; torch's default if none could be found."""
        if (known := self.__dict__.get(_AT_REST)) is not None:
            return cast("torch.dtype", known)
        kinds = (t.dtype for _, t in self.found.named_state() if t.is_floating_point())
        return next(kinds, torch.get_default_dtype())

    @property
    def figures_dtype(self) -> torch.dtype:
        """Precision of inputs under attack and of all figures: float32, or float64 for a float64 model."""
        return torch.float64 if self.dtype == torch.float64 else torch.float32

    def training_modules(self) -> tuple[str, ...] | None:
        """Kinds of submodules in training mode that behave differently in it; None if no module is in training mode."""
        stateful = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)
        if not any(child.training for module in self.found.modules for child in module.modules()):
            return None
        return tuple(sorted({
            type(child).__name__ for module in self.found.modules for child in module.modules()
            if child.training and isinstance(child, stateful)
        }))  # fmt: skip

    def encode(self, inputs: Tensor) -> Posterior:
        """Posterior of inputs `(batch, *event)`; gradients flow.

        Raises:
            EncoderOutputError: the encoder's output cannot be read.
            ModelError: the encoder failed on these inputs.
        """
        return self._read(self._called("encoder", inputs, "inputs"), doubt=False)

    def examine(self, inputs: Tensor) -> Posterior:
        """`encode` without gradients, and in doubt whether a plain pair's second member is a log-variance.

        Raises:
            EncoderOutputError: the encoder's output cannot be read without guessing.
            ModelError: the encoder failed on these inputs.
        """
        with torch.no_grad():
            posterior = self._read(self._called("encoder", inputs, "inputs"))
        if posterior.mean.device.type != inputs.device.type:
            raise ModelError(
                f"the encoder was given inputs on {inputs.device} and returned a posterior on {posterior.mean.device}; "
                "it must compute where its inputs are"
            )
        return posterior

    def _read(self, output: Any, *, doubt: bool = True) -> Posterior:
        """The posterior, and a note of its layout for the decoder."""
        posterior = read_posterior(output, self.scale, doubt=doubt)
        self.__dict__[_LAYOUT] = posterior.layout
        return posterior

    @property
    def layout(self) -> Layout | None:
        """How groups lie in the latents, known once the encoder was called; None for a latent of one piece."""
        return cast("Layout | None", self.__dict__.get(_LAYOUT))

    def decode(self, latents: Tensor) -> Tensor:
        """Reconstructions `(batch, *event)` of latents `(batch, *latent)`; gradients flow.

        Latents in groups are taken as `encode` returns them, joined, so the encoder must have been called before.

        Raises:
            EncoderOutputError: the decoder's output cannot be read.
            ModelError: the decoder failed on these latents.
        """
        return read_reconstruction(self._called("decoder", latents, "latents"))

    def decode_with_spread(self, latents: Tensor) -> tuple[Tensor, Tensor | None]:
        """Reconstructions, and their standard deviation where the decoder returns a Gaussian; gradients flow.

        Raises:
            EncoderOutputError: the decoder's output cannot be read.
            ModelError: the decoder failed on these latents.
        """
        output = self._called("decoder", latents, "latents")
        return read_reconstruction(output), read_output_std(output)

    def _called(self, role: Literal["encoder", "decoder"], argument: Tensor, what: str) -> Any:
        """Call the user's code on a copy in its own precision; a failure inside it says what it was given."""
        argument = argument.to(self.dtype, copy=True)
        grouped = self.layout if role == "decoder" else None
        given = argument if grouped is None else grouped.split(argument)
        try:
            with self._autocast(argument.device):
                return by_model(lambda: getattr(self, role)(given), argument)
        except (AuditError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise ModelError(
                f"the {role} failed on {what} of shape {tuple(argument.shape)} and {argument.dtype}: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _autocast(self, device: torch.device) -> contextlib.AbstractContextManager[Any]:
        if self.__dict__.get(_PRECISION) != "bfloat16" or device.type not in ("cpu", "cuda"):
            return contextlib.nullcontext()
        return torch.autocast(device.type, dtype=torch.bfloat16)

    def reconstruct(self, inputs: Tensor) -> Tensor:
        """Decode the posterior mean of inputs, `(batch, *event)`."""
        return self.decode(self.encode(inputs).mean)

    def posteriors(self, inputs: Tensor) -> Posterior:
        """Posteriors of any number of inputs, in micro-batches and without gradients."""
        with torch.no_grad():
            heads = micro_batched(lambda x: _heads(self.encode(x)), inputs)
        return Posterior(mean=heads[0], log_variance=heads[1] if len(heads) > 1 else None, layout=self.layout)

    def reconstructions(self, inputs: Tensor) -> Tensor:
        """`reconstruct` for any number of inputs, in micro-batches and without gradients."""
        return in_batches(self.reconstruct, inputs)

    def on(self, device: str | torch.device | None) -> Autoencoder:
        """This autoencoder, or a copy of it on another device; the original stays where it is.

        Raises:
            ModelError: no such device, or the model cannot be copied.
        """
        if device is None:
            return self
        wanted, home = checked_device(device), self.device or torch.device("cpu")
        return self if same_device(wanted, home) else self.copy_on(wanted)

    def copy_on(self, device: str | torch.device) -> Autoencoder:
        """A copy of this autoencoder on a device, which may be its own; the two share no weights.

        Raises:
            ModelError: no such device, or the model cannot be copied.
        """
        wanted, own = checked_device(device), {id(tensor) for tensor in self.found.weights()}
        if not self.found:
            raise ModelError(
                f"no weights were found behind encoder and decoder, so they cannot be copied to {wanted}; "
                "name them: Autoencoder(encoder, decoder, modules=(model,))"
            )
        memo: dict[int, Any] = {}
        modules = tuple(copied(m, wanted, memo) for m in self.modules)
        encoder, decoder = (copied(part, wanted, memo) for part in (self.encoder, self.decoder))
        there = dataclasses.replace(self, modules=modules, encoder=encoder, decoder=decoder)
        there.__dict__[_LAYOUT] = self.layout
        left = (t for t in there.found.weights() if id(t) in own or (t.ndim and not same_device(t.device, wanted)))
        if next(left, None) is not None:
            raise ModelError(
                f"a part of the model could not be copied to {wanted}; move it yourself and audit it there"
            )
        return there

    @contextlib.contextmanager
    def at_rest(self, seed: int = 0) -> Iterator[None]:
        """Inside, the model is in evaluation mode, frozen and in full precision; afterwards it is exactly as it was.

        Sizes of micro-batches that were settled for it hold for as long as this object lives.
        """
        full = self.__dict__.setdefault(_SIZES, {}).setdefault(None, Sizes())
        notes = {_AT_REST: self.dtype, _PRECISION: None}  # looked up once, not at every call of the model
        with preserved(self.found, seed), remembering(full), self._noted(notes):
            yield

    @contextlib.contextmanager
    def evaluated_in(self, precision: Precision | None) -> Iterator[None]:
        """Inside, encoder and decoder compute in a lower precision; what they return is float32 as ever.

        For rough work whose outcome is polished, and measured, outside. A model in another precision than float32
        keeps its own, and so does everything inside `at_rest` once it is entered anew.

        Args:
            precision: "bfloat16" runs them under autocast; "tf32" lets a GPU round the factors of float32 products
                to 10 bits (the switch is the process's, so only its main thread may, and others keep full
                precision); None changes nothing.

        Raises:
            OptionError: no such precision.
        """
        checked_precision(precision)
        elsewhere = precision == "tf32" and threading.current_thread() is not threading.main_thread()
        if precision is None or elsewhere or self.dtype != torch.float32:
            yield
            return
        # sizes that round alike in full precision need not do so in this one
        rough = self.__dict__.setdefault(_SIZES, {}).setdefault(precision, Sizes())
        switched = tf32_products() if precision == "tf32" else contextlib.nullcontext()
        with switched, self._noted({_PRECISION: precision}), remembering(rough):
            yield

    @contextlib.contextmanager
    def _noted(self, notes: dict[str, Any]) -> Iterator[None]:
        """Inside, these notes stand beside the fields; afterwards those that stood there."""
        outer = {key: self.__dict__[key] for key in notes if key in self.__dict__}
        self.__dict__.update(notes)
        try:
            yield
        finally:
            for key in notes:
                self.__dict__.pop(key, None)
            self.__dict__.update(outer)

    def fingerprint(self) -> str:
        """SHA-256 of every parameter, buffer and loose tensor with its name, shape and dtype.

        Raises:
            ModelError: one that holds no values.
        """
        digest = hashlib.sha256()
        for name, tensor in self.found.named_state():
            if tensor.is_meta:
                raise ModelError(
                    f"{name} is on the meta device and holds no values; load the weights into the model first"
                )
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def code_fingerprint(self) -> str:
        """SHA-256 of the user's code behind encoder and decoder, see `vaeaudit.code_identity`.

        It changes when a method, a helper or a constant that they use changes; not with comments,
        docstrings, unrelated lines, or the file that the code stands in.
        """
        return self.read_code().fingerprint

    def read_code(self) -> Code:
        """The user's code behind encoder and decoder, and the libraries that it comes from."""
        return read_code(*self.modules, self.encoder, self.decoder)


def _heads(posterior: Posterior) -> tuple[Tensor, ...]:
    return (posterior.mean,) if posterior.log_variance is None else (posterior.mean, posterior.log_variance)


def _checked_bounds(bounds: Any) -> tuple[float, float]:
    try:
        low, high = map(float, bounds)
    except (TypeError, ValueError, OverflowError) as error:
        raise OptionError(f"bounds expects two numbers such as (0.0, 1.0), got {brief(bounds)}") from error
    if math.isnan(low) or math.isnan(high) or low >= high:
        raise OptionError(f"bounds expects (low, high) with low < high, got ({low:g}, {high:g})")
    return low, high


def checked_precision(precision: Precision | None) -> None:
    """Refuse what is no precision.

    Raises:
        OptionError: it is none.
    """
    if precision is not None and not (isinstance(precision, str) and precision in PRECISIONS):
        raise OptionError(f"precision expects None or one of {', '.join(PRECISIONS)}, got {precision!r}")


def checked_device(device: str | torch.device) -> torch.device:
    """A device that can be used here.

    Raises:
        ModelError: it cannot.
    """
    try:
        wanted = torch.device(device)
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        said = brief(device) if isinstance(device, int) else repr(str(device))
        raise ModelError(
            f"device {said} cannot be used here: {(str(error) or 'it is none').splitlines()[0]}"
        ) from error
    return wanted


def same_device(a: torch.device, b: torch.device) -> bool:
    """Whether two names are of one device: "cuda" is "cuda:0"."""
    return a.type == b.type and (a.index or 0) == (b.index or 0)
