"""What is left of an error that a test meets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_vaeaudit.errors import stripped
from vaeaudit import verdict
from vaeaudit.errors import ModelError


@pytest.mark.parametrize(("where", "kept"), [("models.py", True), (None, False)], ids=("user", "library"))
def test_of_an_errors_cause_only_the_users_code_is_kept(where: str | None, kept: bool) -> None:
    file = where or Path(verdict.__file__).with_name("inside.py")
    names: dict[str, Any] = {}
    exec(compile("def call():\n    raise ValueError('in there')", str(file), "exec"), names)
    error = ModelError("the encoder failed")
    try:
        names["call"]()
    except ValueError as cause:
        frames = cause.__traceback__
        error.__cause__ = cause.with_traceback(frames and frames.tb_next)
    assert (stripped(error).__cause__ is not None) == kept
    assert error.__traceback__ is None
