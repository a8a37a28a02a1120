"""Leading eigenvalues of an image autoencoder too large for its Jacobian: the Stable-Diffusion shape.

    python examples/large_spectrum.py [--size 512] [--top 4] [--narrow 1] [--device cpu]

A diffusers `AutoencoderKL` with random weights maps 3 x size x size images to 4 latent maps an eighth as wide;
at 512 the encoder's Jacobian is 32768 x 786432. Printed: the largest eigenvalues of the encoder's
`wasserstein` metric and of the decoder's, with the error of each, the number of products with the Jacobian or its
transpose, the time, and peak memory. `--narrow 4` takes a quarter of the channels.
"""

from __future__ import annotations

import argparse
import resource
import time

import torch
from diffusers import AutoencoderKL

import vaeaudit
from vaeaudit.geometry import Spectrum, decoder_spectrum, encoder_spectrum


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


def show(title: str, spectrum: Spectrum, seconds: float, device: str) -> None:
    print(f"\n{title}: {spectrum.products} products, {seconds:.0f} s, peak memory {peak_memory(device):.1f} GiB")
    for value, error in zip(spectrum.eigenvalues[0].tolist(), spectrum.error[0].tolist(), strict=True):
        print(f"  {value:.6g} +- {error:.1g}")
    if spectrum.converged is not None and not bool(spectrum.converged.all()):
        print("  (not converged: the errors say how far)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--top", type=int, default=4)
    parser.add_argument("--narrow", type=int, default=1, help="divide the channels by this")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    model = stable_diffusion_shaped(arguments.narrow).to(arguments.device)
    ae = vaeaudit.wrap(model, bounds=(-1, 1))
    generator = torch.Generator().manual_seed(0)
    image = (2 * torch.rand(1, 3, arguments.size, arguments.size, generator=generator) - 1).to(arguments.device)

    start = time.perf_counter()
    encoder = encoder_spectrum(ae, image, top=arguments.top)
    show("encoder, wasserstein", encoder, time.perf_counter() - start, arguments.device)
    latents = ae.posteriors(image).mean
    print(f"\nimage {tuple(image.shape[1:])}, latents {tuple(latents.shape[1:])}")
    start = time.perf_counter()
    decoder = decoder_spectrum(ae, latents, top=arguments.top)
    show("decoder", decoder, time.perf_counter() - start, arguments.device)


if __name__ == "__main__":
    main()
