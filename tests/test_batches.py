"""Micro-batches: a row's result depends on nothing but the row, and running out of memory loses nothing."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from vaeaudit import Autoencoder, batches, memory, zoo
from vaeaudit.batches import Sizes, in_batches, micro_batched, remembering, rows_at_once
from vaeaudit.errors import FallbackWarning, ModelError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encode():
    model = zoo.load_model("mnist-vae")
    return lambda images: model.encode(images)[0]


@pytest.fixture(scope="module")
def images() -> Tensor:
    return zoo.images("mnist-vae")[0]


@pytest.fixture
def sizes() -> Iterator[Sizes]:
    """Sizes that are remembered, as in an audit."""
    kept = Sizes()
    with remembering(kept):
        yield kept


class Seen:
    """A function of rows that notes how many it is given at once."""

    def __init__(self, function: Callable[..., Tensor] = lambda x: 2 * x) -> None:
        self.function = function
        self.rows: list[int] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        return self.function(x)


def test_results_come_back_in_order_and_number(images: Tensor) -> None:
    for count in (1, 127, 128, 129, 200):
        assert torch.equal(in_batches(lambda x: 2 * x, images[:count]), 2 * images[:count])


@pytest.mark.parametrize("remembered", [False, True])
@pytest.mark.parametrize("count", [1, 3, 64, 130])
def test_a_row_is_the_same_to_the_last_bit_alone_and_in_company(
    encode, images: Tensor, count: int, remembered: bool
) -> None:
    with remembering(Sizes()) if remembered else warnings.catch_warnings():
        together = in_batches(encode, images)
        assert torch.equal(in_batches(encode, images[:count]), together[:count])
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        assert torch.equal(in_batches(encode, images[order]), together[order])


@pytest.mark.parametrize("remembered", [False, True])
@pytest.mark.parametrize("count", [1, 5, 17, 130])
def test_a_gradient_is_the_same_to_the_last_bit_alone_and_in_company(
    encode, images: Tensor, count: int, remembered: bool
) -> None:
    def gradients(x: Tensor) -> tuple[Tensor, Tensor]:
        inputs = x.detach().requires_grad_()
        values = encode(inputs).square().sum(1)
        return values.detach(), torch.autograd.grad(values.sum(), inputs)[0]

    with remembering(Sizes()) if remembered else warnings.catch_warnings():
        together = micro_batched(gradients, images)
        for few in (slice(0, count), slice(len(images) - count, None)):
            for alone, whole in zip(micro_batched(gradients, images[few]), together, strict=True):
                assert torch.equal(alone, whole[few])


def test_where_sizes_round_differently_every_batch_is_padded_to_the_full_size(sizes: Sizes) -> None:
    f = Seen(lambda x: x + 1e-6 * len(x))
    rows = torch.rand(300, 784)
    together = in_batches(f, rows)
    for _ in range(12):  # each size is tried when a batch first asks for it
        f.rows.clear()
        assert torch.equal(in_batches(f, rows[:3]), together[:3])
        assert torch.equal(in_batches(f, rows[7:60]), together[7:60])
    assert f.rows == [rows_at_once(784, CPU)] * 2


def test_where_sizes_round_alike_a_short_batch_is_padded_to_the_next_one(sizes: Sizes) -> None:
    f = Seen()
    rows = torch.rand(300, 784)
    for count, padded in ((1, 4), (4, 4), (5, 6), (33, 48), (49, 64), (65, 96), (97, 128), (128, 128), (130, 128)):
        in_batches(f, rows[:count])
        f.rows.clear()
        assert torch.equal(in_batches(f, rows[:count]), 2 * rows[:count])
        assert f.rows[0] == padded
    assert f.rows == [128, 4]


def test_each_size_is_tried_on_every_row_of_a_batch_when_it_is_first_asked_for(sizes: Sizes) -> None:
    f = Seen(lambda x: x + 1e-6 * (len(x) < 32))
    rows = torch.rand(300, 784)
    for count in (20, 40, 3, 40):
        in_batches(f, rows[:count])
    (settled,) = sizes.settled.values()
    assert settled.alike == {24: False, 48: True, 4: False}
    assert f.rows == [128, 24, 128, 48, 48, 48, 128, 4, 48]


def test_one_row_that_rounds_differently_is_enough_to_refuse_a_size(sizes: Sizes) -> None:
    rows = torch.rand(128, 784)
    f = Seen(lambda x: x + 1e-6 * (len(x) < 128) * (x[:, :1] == rows[127, 0]))
    together = in_batches(f, rows)
    in_batches(f, rows[40:])
    (settled,) = sizes.settled.values()
    assert settled.alike == {96: False}
    assert torch.equal(in_batches(f, rows[40:]), together[40:])


def test_figures_that_are_all_alike_prove_nothing(sizes: Sizes) -> None:
    f = Seen(lambda x: torch.where(x > 0, x + 1e-6 * len(x), x))
    for _ in range(2):
        in_batches(f, torch.zeros(3, 784))
    rows = torch.rand(3, 784)
    assert torch.equal(in_batches(f, rows), rows + 1e-6 * 128)
    assert torch.equal(in_batches(f, rows[:1]), rows[:1] + 1e-6 * 128)


def test_trials_that_prove_nothing_come_to_an_end(sizes: Sizes) -> None:
    f = Seen(lambda x: x.sum(1))
    for _ in range(9):
        in_batches(f, torch.rand(2, 784))
    assert f.rows == [128] * 9


def test_without_a_trial_nothing_is_evaluated_twice(sizes: Sizes) -> None:
    f = Seen()
    in_batches(f, torch.rand(256, 784))
    assert f.rows == [128, 128]


def test_several_arguments_and_results_stay_together(images: Tensor) -> None:
    index = torch.arange(len(images))
    total, same = micro_batched(lambda x, i: (x.flatten(1).sum(1) + i, i), images, index)
    torch.testing.assert_close(total, images.flatten(1).sum(1) + index)
    assert torch.equal(same, index)


def test_a_transposed_argument_is_that_of_its_copy(encode, images: Tensor) -> None:
    turned = images.mT.contiguous().mT
    assert torch.equal(in_batches(encode, turned), in_batches(encode, images))


def test_large_inputs_come_in_fewer_rows() -> None:
    assert rows_at_once(784, CPU) == 128
    assert rows_at_once(3 * 32 * 32, CPU) == 128
    assert rows_at_once(3 * 64 * 64, CPU) == 32
    assert rows_at_once(10**9, CPU) == 1


@pytest.mark.parametrize("n", [1, 3, 784, 3072, 10**5, 10**7])
@pytest.mark.parametrize("device", ["cpu", "cuda", "meta"])
def test_a_size_is_a_power_of_two(n: int, device: str) -> None:
    size = rows_at_once(n, torch.device(device))
    assert size & (size - 1) == 0 < size


class Narrow(Seen):
    """Runs out of memory above a number of rows, as a device does; from a call on, if that is said."""

    def __init__(self, most: int, error: Callable[[], Exception], *, after: int = 0) -> None:
        super().__init__()
        self.most, self.error, self.after = most, error, after
        self.done: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        if len(x) > self.most and len(self.rows) >= self.after:
            raise self.error()
        self.done.append(x.clone())
        return super().__call__(x)


def _wrapped() -> Exception:
    """As a failure inside the user's model arrives."""
    error = ModelError("the encoder failed")
    error.__cause__ = RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")
    return error


