"""What the command line says about an audit: its arguments, and the settings of `vaeaudit.audit` they come to."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaeaudit.spec import PRESETS

_PASSED_ON = ("preset", "device", "devices", "precision", "seed", "suppress", "work")
_PLACES = frozenset({"device", "devices"})


def add(command: argparse.ArgumentParser, *, output: str) -> None:
    """Add the arguments that `demo` and `run` share; `output` says in the help where the report goes without one."""
    command.add_argument("--preset", choices=PRESETS, help="how much to measure (default: standard)")
    command.add_argument("--device", help='such as "cuda"; default: where the model lives')
    command.add_argument(
        "--devices", type=_devices, metavar="all|A,B", help='several instead, such as "cuda:0,cuda:1", or all GPUs'
    )
    command.add_argument(
        "--precision", choices=("bfloat16", "tf32"),
        help="in which the attack looks for starting points; default: the model's",
    )  # fmt: skip
    command.add_argument(
        "--suppress", action="append", metavar="CHECK",
        help="health check to set aside; its finding is told as suppressed",
    )  # fmt: skip
    command.add_argument(
        "--work",
        type=float,
        metavar="N",
        help="multiply-adds that a costly model's audit may take; default: the preset's",
    )
    command.add_argument("--seed", type=int, help="default: 0")
    command.add_argument("--output", type=Path, metavar="DIR", help=f"folder of the report (default: {output})")
    command.add_argument("--quiet", action="store_true", help="no progress, no table; only verdicts")
    command.add_argument("--profile", action="store_true", help="print where the time went")


def _devices(text: str) -> str | list[str]:
    return "all" if text == "all" else [name.strip() for name in text.split(",")]


def asked(options: argparse.Namespace) -> dict[str, Any]:
    """What the command line says about the audit; it goes before the file and the defaults."""
    return {key: value for key in _PASSED_ON if (value := getattr(options, key)) is not None}


def over_file(said: Mapping[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """What the file says, and before that the command line; one device there leaves no room for several here."""
    before = asked(options)
    kept = {key: value for key, value in said.items() if not (key in _PLACES and _PLACES & before.keys())}
    return {**kept, **before}
