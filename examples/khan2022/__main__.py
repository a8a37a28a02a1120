"""`python -m examples.khan2022`: everything from training to the page."""

from __future__ import annotations

import argparse
from pathlib import Path

from examples.khan2022.measuring import all_measured, as_json, datasets_of
from examples.khan2022.results import Results
from examples.khan2022.sections import page
from examples.khan2022.settings import SETTINGS
from examples.papers.keeping import put_text, versions
from examples.papers.page import written


def main(arguments: list[str] | None = None) -> Results:
    """Run what is not on disk yet, and write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.khan2022", description="Khan and Storkey 2022, run again."
    )
    parser.add_argument("--data", type=Path, default=Path("data"), help="where torchvision keeps the images")
    parser.add_argument("--out", type=Path, default=Path("khan2022"), help="models, measurements and the page")
    parser.add_argument("--setting", choices=SETTINGS, default="reduced")
    parser.add_argument("--jobs", type=int, default=1, help="models at a time")
    parser.add_argument("--device", default="cpu", help="where models are trained and attacked, such as cuda")
    options = parser.parse_args(arguments)

    setting = SETTINGS[options.setting]
    series, trial = all_measured(setting, options.data, options.out, options.jobs, options.device)
    results = Results(setting, datasets_of(series), datasets_of(trial), versions())
    put_text(options.out / "khan2022.json", as_json(setting, series, trial))
    files = written(page(results), options.out, "khan2022")
    print(f"The page: {files[1]}")
    return results


if __name__ == "__main__":
    main()