ERRORS = {
    "cuda": lambda: torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    "torch": lambda: torch.OutOfMemoryError("out of memory"),
    "cpu": lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"),
    "windows": lambda: RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes"),
    "cublas": lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "python": MemoryError,
    "inside the model": _wrapped,
}


@pytest.mark.parametrize("kind", ERRORS)
def test_running_out_of_memory_halves_the_batch_until_it_fits(kind: str, sizes: Sizes) -> None:
    rows = torch.rand(300, 784)
    f = Narrow(40, ERRORS[kind])
    with pytest.warns(FallbackWarning, match=r"memory ran out on cpu at 128 rows at once; smaller") as caught:
        assert torch.equal(in_batches(f, rows), 2 * rows)
    assert len(caught) == 1
    assert set(f.rows[:9]) == {32}


def test_rows_that_were_done_are_not_done_again(sizes: Sizes) -> None:
    rows = torch.rand(384, 784)
    f = Narrow(64, ERRORS["torch"], after=2)
    with pytest.warns(FallbackWarning):
        assert torch.equal(in_batches(f, rows), 2 * rows)
    assert f.rows == [128, 128, 64, 64]
    assert torch.equal(torch.cat(f.done), rows)


def test_the_smaller_size_stays_and_is_said_once(sizes: Sizes) -> None:
    f = Narrow(32, ERRORS["torch"])
    rows = torch.rand(64, 784)
    with pytest.warns(FallbackWarning):
        in_batches(f, rows)
    f.rows.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        in_batches(f, rows)
        assert f.rows == [32, 32]
        in_batches(Seen(), rows)
        f.most = 16
        in_batches(f, rows)
    assert f.rows[2:] == [16] * 4


