"""`python -m examples.khan2022`: everything from training to the page."""

from __future__ import annotations

import argparse
from pathlib import Path

from examples.khan2022 import page
from examples.khan2022.measuring import all_measured, as_json, datasets_of
from examples.khan2022.results import Results
from examples.khan2022.sections import TITLE, written
from examples.khan2022.settings import SETTINGS


def main(arguments: list[str] | None = None) -> Results:
    parser = argparse.ArgumentParser(prog="python -m examples.khan2022", description="Khan and Storkey 2022, again.")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where torchvision keeps the images")
    parser.add_argument("--out", type=Path, default=Path("khan2022"), help="models, measurements and the page")
    parser.add_argument("--setting", choices=SETTINGS, default="reduced")
    parser.add_argument("--jobs", type=int, default=1, help="models at a time")
    options = parser.parse_args(arguments)

    setting = SETTINGS[options.setting]
    series, trial = all_measured(setting, options.data, options.out, options.jobs)
    results = Results(setting, datasets_of(series), datasets_of(trial))
    (options.out / "khan2022.json").write_text(as_json(setting, series, trial))
    blocks = written(results, options.out)
    (options.out / "khan2022.md").write_text(page.as_markdown(TITLE, blocks))
    (options.out / "khan2022.html").write_text(page.as_html(TITLE, blocks))
    print(f"The page: {options.out / 'khan2022.html'}")
    return results


if __name__ == "__main__":
    main()
