"""The study of Tabacof, Tavares and Valle (2016), "Adversarial images for variational autoencoders", from one command.

    python -m examples.tabacof2016 --data data --out tabacof2016 --setting reduced

`--data` is where torchvision keeps MNIST and Fashion-MNIST, with SVHN's two files in its folder `SVHN`; what is not
there is left out, and named on the page as pending, unless `--download` is given. Trained models and finished attacks
are kept under `--out`, so that a killed run goes on where it stopped. The page, its results and its figures are
written to `--page`. The reduced setting takes about ten minutes on two CPU cores; the full one has not been
timed, and trains for hours.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from examples.papers.keeping import put

from .comparing import ROLES
from .figures import NAME
from .pictures import pictures
from .sections import article
from .settings import SETTINGS
from .study import Study


def main(arguments: list[str] | None = None) -> list[Path]:
    """Run what is not on disk yet, and write the page; returns its files."""
    parser = argparse.ArgumentParser(prog="python -m examples.tabacof2016", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("tabacof2016"))
    parser.add_argument("--setting", choices=SETTINGS, default="reduced")
    parser.add_argument("--page", type=Path, help="folder for the page; by default below --out")
    parser.add_argument("--download", action="store_true", help="let torchvision fetch what is not in --data")
    parser.add_argument("--device", default="cpu", help="where models are trained and attacked, such as cuda")
    options = parser.parse_args(arguments)
    study = Study(
        data=options.data, folder=options.out / options.setting, setting=SETTINGS[options.setting],
        download=options.download, device=options.device,
    )  # fmt: skip
    results = study.results()
    pictured = {
        duel.name: pictures(
            duel, study.images(duel.vae.data), {role: study.trial(duel.model(role), "latent") for role in ROLES}
        )
        for duel in study.duels()
    }
    folder = options.page or options.out / "page"
    files = article(results, pictured).save(folder, NAME)
    files.append(put(folder / f"{NAME}.json", json.dumps(results, separators=(",", ":")) + "\n"))
    print(f"{files[1]}: {len(files)} files")
    return files


if __name__ == "__main__":
    main()
