"""The fingerprint of a model's code changes with what it computes, and with nothing else."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vaeaudit import Autoencoder, zoo
from vaeaudit.code_identity import read_code

SOURCE = """
import functools
import math
import torch
from torch import nn
import torch.nn.functional as F
HELPERS

SCALE = 2.0
SHIFTS = (0.1, (0.2, "a"))
COUNT = 0
CALLS = []

def squash(x):
    return soft(x) * SCALE

def soft(x):
    return torch.tanh(x) + SHIFTS[0]

def unrelated(x):
    return x + 1

def decorated(function):
    @functools.wraps(function)
    def inner(*arguments):
        return function(*arguments)
    return inner

class Base(nn.Module):
    LIMIT = 5

    def head(self, x):
        return x.clamp(-self.LIMIT, self.LIMIT)

class Model(Base):
    def __init__(self, slope=0.1):
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.act = nn.LeakyReLU(slope)
        self.temperature = 1.5
        self.calls = 0

    @property
    def cold(self):
        return self.temperature / 2

    @staticmethod
    def halved(x):
        return x / 2

    def encode(self, x, power=2):
        global COUNT
        COUNT += 1
        self.calls += 1
        CALLS.append(1)
        return self.head(squash(self.act(self.layer(x)))) ** power * self.cold

    @decorated
    def decode(self, z):
        return [self.halved(F.pad(part, (1, 1))) for part in (z, z)][0]
"""
_numbers = itertools.count()
Make = Callable[..., types.ModuleType]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Import the source, with some of its text changed, as a module of its own."""
    made: list[str] = []

    def module(*changes: tuple[str, str], helpers: str = "", name: str = "") -> types.ModuleType:
        text = SOURCE.replace("HELPERS", helpers)
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        made.append(name or f"code_subject_{next(_numbers)}")
        path = tmp_path / f"{made[-1]}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(made[-1], path)
        assert spec is not None
        assert spec.loader is not None
        found = sys.modules[made[-1]] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found)
        return found

    yield module
    for name in made:
        del sys.modules[name]


def fingerprint_of(part: Any) -> str:
    return read_code(part).fingerprint


def of(module: types.ModuleType) -> str:
    model = module.Model()
    return Autoencoder(model.encode, model.decode).code_fingerprint()


def _moved(text: str) -> tuple[str, str]:
    return text, f"# a comment\n\n\n{text}"


WITHOUT_EFFECT = {
    "nothing": (),
    "another file": (("SCALE = 2.0", "SCALE = 2.0  # twice"),),
    "lines above": (_moved("class Base"), _moved("def squash")),
    "an unrelated function": (("return x + 1", "return x + 100"),),
    "a docstring": (("def squash(x):", 'def squash(x):\n    """Squash."""'), ("class Model(Base):", 'class Model(Base):\n    "A model."\n')),
    "a comment inside": (("    return soft(x)", "    # softly\n    return soft(x)"),),
    "a class around the model": (("class Model(Base):", "class Other(Base):\n    pass\n\nclass Model(Base):"),),
    "an unused constant": (("COUNT = 0", "COUNT = 0\nUNUSED = 3"),),
}  # fmt: skip


@pytest.mark.parametrize("change", WITHOUT_EFFECT)
def test_what_computes_the_same_has_the_same_fingerprint(make: Make, change: str) -> None:
    assert of(make(*WITHOUT_EFFECT[change])) == of(make())


WITH_EFFECT = {
    "the method itself": ("self.head(squash(", "self.head(2 * squash("),
    "a default": ("power=2", "power=3"),
    "a helper": ("return soft(x) * SCALE", "return soft(x) / SCALE"),
    "a helper's helper": ("torch.tanh(x) +", "torch.sigmoid(x) +"),
    "a global constant": ("SCALE = 2.0", "SCALE = 2.5"),
    "a constant inside a tuple": ('(0.2, "a")', '(0.2, "b")'),
    "a class constant": ("LIMIT = 5", "LIMIT = 6"),
    "a method of a base class": ("x.clamp(-self.LIMIT", "x.clamp(-2 * self.LIMIT"),
    "a property": ("self.temperature / 2", "self.temperature / 3"),
    "a setting of an instance": ("self.temperature = 1.5", "self.temperature = 2.5"),
    "a static method": ("return x / 2", "return x / 4"),
    "a decorated method's comprehension": ("F.pad(part, (1, 1))", "F.pad(part, (1, 2))"),
    "a layer's setting": ("slope=0.1", "slope=0.2"),
    "a decorator": ("return function(*arguments)", "return -function(*arguments)"),
    "a keyword": ("torch.tanh(x)", "torch.nan_to_num(x, nan=0.0)"),
}


@pytest.mark.parametrize("change", WITH_EFFECT)
def test_what_computes_something_else_has_another_fingerprint(make: Make, change: str) -> None:
    assert of(make(WITH_EFFECT[change])) != of(make())


@pytest.mark.parametrize("way", ["import HELP", "from HELP import soft as smooth"])
def test_helpers_in_another_file_count(make: Make, way: str) -> None:
    call = "HELP.soft(x)" if way.startswith("import") else "smooth(x)"
    prints = []
    for change in ("torch.tanh(x)", "torch.sin(x)", "torch.tanh(x)"):
        name = f"code_helpers_{next(_numbers)}"
        make(("torch.tanh(x)", change), ("return x + 1", f"return x + {len(prints)}"), name=name)
        imported = way.replace("HELP", name) + (f" as HELP{len(prints) % 1}" if way.startswith("import") else "")
        module = make(("return soft(x) * SCALE", f"return {call.replace('HELP', 'HELP0')} * SCALE"), helpers=imported)
        prints.append(of(module))
    assert prints[0] != prints[1]
    assert prints[0] == prints[2]


