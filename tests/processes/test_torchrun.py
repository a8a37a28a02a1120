"""What torchrun says in the environment: GPUs by local rank, and verdicts that are not measured again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from vaeaudit.errors import OptionError
from vaeaudit.processes import process_group
from vaeaudit.processes.torchrun import Attempt, placed, take_own_gpu

SECOND_OF_FOUR = {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
ONE_A_MACHINE = {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}


@pytest.mark.parametrize(
    ("settings", "environment", "expected"),
    [
        ({"device": "cuda"}, SECOND_OF_FOUR, {"device": "cuda:1"}),
        ({"device": "cuda"}, ONE_A_MACHINE, {"device": "cuda:0"}),
        ({"device": "cuda:3"}, SECOND_OF_FOUR, {"device": "cuda:3"}),
        ({"device": "cpu"}, SECOND_OF_FOUR, {"device": "cpu"}),
        ({}, SECOND_OF_FOUR, {}),
        ({"devices": "all", "seed": 1}, SECOND_OF_FOUR, {"device": "cuda:1", "seed": 1}),
        ({"devices": "all"}, ONE_A_MACHINE, {"devices": "all"}),
        ({"devices": ["cpu", "cpu"]}, SECOND_OF_FOUR, {"devices": ["cpu", "cpu"]}),
        ({"devices": ["cuda:0", "cuda:1"]}, ONE_A_MACHINE, {"devices": ["cuda:0", "cuda:1"]}),
    ],
)
def test_each_of_several_processes_on_a_machine_has_its_own_gpu(
    settings: dict[str, Any], environment: dict[str, str], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert placed(settings, environment) == expected


def test_all_gpus_of_a_machine_without_any_is_where_the_model_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert placed({"devices": "all"}, SECOND_OF_FOUR) == {}


def test_several_gpus_for_each_of_several_processes_are_refused() -> None:
    with pytest.raises(OptionError, match="would be taken by each of the 4 processes on this machine"):
        placed({"devices": ["cuda:0", "cuda:1"]}, SECOND_OF_FOUR)


@pytest.mark.parametrize(("gpus", "chosen"), [(4, [1]), (1, [])])
def test_the_current_gpu_is_the_processs_own_where_there_is_one(
    gpus: int, chosen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", found.append)
    take_own_gpu(SECOND_OF_FOUR)
    assert found == chosen


def _attempt(count: int, most: int, run: str = "a") -> Attempt:
    environment = {"RESTART_COUNT": count, "MAX_RESTARTS": most, "RUN_ID": run}
    return Attempt.read({f"TORCHELASTIC_{name}": str(value) for name, value in environment.items()})


def test_a_verdict_is_repeated_until_the_last_attempt(tmp_path: Path) -> None:
    output = tmp_path / "new" / "report"
    assert _attempt(0, 2).verdict_before(output) is None
    _attempt(0, 2).note(3, output)
    assert [_attempt(count, 2).verdict_before(output) for count in (1, 2)] == [3, 3]
    assert list(output.iterdir()) == []


@pytest.mark.parametrize(
    "then", [_attempt(0, 2), _attempt(1, 2, "another run"), Attempt.read({})], ids=["first", "another", "none"]
)
def test_a_verdict_of_another_run_is_not_repeated(tmp_path: Path, then: Attempt) -> None:
    _attempt(0, 2).note(1, tmp_path)
    assert then.verdict_before(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("attempt", "status"), [(_attempt(0, 2), 0), (_attempt(2, 2), 1), (Attempt.read({}), 1)])
def test_what_is_not_started_again_notes_nothing(tmp_path: Path, attempt: Attempt, status: int) -> None:
    attempt.note(status, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", ["", "[]", "null", '{"run": "a"}', '{"run": "a", "status": 0}', "[" * 3000])
def test_a_verdict_that_cannot_be_read_is_measured_again(tmp_path: Path, words: str) -> None:
    (tmp_path / ".vaeaudit-verdict").write_text(words)
    assert _attempt(1, 2).verdict_before(tmp_path) is None


JOB = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("environment", "several"),
    [({}, False), (JOB, True), ({**JOB, "WORLD_SIZE": "1"}, False), ({**JOB, "MASTER_ADDR": ""}, False)],
)
def test_a_job_of_several_processes_is_known_by_its_environment(environment: dict[str, str], several: bool) -> None:
    assert process_group._several(environment) == several


def test_an_environment_that_holds_no_numbers_is_refused() -> None:
    with pytest.raises(OptionError, match="WORLD_SIZE expects a whole number, as torchrun sets it, got 'two'"):
        process_group._several({**JOB, "WORLD_SIZE": "two"})


def test_a_process_that_was_started_by_itself_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with process_group.together() as ranks:
        assert (ranks.rank, ranks.size) == (0, 1)
    assert not torch.distributed.is_initialized()
