"""Charts of one's own have a page's colours, and stand by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaeaudit import OptionError
from vaeaudit.report.pages import charts
from vaeaudit.report.pages.charts import COLOURS, INK, SERIES, Chart, chart, logarithmic


def _drawn() -> Chart:
    def draw(axes: np.ndarray[Any, Any]) -> None:
        for axis in axes[0]:
            axis.plot([1, 10, 100], [1, 2, 3], color=INK)
            axis.plot([1, 10, 100], [3, 2, 1], color=SERIES[5])
        logarithmic(axes[0, 1], "x")

    return chart("name.part", "T", "D & d", draw, columns=2, height=2)


def test_a_chart_stands_alone_and_in_a_page() -> None:
    found = _drawn()
    assert "<title>D &amp; d</title>" in found.file
    assert "var(" not in found.file
    for drawn in (INK, SERIES[5]):
        variable, colour = COLOURS[drawn]
        assert variable in found.element
        assert colour in found.file
        assert drawn not in found.file + found.element
    assert ">100</text>" in found.element
    assert "mathdefault" not in found.element
    assert found == _drawn(), "drawn again it is the same"


def test_a_file_has_the_colours_of_a_light_page() -> None:
    style = (Path(charts.__file__).parent / "templates" / "report.css").read_text()
    light = style[: style.index("@media")]
    for variable, colour in COLOURS.values():
        assert f"{variable.removeprefix('var(').removesuffix(')')}: {colour};" in light


@pytest.mark.parametrize("name", ["", "../up", 'x" onload="alert(1)', r"a\g<2>", "two words", ".hidden"])
def test_a_name_that_is_no_files_and_no_ids_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match="name expects letters, digits"):
        chart(name, "T", "D", lambda axes: None, height=1)
