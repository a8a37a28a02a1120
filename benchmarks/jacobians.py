"""Encoder spectra against other ways to the same eigenvalues, side by side in one run.

    python benchmarks/jacobians.py [--images 256] [--device cpu] [--repeats 5]

Models: a dense VAE 784-512-512-20 and a small convolutional one, random weights, and two of the zoo's. Ways: per-image
`torch.autograd.functional.jacobian` and an n x n `eigvalsh`; `vmap(jacrev)` over the batch; k backward
passes that share a forward pass; the library's `encoder_spectrum`. All compute the `mean` metric, and all but the first
the float64 Gram matrix of the small side and its eigenvalues. Ways take turns, and the best of the
repeats counts. Then: what the library's time goes into, time per image as images grow, and peak memory
against the budget asked for. About three minutes on a CPU core.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from vaeaudit import Autoencoder, wrap, zoo
from vaeaudit.geometry import encoder_jacobians, encoder_spectrum

LATENT = 20


class Heads(nn.Module):
    """Mean and log-variance from a body."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, 1, 28, 28)` to two of `(batch, latent)`."""
        mean, log_variance = self.body(x).chunk(2, 1)
        return mean, log_variance


def dense() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 2 * LATENT)
    )


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 4, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(32, 64, 4, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(64 * 49, 256), nn.ReLU(), nn.Linear(256, 2 * LATENT),
    )  # fmt: skip


MODELS = {"dense 784-512-512-20": dense, "convolutional": convolutional}
ZOO = ("mnist-vae", "fashion-conv-vae")


def made(name: str, device: str) -> Autoencoder:
    if name in ZOO:
        return wrap(zoo.load_model(name).to(device).requires_grad_(requires_grad=False), bounds=(0, 1))
    torch.manual_seed(0)
    encoder = Heads(MODELS[name]()).to(device).eval().requires_grad_(requires_grad=False)
    decoder = nn.Linear(LATENT, 784).to(device)
    return Autoencoder(encoder, decoder, (0, 1), scale="log_variance")


def small_side(jacobian: Tensor) -> Tensor:
    jacobian = jacobian.double()
    return torch.linalg.eigvalsh(jacobian @ jacobian.mT)


def one_by_one(ae: Autoencoder, images: Tensor) -> Tensor:
    rows = []
    for image in images:
        found = torch.autograd.functional.jacobian(lambda v: ae.encode(v[None]).mean[0], image).flatten(1).double()
        rows.append(torch.linalg.eigvalsh(found.T @ found))
    return torch.stack(rows)


def vmapped(ae: Autoencoder, images: Tensor) -> Tensor:
    single = torch.func.jacrev(lambda v: ae.encode(v[None]).mean[0])
    return small_side(torch.func.vmap(single)(images).flatten(2))


def backward_passes(ae: Autoencoder, images: Tensor) -> Tensor:
    inputs = images.clone().requires_grad_()
    means = ae.encode(inputs).mean
    units = range(means.shape[1])
    rows = [torch.autograd.grad(means[:, i].sum(), inputs, retain_graph=True)[0].flatten(1) for i in units]
    return small_side(torch.stack(rows, 1))


def library(ae: Autoencoder, images: Tensor) -> Tensor:
    return encoder_spectrum(ae, images, "mean").eigenvalues.flip(1)


WAYS: dict[str, Callable[[Autoencoder, Tensor], Tensor]] = {
    "one image at a time, n x n": one_by_one,
    "vmap(jacrev)": vmapped,
    "k backward passes": backward_passes,
    "encoder_spectrum": library,
}
FEW = 8
"""Images for the first way, which takes the same time for each."""


def seconds(work: Callable[[], object], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(name: str, count: int, device: str, repeats: int) -> None:
    ae = made(name, device)
    images = torch.rand(count, 1, 28, 28, device=device)
    best = dict.fromkeys(WAYS, float("inf"))
    reference = vmapped(ae, images)
    for turn in range(repeats + 1):  # the first warms up
        for way, function in WAYS.items():
            some = images[:FEW] if function is one_by_one else images
            took = seconds(lambda f=function, x=some: f(ae, x), device) / len(some)
            best[way] = min(best[way], took) if turn else best[way]
    torch.testing.assert_close(library(ae, images), reference, rtol=1e-3, atol=1e-5 * float(reference.max()))
    print(f"\n{name}, {count} images")
    for way, took in best.items():
        print(f"  {way:28s} {1e3 * took:8.3f} ms an image   {took / best['encoder_spectrum']:6.2f} x")
    breakdown(ae, images, device, repeats)


def breakdown(ae: Autoencoder, images: Tensor, device: str, repeats: int) -> None:
    """The parts of the library's time; what a part needs is made outside."""
    with ae.at_rest():
        jacobian = encoder_jacobians(ae, images, spread=False).mean
        gram = jacobian.double() @ jacobian.double().mT
        parts: dict[str, Callable[[], object]] = {
            "a forward pass": lambda: ae.posteriors(images),
            "Jacobian": lambda: encoder_jacobians(ae, images, spread=False),
            "float64 Gram matrix": lambda: (lambda a: a @ a.mT)(jacobian.double()),
            "eigenvalues": lambda: torch.linalg.eigvalsh(gram),
        }
        for part, work in parts.items():
            took = min(seconds(work, device) for _ in range(repeats + 1)) / len(images)
            print(f"    of it {part:20s} {1e3 * took:8.3f} ms")


def linearity(name: str, device: str) -> None:
    ae = made(name, device)
    print(f"\n{name}: time per image as images grow")
    for count in (64, 256, 1024):
        images = torch.rand(count, 1, 28, 28, device=device)
        took = min(seconds(lambda x=images: library(ae, x), device) for _ in range(2))
        print(f"  {count:5d} images {1e3 * took / count:8.3f} ms an image")


def peak(work: Callable[[], object]) -> int:
    """How far resident memory rises above what it is now, in bytes (Linux).

    A first pass warms up: libraries load and keep their workspaces, which is no part of the work's own memory. What
    it freed is given back to the system, so that the second pass does not find it resident.
    """
    work()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _high_water()
    work()
    return _high_water() - before


def _high_water() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def memory(name: str, count: int) -> None:
    ae, images = made(name, "cpu"), torch.rand(count, 1, 28, 28)
    print(f"\n{name}, {count} images: peak memory above that before (CPU)")
    for budget in (2**25, 2**27, 2**30):
        work = partial(encoder_spectrum, ae, images, "mean", memory=budget)
        print(f"  budget {budget >> 20:4d} MiB {peak(work) / 2**20:8.1f} MiB")
    print(f"  vmap(jacrev)    {peak(partial(vmapped, ae, images)) / 2**20:8.1f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    what = torch.cuda.get_device_name() if arguments.device == "cuda" else platform.processor() or platform.machine()
    print(f"device {arguments.device} ({what}), torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name in (*MODELS, *ZOO):
        compare(name, arguments.images, arguments.device, arguments.repeats)
    for name in MODELS:
        linearity(name, arguments.device)
        memory(name, 1024)


if __name__ == "__main__":
    main()
