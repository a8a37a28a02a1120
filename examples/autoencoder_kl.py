"""Audit of a full-size image autoencoder: the VAE of Stable Diffusion and its kind, with weights of a name or at random.

    python examples/autoencoder_kl.py --random --size 256 --pairs 2 --strengths 6 --work 1e14
    python examples/autoencoder_kl.py --pretrained stabilityai/sd-vae-ft-mse --images FOLDER --size 512

The latent's channels have different scales, so the hinge is taken in units of each channel's standard deviation over
the images (`divergence="channel_normalised_l2"`), as is how far the untargeted attack moves the latent. A model as
large affords only a part of what a preset asks for: `--work` is the number of multiply-adds to spend, and the report
says what was shortened (docs/big_models.md). A run that was stopped goes on where it was when it is called again.

With random weights the run is right and the hinge means nothing: nobody trained the model to tell images apart.
"""

from __future__ import annotations

import argparse
import resource
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torchvision.datasets.folder import pil_loader
from torchvision.transforms.functional import center_crop, resize, to_tensor

import vaeaudit

SUFFIXES = {".png", ".jpg", ".jpeg"}


def random_model(narrow: int = 1) -> AutoencoderKL:
    """The shape of Stable Diffusion's VAE, 83.7 million parameters, untrained; all widths divided by `narrow`."""
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=tuple(width // narrow for width in (128, 256, 512, 512)), layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4, norm_num_groups=max(1, 32 // narrow), sample_size=512,
    )  # fmt: skip


def made_images(count: int, size: int) -> Tensor:
    """Smooth random colours `(count, 3, size, size)` in [-1, 1]: stand-ins where no photographs are at hand."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
    return 2 * smooth.clamp(0, 1) - 1


def images_in(folder: Path, size: int) -> Tensor:
    """The folder's images, their shorter side resized and the middle cut out, `(n, 3, size, size)` in [-1, 1]."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    pixels = [to_tensor(center_crop(resize(pil_loader(str(file)), size), size)) for file in files]
    return 2 * torch.stack(pixels) - 1


def moved_latents(report: vaeaudit.AuditReport) -> str:
    """How far the report's untargeted attack moves each channel of the latent."""
    if report.damage is None or report.damage.latent is None:
        return "How far the latent moves was not measured."
    moved = ", ".join(f"{shift:.2f}" for shift in report.damage.latent.by_channel)
    return f"At a budget of {report.damage.radii[-1]:.3g} the latent's channels move by {moved} standard deviations"


def main(arguments: list[str] | None = None) -> vaeaudit.AuditReport:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--pretrained", metavar="NAME", help="for AutoencoderKL.from_pretrained")
    model.add_argument("--random", action="store_true", help="the same shape, untrained")
    parser.add_argument("--narrow", type=int, default=1, help="divide the random model's widths by this")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="PNG and JPEG files; made images without it")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--strengths", type=int, default=6)
    parser.add_argument("--work", type=float, help="multiply-adds to spend, about; the preset's without it")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, default=Path("report-autoencoder-kl"))
    options = parser.parse_args(arguments)

    vae = AutoencoderKL.from_pretrained(options.pretrained) if options.pretrained else random_model(options.narrow)
    ae = vaeaudit.wrap(vae.eval().to(options.device), bounds=(-1.0, 1.0))
    size = options.size
    images = images_in(options.images, size) if options.images else made_images(max(2, options.pairs), size)
    report = vaeaudit.audit(
        ae, images, options.preset, options.pairs, strengths=options.strengths, work=options.work,
        divergence="channel_normalised_l2", checkpoint=options.output / "checkpoint",
        progress=lambda what, done, total: print(f"{what}: {done} of {total}", flush=True),
    )  # fmt: skip
    print(report)
    print("Pages and figures:", report.save(options.output))
    print(moved_latents(report))
    print(f"Peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")
    return report


if __name__ == "__main__":
    main()
