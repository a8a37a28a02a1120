"""Khan and Storkey (2022) again: a series over beta, attacks along eigen-directions, and mixup.

    python -m examples.khan2022 --data data --out khan2022 --setting reduced

`--data` is where torchvision keeps MNIST and Fashion-MNIST; what is not there is downloaded. Models and measurements are kept
under `--out`, each whole or not at all, so that an interrupted run goes on where it stopped and another setting measures only
what it adds. `--jobs 2` works on two models at a time, `--device cuda` on a GPU. The reduced setting takes about a quarter of
an hour of one CPU core. What comes of it: `khan2022.md`, `khan2022.html`, `khan2022.json` and the pictures.

`settings` says what is trained and at what size, `training` how, `measuring` and `attacking` what is measured of a model,
`results` what follows over models, `claims` judges the paper's claims by it, and `sections` and `plots` show it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from examples.papers.keeping import put, versions

from .measuring import measured
from .results import Results
from .sections import article
from .settings import SETTINGS


def main(arguments: list[str] | None = None) -> Results:
    """Run what is not on disk yet, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m examples.khan2022", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="where torchvision keeps the images")
    parser.add_argument("--out", type=Path, default=Path("khan2022"), help="models, measurements and the page")
    parser.add_argument("--setting", choices=SETTINGS, default="reduced")
    parser.add_argument("--jobs", type=int, default=1, help="models at a time")
    parser.add_argument("--device", default="cpu", help="where models are trained and attacked, such as cuda")
    options = parser.parse_args(arguments)

    setting = SETTINGS[options.setting]
    series, trial = measured(setting, options.data, options.out, options.jobs, options.device)
    results = Results(setting=setting, series=series, trial=trial, versions=versions())
    put(options.out / "khan2022.json", results.as_json())
    files = article(results).save(options.out, "khan2022")
    print(f"The page: {files[1]}")
    return results


if __name__ == "__main__":
    main()