def test_another_function_or_row_or_audit_has_sizes_of_its_own(sizes: Sizes) -> None:
    rows = torch.rand(64, 784)
    with pytest.warns(FallbackWarning):
        in_batches(Narrow(32, ERRORS["torch"]), rows)
    other = Seen()
    in_batches(lambda x: other(x), rows)
    assert other.rows[0] == 128
    wide = Narrow(10**6, ERRORS["torch"])
    in_batches(wide, torch.rand(64, 783))
    assert wide.rows[0] == 128
    with remembering(Sizes()):
        fresh = Narrow(10**6, ERRORS["torch"])
        in_batches(fresh, rows)
    assert fresh.rows[0] == 128


def test_closures_and_partials_made_in_one_place_share_a_size(sizes: Sizes) -> None:
    seen = Seen()

    def scaled(x: Tensor, by: float) -> Tensor:
        return seen(x) * by

    for by in (2.0, 3.0):
        in_batches(functools.partial(scaled, by=by), torch.rand(128, 784))
        in_batches(lambda x, by=by: seen(x) * by, torch.rand(128, 784))
    assert len(sizes.settled) == 2


def test_a_short_batch_that_no_longer_fits_is_halved_too(sizes: Sizes) -> None:
    f = Narrow(10**6, ERRORS["torch"])
    rows = torch.rand(128 + 30, 784)
    in_batches(f, rows)
    f.rows.clear()
    f.most = 8
    with pytest.warns(FallbackWarning, match="at 32 rows"):
        assert torch.equal(in_batches(f, rows[:30]), 2 * rows[:30])
    assert f.rows[:4] == [8] * 4
    (settled,) = sizes.settled.values()
    assert settled.size == 8


def test_a_row_that_does_not_fit_is_an_error_that_says_what_to_do(sizes: Sizes) -> None:
    with (
        pytest.warns(FallbackWarning),
        pytest.raises(
            ModelError, match=r"a single row of shape \(7,\) does not fit into the memory of cpu .*audit on"
        ) as e,
    ):
        in_batches(Narrow(0, ERRORS["torch"]), torch.rand(3, 7))
    assert isinstance(e.value.__cause__, torch.OutOfMemoryError)


@pytest.mark.parametrize("error", [RuntimeError("shapes cannot be multiplied"), ValueError("out of memory bank 3")])
def test_other_errors_are_not_taken_for_a_lack_of_memory(error: Exception, sizes: Sizes) -> None:
    def fail() -> Exception:
        return error

    with pytest.raises(type(error), match=str(error)):
        in_batches(Narrow(0, fail), torch.rand(3, 7))


