"""What a release is held to, on every Python that is supported: `nox`, or one session, such as `nox -s lowest`.

Needs `pip install nox uv`. A Python that is missing is skipped with a word; a release asks for all of them
(docs/releasing.md). Arguments after `--` go to pytest.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
OLDEST = PYTHONS[0]
SELECTION = (
    "tests/adapters",
    "tests/optimize",
    "tests/report",
    "tests/zoo",
    "tests/test_audit.py",
    "tests/test_cli.py",
)
"""Tests of an installed sdist: models of other libraries, numerics, pages, bundled files, an audit, the command line."""
OLD_TORCH = ("-W", "ignore::vaeaudit.errors.FallbackWarning", "-W", "ignore:You are using:FutureWarning")
"""torch 2.5 cannot batch all that a diffusers model computes, and says that it takes a slower way to the same figures; and it
warns of `torch.load` as pythae calls it."""

nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["package", "types", "lowest", "newest"]


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """All tests with the newest dependencies."""
    session.install("--upgrade", ".[test]")
    run_tests(session)


@nox.session(python=OLDEST)
def lowest(session: nox.Session) -> None:
    """All tests with the lowest version of everything that pyproject.toml names."""
    session.install("--resolution", "lowest-direct", ".[test]")
    run_tests(session, *OLD_TORCH)


@nox.session(python="3.11")
def types(session: nox.Session) -> None:
    """The types as every supported Python reads them, with the newest numpy whose own types they all can read."""
    session.install("--upgrade", ".[dev]", "tomli")  # which Python 3.10 has instead of tomllib
    for version in PYTHONS:
        session.run("mypy", "--python-version", version)


@nox.session(python=PYTHONS)
def package(session: nox.Session) -> None:
    """Build twice, look inside, and use what was built where the sources are out of sight."""
    session.install("build", "check-wheel-contents", "twine")
    first, second = (built(session, name) for name in ("first", "second"))
    wheel, sdist = first["*.whl"], first["*.tar.gz"]
    if checksum(wheel) != checksum(second["*.whl"]):
        session.error(f"two builds of {wheel.name} differ; look for something that depends on the time or the folder")
    session.run("twine", "check", "--strict", str(wheel), str(sdist))
    session.run("check-wheel-contents", str(wheel))
    session.install("--reinstall-package", "vaeaudit", f"vaeaudit @ {wheel.as_uri()}")
    session.chdir(emptied(session, "demo"))
    session.run("vaeaudit", "demo", "--quiet")
    session.install("--reinstall-package", "vaeaudit", f"vaeaudit[test] @ {sdist.as_uri()}")
    away = emptied(session, "sdist")
    session.run("tar", "-xzf", str(sdist), "-C", str(away), "--strip-components=1", external=True)
    session.chdir(away)
    run_tests(session, *SELECTION)


def built(session: nox.Session, name: str) -> dict[str, Path]:
    """The wheel and the sdist of one build, with a date that does not depend on today's."""
    folder = emptied(session, name)
    session.run("python", "-m", "build", "--outdir", str(folder), str(ROOT), env={"SOURCE_DATE_EPOCH": "1700000000"})
    return {pattern: next(folder.glob(pattern)) for pattern in ("*.whl", "*.tar.gz")}


def emptied(session: nox.Session, name: str) -> Path:
    """A folder of this session with nothing in it."""
    folder = Path(session.create_tmp()).resolve() / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def checksum(file: Path) -> str:
    """What two builds have to agree in."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def run_tests(session: nox.Session, *arguments: str) -> None:
    """Pytest, with what follows `--` on the command line; a test installs the example plugin with pip."""
    session.install("pip")
    session.run("pytest", "-p", "no:cacheprovider", *arguments, *session.posargs)
