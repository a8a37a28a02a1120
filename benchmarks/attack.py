"""The targeted attack against other ways to the same thing, side by side in one run.

    python benchmarks/attack.py [scipy art loops overhead scaling scale] [--data DIR] [--write docs/benchmarks.md]

All parts by default, one markdown table each. Every part warms up, then lets the ways take turns, and quotes
medians with the least and the largest. `--data` is a folder with MNIST as torchvision keeps it; without it the
wide model is trained on the bundled images. `--write` puts each table between its markers in a file.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import torch
from attacking import art_toolbox, loops, overhead, scale, scaling, scipy_lbfgsb
from attacking.common import Settings, machine

PARTS: dict[str, Callable[[Settings], str]] = {
    "scipy": scipy_lbfgsb.run,
    "art": art_toolbox.run,
    "loops": loops.run,
    "overhead": overhead.run,
    "scaling": scaling.run,
    "scale": scale.run,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts that were asked for."""
    options = parsed(arguments)
    settings = Settings(
        device=options.device, data=options.data, seed=options.seed, repeats=1 if options.tiny else options.repeats,
        pairs=2 if options.tiny else options.pairs, problems=2 if options.tiny else options.problems, tiny=options.tiny,
    )  # fmt: skip
    if options.threads:
        torch.set_num_threads(options.threads)
    print(machine(settings), flush=True)
    for name in options.parts or PARTS:
        text = PARTS[name](settings)
        print(f"\n## {name}\n\n{text}", flush=True)
        if options.write:
            insert(options.write, f"{name} {settings.device.partition(':')[0]}", f"{machine(settings)}\n\n{text}")


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = command_line(__doc__, PARTS, marker="scipy cpu")
    parser.add_argument("--threads", type=int, help="of torch on the CPU")
    parser.add_argument("--data", type=Path, help="folder with torchvision's MNIST")
    parser.add_argument("--problems", type=int, default=100, help="given to solvers of one problem at a time")
    return chosen(parser, arguments, PARTS)


def command_line(description: str | None, parts: Collection[str], *, marker: str) -> argparse.ArgumentParser:
    """What every script of several parts is asked with."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(parts)}; all by default")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--pairs", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="only show that everything runs")
    parser.add_argument("--write", type=Path, help=f"markdown file with markers such as <!-- {marker} -->")
    return parser


def chosen(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None, parts: Collection[str]
) -> argparse.Namespace:
    """What was asked for; a part that there is not is refused."""
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(parts):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; choose of {', '.join(parts)}")
    return options


def insert(file: Path, marker: str, text: str) -> None:
    """Replace what stands between a file's markers, or append both."""
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    block = f"{begin}\n{text}\n{end}"
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    after, found = re.subn(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: block, before, flags=re.DOTALL)
    file.write_text(after if found else f"{before}\n{block}\n".lstrip(), encoding="utf-8")


if __name__ == "__main__":
    main()
