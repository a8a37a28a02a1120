"""Every option in one table, and how its sources are settled: call, marker, command line, ini, default."""

from __future__ import annotations

import math
import numbers
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PRESETS = ("quick", "standard", "thorough")
DIVERGENCES = (
    "kl", "kl_reverse", "symmetric_kl", "wasserstein", "mean_l2", "kl_tabacof2016", "channel_normalised_l2",
)  # fmt: skip
PENALTIES = ("l2_squared", "l2")
PRECISIONS = ("bfloat16", "tf32")
_DEVICE = r"[a-z]+(:\d+)?"


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option, under one name everywhere.

    Attributes:
        name: in a call or marker; `--vaeaudit-name` and `vaeaudit_name` elsewhere.
        help: what it does.
        kind: type of its value.
        default: where nobody says.
        choices: the only values it takes; empty for any.
        pattern: regular expression of its text.
        least: smallest value of a number.
        above: numbers lie strictly above this.
        below: numbers lie strictly below this.
        metavar: of the command line.
        session: whether command line and ini know it.
        test: whether a call, a marker or an audit file may say it.
        flag: on the command line only, without a value.
    """

    name: str
    help: str
    kind: type[Any] = str
    default: Any = None
    choices: tuple[str, ...] = ()
    pattern: str = ".+"
    least: float = -math.inf
    above: float = -math.inf
    below: float = math.inf
    metavar: str | None = None
    session: bool = True
    test: bool = False
    flag: bool = False

    @property
    def command_line(self) -> str:
        """Its name on the command line."""
        return f"--vaeaudit-{self.name.replace('_', '-')}"

    @property
    def ini(self) -> str:
        """Its name in the ini file."""
        return f"vaeaudit_{self.name}"

    def fault(self, value: Any) -> str:
        """What is wrong with a value; empty if nothing is."""
        if value is None and self.default is None:
            return ""
        if self.choices:
            return "" if value in self.choices else f"expects one of {', '.join(self.choices)}, got {value!r}"
        if self.kind in (int, float):
            kinds = (int,) if self.kind is int else (int, float)
            right = isinstance(value, kinds) and not isinstance(value, bool) and self._within(value)
            return "" if right else f"expects {self.expected}, got {value!r}"
        if self.kind is str:
            right = isinstance(value, str) and re.fullmatch(self.pattern, value) is not None
            return "" if right else f"expects {self.expected}, got {value!r}"
        faults: dict[Any, Callable[[Any], str]] = {tuple: _fault_of_names, list: _fault_of_devices}
        return faults.get(self.kind, _fault_of_series)(value)

    def _within(self, value: float) -> bool:
        return self.least <= value < self.below and value > self.above

    @property
    def expected(self) -> str:
        """What a number or a text has to be."""
        if self.kind is str:
            return 'a device such as "cpu" or "cuda:0"' if self.pattern == _DEVICE else "a name"
        noun = "a whole number" if self.kind is int else "a number"
        if math.isfinite(self.above):
            return f"{noun} above {self.above:g} and below {self.below:g}"
        if math.isfinite(self.below):
            return f"{noun} from {self.least:g} to below {self.below:g}"
        return f"{noun} of at least {self.least:g}" if math.isfinite(self.least) else noun


def _fault_of_names(value: Any) -> str:
    """What is wrong with a list of names; whether there are such checks is left to the library."""
    if isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value):
        return ""
    return f'expects a list of health checks such as ["blind_inputs"], got {value!r}'


def _fault_of_devices(value: Any) -> str:
    """What is wrong with a list of devices; whether the machine has them is left to the library."""
    names = value if isinstance(value, (list, tuple)) else ()
    if value == "all" or (names and all(re.fullmatch(_DEVICE, str(name)) for name in names)):
        return ""
    return f'expects a list of devices such as ["cuda:0", "cuda:1"], or "all", got {value!r}'


def _fault_of_series(value: Any) -> str:
    """What is wrong with a series of C; numbers are left to the library."""
    known = isinstance(value, int) and not isinstance(value, bool)
    if known or value in ("tabacof2016", None) or not isinstance(value, (str, bool, float)):
        return ""
    return f'expects "tabacof2016", how many values of C, or a list of them, got {value!r}'


_TABLE = (
    Option(name="preset", help="how much to measure", default="standard", choices=PRESETS, test=True),
    Option(name="device", help='where to measure, such as "cuda"; default: where the model lives', pattern=_DEVICE, metavar="NAME", test=True),
    Option(name="pairs", help="pairs first measured; default: the preset's", kind=int, least=1, metavar="N", test=True),
    Option(name="seed", help="default: made from test file, settings and weights", kind=int, least=0, below=2**63, metavar="N", test=True),
    Option(name="confidence", help="probability with which a verdict is right", kind=float, default=0.95, above=0.5, below=1.0,
           metavar="P", test=True),
    Option(name="max_pairs", help="pairs up to which an inconclusive measurement is extended; default: four times the first",
           kind=int, least=1, metavar="N", test=True),
    Option(name="max_evaluations", help="gradient evaluations up to which an inconclusive measurement is extended; default: no limit",
           kind=int, least=1, metavar="N", test=True),
    Option(name="time_limit", help="seconds after which a test's measurement ends, as INCONCLUSIVE; default: none", kind=float,
           least=0, metavar="SECONDS", test=True),
    Option(name="inconclusive", help="what an inconclusive measurement does to its test", default="fail",
           choices=("fail", "warn", "skip"), test=True),
    Option(name="slack", help="share of a recorded figure by which a later one may be worse beyond both intervals", kind=float,
           default=0.0, least=0, metavar="SHARE", test=True),
    Option(name="report", help="write JSON, HTML and a one-page summary.md into DIR", metavar="DIR"),
    Option(name="summary", help="add the verdicts to FILE, in Markdown; default: $GITHUB_STEP_SUMMARY, where it is set",
           metavar="FILE"),
    Option(name="baseline", help="file of the recorded figures", default="vaeaudit-baseline.json", metavar="FILE"),
    Option(name="baseline_ref", help="read the recorded figures from this git revision", metavar="REV"),
    Option(name="update", help="which figures a passing run records", default="none", choices=("none", "new", "improved", "all")),
    Option(name="cache", help="keep measurements in pytest's cache; refresh measures anew", default="on",
           choices=("on", "off", "refresh")),
    Option(name="skip", help="skip every test that audits", flag=True),
    Option(name="only", help="run only tests that audit", flag=True),
    Option(name="devices", help='several devices instead of one, or "all"', kind=list, session=False, test=True),
    Option(name="precision", help="in which the attack looks for starting points", session=False, choices=PRECISIONS, test=True),
    Option(name="work", help="multiply-adds that a costly model's audit may take", kind=float, least=1.0, session=False, test=True),
    Option(name="strengths", help="series of C", kind=object, session=False, test=True),
    Option(name="suppress", help="health checks that are set aside", kind=tuple, session=False, default=(), test=True),
    Option(name="divergence", help="between posteriors", session=False, default="kl", choices=DIVERGENCES, test=True),
    Option(name="penalty", help="on the distortion", session=False, default="l2_squared", choices=PENALTIES, test=True),
)  # fmt: skip
OPTIONS: dict[str, Option] = {option.name: option for option in _TABLE}
IN_TESTS = tuple(option.name for option in _TABLE if option.test)
"""What a call, a marker or an audit file may say."""
_INI_TYPES = {str: "string", int: "int", float: "float"}


def register(parser: pytest.Parser) -> None:
    """Put the table on the command line and into the ini file."""
    group = parser.getgroup("vaeaudit", "robustness of autoencoders (vaeaudit)")
    for option in OPTIONS.values():
        if option.flag:
            group.addoption(option.command_line, action="store_true", default=False, help=option.help)
        elif option.session:
            default = "" if option.default is None else f" (default: {option.default})"
            group.addoption(
                option.command_line, type=option.kind, default=None, choices=option.choices or None,
                metavar=option.metavar or "|".join(option.choices), help=option.help + default,
            )  # fmt: skip
            parser.addini(option.ini, f"{option.help}{default}", type=_INI_TYPES[option.kind], default=None)  # type: ignore[arg-type]


def check_session(config: pytest.Config) -> None:
    """Refuse what command line or ini file say wrongly.

    Raises:
        pytest.UsageError: with the option, what it expects and what came.
    """
    if config.getoption(_dest(OPTIONS["skip"])) and config.getoption(_dest(OPTIONS["only"])):
        raise pytest.UsageError("--vaeaudit-skip and --vaeaudit-only leave nothing to run; give one of them")
    for option in OPTIONS.values():
        if option.session and not option.flag:
            for source, value in ((option.command_line, _said(config, option)), (option.ini, _in_ini(config, option))):
                if value is not None and (fault := option.fault(value)):
                    raise pytest.UsageError(f"{source} {fault}")
    update = OPTIONS["update"]
    if on_ci() and _said(config, update) is None and _in_ini(config, update) not in (None, "none"):
        raise pytest.UsageError(
            f"{update.ini} in CI would let a change accept its own figures; say {update.command_line}"
        )


def on_ci() -> bool:
    """Whether this looks like a CI machine, by the variables that pytest itself goes by."""
    return any(os.environ.get(name) for name in ("CI", "BUILD_NUMBER"))


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """What a test says, with whole numbers of any kind and devices as builtin types."""
    return {name: _plain(name, value) for name, value in options.items()}


def _plain(name: str, value: Any) -> Any:
    if not isinstance(value, bool) and isinstance(value, numbers.Integral):
        return int(value)
    return str(value) if name == "device" and type(value).__name__ == "device" else value


def settled(config: pytest.Config, name: str, *tests: Mapping[str, Any]) -> Any:
    """The value of an option: what the test says goes before the command line, the ini file and the default.

    Args:
        config: pytest's.
        name: of the option.
        tests: what call and marker say, the stronger first; None says nothing.
    """
    option = OPTIONS[name]
    sources = [source.get(name) for source in tests]
    if option.session:
        sources += [_said(config, option), _in_ini(config, option)]
    return next((value for value in sources if value is not None), option.default)


def flag(config: pytest.Config, name: str) -> bool:
    """Whether a flag was given."""
    return bool(config.getoption(_dest(OPTIONS[name])))


def folder_of(config: pytest.Config, name: str) -> Path | None:
    """A path option; relative ones start where the command line was typed, or at the root in the ini file."""
    option = OPTIONS[name]
    said = _said(config, option)
    value = settled(config, name)
    if value is None:
        return None
    start = config.invocation_params.dir if said is not None else config.rootpath
    return start / str(value)


def _dest(option: Option) -> str:
    return option.command_line.removeprefix("--").replace("-", "_")


def _said(config: pytest.Config, option: Option) -> Any:
    return config.getoption(_dest(option))


def _in_ini(config: pytest.Config, option: Option) -> Any:
    try:
        return config.getini(option.ini)
    except (TypeError, ValueError, pytest.UsageError) as error:
        expected = f" expects {option.expected}" if option.kind in (int, float) else ""
        raise pytest.UsageError(f"{option.ini}{expected}: {error}") from None
