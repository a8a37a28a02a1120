"""Arrays are recognised whatever numpy makes of the annotation `NDArray`."""

import typing

import numpy as np
import pytest
from numpy.typing import NDArray
from typing_extensions import TypeAliasType

from vaeaudit.report import codec

Scalar = typing.TypeVar("Scalar", bound=np.generic)
Alias = TypeAliasType("NDArray", np.ndarray[tuple[typing.Any, ...], np.dtype[Scalar]], type_params=(Scalar,))
"""As numpy 2.5 declares it for Python 3.12 and later."""


@pytest.mark.parametrize("name", ["float64", "int64", "bool"])
def test_an_array_is_rebuilt_with_its_dtype_by_this_numpy_and_by_a_newer_one(name, monkeypatch):
    scalar = np.dtype(name).type
    data = np.array([0, 1, 1], name)
    for annotation in (NDArray, Alias):
        monkeypatch.setattr(codec, "NDArray", annotation)
        rebuilt = codec.from_builtin(annotation[scalar], codec.to_builtin(data))
        assert rebuilt.dtype == data.dtype
        np.testing.assert_array_equal(rebuilt, data)
    assert codec.dtype_of(list[int]) is None