def test_an_autoencoder_keeps_its_sizes_from_one_rest_to_the_next(images: Tensor) -> None:
    model = zoo.load_model("mnist-vae")
    narrow = Narrow(32, ERRORS["cpu"])
    ae = Autoencoder(lambda x: model.encode(narrow(x) / 2), model.decode)
    with ae.at_rest(), pytest.warns(FallbackWarning):
        first = ae.posteriors(images).mean
    narrow.rows.clear()
    with ae.at_rest(), ae.at_rest():
        assert torch.equal(ae.posteriors(images).mean, first)
    assert max(narrow.rows) == 32
    torch.testing.assert_close(first, model.encode(images)[0])


class Device:
    """Stands in for a CUDA device's memory: what a row takes, and what is free."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, free: int, row: int, workspace: int = 0) -> None:
        self.free, self.row, self.workspace = free, row, workspace
        self.now = self.peak = 10**6
        self.emptied = 0
        for name, function in {
            "mem_get_info": lambda device: (self.free, 10**12),
            "memory_reserved": lambda device: self.now + 100,
            "memory_allocated": lambda device: self.now,
            "reset_peak_memory_stats": self.reset,
            "max_memory_allocated": lambda device: self.peak,
            "empty_cache": self.empty,
        }.items():
            monkeypatch.setattr(torch.cuda, name, function)

    def reset(self, device: torch.device) -> None:
        self.peak = self.now

    def empty(self) -> None:
        self.emptied += 1

    def compute(self, x: Tensor) -> tuple[Tensor]:
        self.now += self.workspace  # which libraries keep
        self.workspace = 0
        if len(x) * self.row > self.free:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.peak = max(self.peak, self.now + len(x) * self.row)
        return (2 * x,)


CUDA = torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("free", "row", "size"),
    [
        (10**12, 1000, 2048),
        (4 * 1000 * 1000, 1000, 512),
        (4 * 1000 * 512 - 100, 1000, 512),
        (4 * 1000 * 512 - 101, 1000, 256),
        (4000, 1000, 4),
        (8000, 1000, 2),
        (10**9, 0, 2048),
    ],
)
def test_on_a_gpu_the_first_size_is_what_fits_into_a_quarter_of_the_free_memory(
    monkeypatch: pytest.MonkeyPatch, free: int, row: int, size: int
) -> None:
    device = Device(monkeypatch, free=free, row=row)
    assert batches._size_that_fits(device.compute, (_on_gpu(torch.rand(3, 784)),), 2048) == size


def _on_gpu(rows: Tensor) -> Tensor:
    """A tensor that says that it lives on a GPU."""

    class There(torch.Tensor):
        device = CUDA  # type: ignore[assignment]

    return rows.as_subclass(There)


def test_workspaces_that_libraries_keep_do_not_count_as_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(monkeypatch, free=4 * 1000 * 1000, row=1000, workspace=10**9)
    assert batches._size_that_fits(device.compute, (_on_gpu(torch.rand(20, 784)),), 2048) == 512


def test_on_a_gpu_the_measured_size_is_kept_and_memory_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(monkeypatch, free=4 * 1000 * 64, row=1000)
    rows = _on_gpu(torch.rand(200, 784))
    seen: list[int] = []

    def function(x: Tensor) -> tuple[Tensor]:
        seen.append(len(x))
        return device.compute(x)

    with remembering(Sizes()), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(micro_batched(function, rows[:128])[0], 2 * rows[:128])
        assert seen == [8, 8, 64, 64]
        device.free = 40 * 1000
        warnings.simplefilter("ignore", FallbackWarning)
        assert torch.equal(micro_batched(function, rows[:128])[0], 2 * rows[:128])
        assert seen[5:] == [32] * 4
        assert device.emptied == 1


def test_free_memory_is_that_of_the_device_and_of_torchs_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    Device(monkeypatch, free=5, row=1)
    assert memory.free_bytes(CUDA) == 105
