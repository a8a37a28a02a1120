"""Leading eigenvalues of an image autoencoder too large for its Jacobian: the Stable-Diffusion shape.

    python examples/large_spectrum.py [--size 512] [--metric wasserstein] [--top 1] [--steps 40] [--narrow 1]

A diffusers `AutoencoderKL` with random weights maps 3 x size x size images to 4 latent maps an eighth as wide;
at 512 the encoder's Jacobian is 32768 x 786432. Printed: the largest eigenvalues of a metric of the encoder
and of the decoder's, with the error of each, the number of products with the Jacobian or its transpose, the
time, and peak memory; with `--probes 4` also stochastic estimates of scores of the whole spectrum. `--narrow 4`
takes a quarter of the channels. At full width one product at 256 x 256 takes 3 to 20 seconds on a CPU core.
"""

from __future__ import annotations

import argparse
import resource
import time
from functools import partial

import torch
from diffusers import AutoencoderKL

import vaeaudit
from vaeaudit.geometry import (
    ENCODER_METRICS,
    Interval,
    Spectrum,
    StochasticScores,
    decoder_spectrum,
    encoder_spectrum,
    stochastic_scores,
)


def stable_diffusion_shaped(narrow: int) -> AutoencoderKL:
    """Two blocks of (128, 256, 512, 512) channels a level, attention in the middle, 4 latent channels."""
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=tuple(width // narrow for width in (128, 256, 512, 512)), layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4, norm_num_groups=32 // narrow, sample_size=512,
    ).eval()  # fmt: skip


def peak_memory(device: str) -> float:
    """GiB: of the GPU where there is one, else of the process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def show(title: str, found: Spectrum | StochasticScores, started: float, device: str) -> None:
    seconds = time.perf_counter() - started
    print(f"\n{title}: {found.products} products, {seconds:.0f} s, peak memory {peak_memory(device):.1f} GiB")
    if isinstance(found, StochasticScores):
        for name in ("trace", "von_neumann_entropy", "effective_rank"):
            interval: Interval = getattr(found, name)
            print(f"  {name} {float(interval.value):.4g} [{float(interval.low):.4g}, {float(interval.high):.4g}]")
        return
    for value, error in zip(found.eigenvalues[0].tolist(), found.error[0].tolist(), strict=True):
        print(f"  {value:.6g} +- {error:.1g}")
    if found.converged is not None and not bool(found.converged.all()):
        print("  (not converged: the errors say how far)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--metric", choices=ENCODER_METRICS, default="wasserstein")
    parser.add_argument("--top", type=int, default=1)
    parser.add_argument("--steps", type=int, default=40, help="most Lanczos steps for the leading eigenvalues")
    parser.add_argument("--probes", type=int, default=0, help="random vectors for scores of the whole spectrum")
    parser.add_argument("--narrow", type=int, default=1, help="divide the channels by this")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    device, top, steps = arguments.device, arguments.top, arguments.steps
    ae = vaeaudit.wrap(stable_diffusion_shaped(arguments.narrow).to(device), bounds=(-1, 1))
    generator = torch.Generator().manual_seed(0)
    image = (2 * torch.rand(1, 3, arguments.size, arguments.size, generator=generator) - 1).to(device)
    latents = ae.posteriors(image).mean
    print(f"image {tuple(image.shape[1:])}, latents {tuple(latents.shape[1:])}, {torch.get_num_threads()} threads")

    ways = (
        (arguments.metric, image, partial(encoder_spectrum, metric=arguments.metric)),
        ("decoder", latents, decoder_spectrum),
    )
    for metric, points, spectrum in ways:
        started = time.perf_counter()
        show(f"{metric}, leading", spectrum(ae, points, top=top, steps=steps), started, device)
        if arguments.probes:
            started = time.perf_counter()
            options = {"probes": arguments.probes, "steps": max(3, steps // 4), "top": 0}
            show(f"{metric}, scores", stochastic_scores(ae, points, metric, **options), started, device)


if __name__ == "__main__":
    main()