def test_running_the_model_changes_nothing(make: Make) -> None:
    module = make()
    model = module.Model()
    ae = Autoencoder(model.encode, model.decode)
    before = ae.code_fingerprint()
    model.eval()
    model.encode(torch.rand(3, 4))
    assert (model.calls, module.COUNT, module.CALLS) == (1, 1, [1])
    assert ae.code_fingerprint() == before


def test_another_process_finds_the_same(make: Make) -> None:
    module = make()
    code = (
        f"import sys; sys.path.insert(0, {str(Path(str(module.__file__)).parent)!r}); import {module.__name__} as m; "
    )
    code += "from vaeaudit import Autoencoder; x = m.Model(); print(Autoencoder(x.encode, x.decode).code_fingerprint())"
    other = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environment = {**os.environ, "PYTHONHASHSEED": other}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == of(module)


def test_weights_are_no_code(make: Make) -> None:
    module = make()
    one, other = module.Model(), module.Model()
    with torch.no_grad():
        other.layer.weight.add_(1)
    assert fingerprint_of(one) == fingerprint_of(other)
    assert fingerprint_of(one) == fingerprint_of(one.double())


def test_a_copy_on_another_device_is_the_same_code(make: Make) -> None:
    model = make().Model()
    ae = Autoencoder(lambda x: model.encode(x), functools.partial(model.decode))
    assert ae.on("meta").code_fingerprint() == ae.code_fingerprint()


FUNCTIONS: dict[str, Callable[[float], Any]] = {
    "closure": lambda value: lambda x: x * value,
    "default": lambda value: lambda x, scale=value: x * scale,
    "keyword default": lambda value: lambda x, *, scale=value: x * scale,
    "partial": lambda value: functools.partial(torch.mul, other=value),
    "partial of a closure": lambda value: functools.partial(lambda y, x: x * value, 0),
    "tuple": lambda value: lambda x, scales=((value,),): x * scales[0][0],
    "object": lambda value: Scaled(value),
    "method of an object": lambda value: Scaled(value).run,
    "function in a list": lambda value: functools.partial(sum, [lambda x: x * value]),
    "cached": lambda value: functools.lru_cache(lambda x: x * value),
    "no_grad": lambda value: torch.no_grad()(lambda x: x * value),
    "set": lambda value: lambda x, kinds=frozenset({value, "a", "b"}): kinds,
    "array": lambda value: functools.partial(torch.mul, torch.full((2,), value).numpy()),
    "hook": lambda value: hooked(value),
}


class Scaled:
    """An object that computes with a number."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def run(self, x: Any) -> Any:
        return x * self.scale

    __call__ = run


def hooked(value: float) -> nn.Module:
    layer = nn.Identity()
    layer.register_forward_hook(lambda module, inputs, output: output * value)
    return layer


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_constants_behind_functions_and_objects_count(kind: str) -> None:
    make = FUNCTIONS[kind]
    assert fingerprint_of(make(2.0)) == fingerprint_of(make(2.0))
    assert fingerprint_of(make(2.0)) != fingerprint_of(make(3.0))


def test_builtin_functions_are_told_apart() -> None:
    assert fingerprint_of(torch.relu) != fingerprint_of(torch.tanh)


@pytest.mark.filterwarnings("ignore")  # torch warns of its own compilers
@pytest.mark.parametrize("compiler", [torch.jit.script, lambda m: torch.jit.trace(m, torch.rand(2, 3)), torch.compile])
def test_compiled_models_have_a_fingerprint_of_their_own_code(compiler: Callable[[nn.Module], Any]) -> None:
    def make(slope: float) -> Any:
        torch.manual_seed(0)
        return compiler(nn.Sequential(nn.Linear(3, 3), nn.LeakyReLU(slope)))

    assert fingerprint_of(make(0.1)) == fingerprint_of(make(0.1))
    assert fingerprint_of(make(0.1)) != fingerprint_of(make(0.2))


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_function_is_read_through() -> None:
    def compiled(value: float) -> Any:
        return torch.compile(lambda x: x * value, backend="eager")

    assert fingerprint_of(compiled(2.0)) == fingerprint_of(compiled(2.0)) != fingerprint_of(compiled(3.0))


def test_models_that_hang_together_in_a_ring_are_read_once() -> None:
    one, other = Scaled(1.0), Scaled(2.0)
    one.next, other.next = other, one  # type: ignore[attr-defined]
    assert fingerprint_of(one) == fingerprint_of(one)


def test_bundled_models_of_one_architecture_share_their_code() -> None:
    prints = {name: zoo.load(name).code_fingerprint() for name in ("mnist-vae", "mnist-vae-beta4", "mnist-ae")}
    assert prints["mnist-vae"] == prints["mnist-vae-beta4"] != prints["mnist-ae"]


def test_libraries_that_a_model_comes_from_are_named_with_their_version() -> None:
    diffusers = pytest.importorskip("diffusers")
    model = diffusers.AutoencoderKL(block_out_channels=(4,), norm_num_groups=2, latent_channels=2)
    found = read_code(model).libraries
    assert found["diffusers"] == diffusers.__version__
    assert "pythae" not in found
    assert set(read_code(nn.Linear(2, 2)).libraries) == {"torch"}


def _positive(x: Tensor) -> Tensor:
    assert (x.sum() >= 0) == 1
    return x


def test_what_pytest_writes_into_assertions_is_no_code_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "@pytest_ar" in _positive.__code__.co_names
    before = fingerprint_of(_positive)
    monkeypatch.setattr("_pytest.assertion.util._reprcompare", lambda *_: "what every test sets anew")
    assert fingerprint_of(_positive) == before
