"""fit: determinism, resumption, averaging, errors."""

import csv
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import nn

from fer_teach.data import FaceDataset
from fer_teach.devices import on_fastest
from fer_teach.errors import FerTeachError
from fer_teach.kernels import dense
from fer_teach.training import Augment, Fit, Recipe, fit

FULL = Augment(shift=0.05, rotate=5, scale=0.05, brightness=0.05, contrast=0.1, erase=0.3, mixup=0.2)
RECIPE = Recipe(
    epochs=4, batch=64, ema=0.98, augment=FULL, label_smoothing=0.1, clip=1.0, weight_decay=0.01, precision="fp32"
)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def bars(count, seed=0, channels=1, side=12):
    """Four classes: in which quarter of the rows the bright bar lies."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (count,), generator=generator)
    images = (torch.rand(count, channels, side, side, generator=generator) * 100).byte()
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, label * side // 4 : (label + 1) * side // 4] += 120
    return FaceDataset("bars", "train", images, labels, tuple("abcd"))


def network(channels=1, side=12):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(),
        nn.Linear(8 * (side - 2) ** 2, 4),
    )  # fmt: skip


def cross_entropy(output, target, model):
    return F.cross_entropy(output, target)


def train(model=None, directory=None, recipe=RECIPE, seed=1, loss=cross_entropy, valid=True, **options):
    return fit(
        network() if model is None else model, bars(200), bars(100, 1) if valid else None,
        loss=loss, recipe=recipe, seed=seed, directory=directory, progress=False, **options,
    )  # fmt: skip


def assert_same_weights(a: Fit, b: Fit):
    for one, other in ((a.model, b.model), (a.ema_model, b.ema_model)):
        for (name, x), y in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
            assert torch.equal(x, y), name


def without_time(history):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]


class Killed(Exception):
    pass


def killed_after(calls):
    """A loss that fails at a given call, as a power cut would."""
    count = 0

    def loss(output, target, model):
        nonlocal count
        count += 1
        if count > calls:
            raise Killed
        return cross_entropy(output, target, model)

    return loss


def test_learns_and_reports():
    result = train()
    last = result.history[-1]
    assert [row["epoch"] for row in result.history] == [1, 2, 3, 4]
    assert last["valid_accuracy"] > 0.9
    assert last["lr"] < 1e-6
    assert result.seconds == pytest.approx(sum(row["seconds"] for row in result.history))
    assert not result.model.training
    assert not result.ema_model.training
    assert result.best is result.ema_model


def test_two_fits_of_one_seed_are_bit_identical_and_another_seed_differs():
    recipe = replace(RECIPE, precision="bf16", epochs=2)
    a, b, c = train(recipe=recipe), train(recipe=recipe), train(recipe=recipe, seed=2)
    assert_same_weights(a, b)
    assert without_time(a.history) == without_time(b.history)
    assert not torch.equal(a.model[0].weight, c.model[0].weight)


def test_the_callers_random_state_is_left_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    model = network()
    torch.manual_seed(7)
    train(model, recipe=replace(RECIPE, epochs=1))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("calls", [2, 4, 5, 9, 19])
def test_a_killed_run_resumes_to_the_weights_of_an_uninterrupted_one(tmp_path, calls):
    """4 steps and 1 validation batch an epoch: killed in epochs 1 to 4, in training and in validation."""
    whole = train()
    with pytest.raises(Killed):
        train(directory=tmp_path / "run", loss=killed_after(calls))
    resumed = train(directory=tmp_path / "run")
    assert_same_weights(whole, resumed)
    assert without_time(whole.history) == without_time(resumed.history)
    with open(tmp_path / "run" / "history.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["train_loss"]) for row in rows] == [row["train_loss"] for row in whole.history]


def test_a_finished_run_is_loaded_not_repeated(tmp_path):
    first = train(directory=tmp_path)
    again = train(directory=tmp_path, loss=killed_after(0))
    assert_same_weights(first, again)
    assert again.history == first.history


def test_two_processes_do_not_train_in_one_directory_at_once(tmp_path):
    """The second waits for the first and then loads what it left."""
    with ThreadPoolExecutor() as pool:
        with FileLock(tmp_path.with_name(f"{tmp_path.name}.lock")):
            second = pool.submit(train, directory=tmp_path)
            with pytest.raises(TimeoutError):
                second.result(timeout=1)
            assert not (tmp_path / "checkpoint.ckpt").exists()
        assert len(second.result(timeout=60).history) == RECIPE.epochs


class Travelling(nn.Linear):
    """A layer that says where it was sent."""

    def __init__(self):
        super().__init__(2, 2)
        self.sent = []

    def to(self, device):
        self.sent.append(torch.device(device).type)
        return self


def test_networks_go_to_the_gpu_for_a_while_and_stay_without_one(monkeypatch):
    one, other = Travelling(), Travelling()
    with on_fastest(one, other) as device:
        assert device == torch.device("cpu")
    assert one.sent == other.sent == []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def fail():
        with on_fastest(one, other) as device:
            assert device == torch.device("cuda")
            assert one.sent == ["cuda"]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert one.sent == other.sent == ["cuda", "cpu"]


def test_a_directory_of_another_run_is_refused(tmp_path):
    short = replace(RECIPE, epochs=1)
    train(directory=tmp_path, recipe=short)
    with pytest.raises(FerTeachError, match="another seed"):
        train(directory=tmp_path, recipe=short, seed=5)
    with pytest.raises(FerTeachError, match="another recipe"):
        train(directory=tmp_path)
    with pytest.raises(FerTeachError, match="another network"):
        train(nn.Sequential(nn.Flatten(), nn.Linear(144, 4)), directory=tmp_path, recipe=short)
    (tmp_path / "checkpoint.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(FerTeachError, match="cannot be read"):
        train(directory=tmp_path, recipe=short)


def test_averaged_weights_closed_form():
    """Two steps of plain gradient descent, decay by hand: min(decay, t / (t + 9))."""
    seen = []

    class Probe(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4))
            self.register_buffer("mean", torch.zeros(()))
            self.register_buffer("count", torch.zeros((), dtype=torch.long))

        def forward(self, x):
            if self.training:
                self.mean += 1
                self.count += 1
            return self.weight.expand(len(x), 4)

    def loss(output, target, model):
        seen.append(model.weight.detach().clone())
        return (output * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum(1).mean()

    recipe = Recipe(
        epochs=2, batch=200, optimizer="sgd", momentum=0.0, lr=0.1, schedule="constant", ema=0.15, precision="fp32"
    )
    result = train(Probe(), recipe=recipe, loss=loss, valid=False)
    first, last = seen[1], result.model.weight.detach()
    torch.testing.assert_close(first, -0.1 * torch.tensor([1.0, 2.0, 3.0, 4.0]))
    torch.testing.assert_close(last, 2 * first)
    after_one = 0.9 * first
    torch.testing.assert_close(result.ema_model.weight.detach(), 0.15 * after_one + 0.85 * last)
    assert float(result.ema_model.mean) == pytest.approx(0.15 * 0.9 + 0.85 * 2)
    assert int(result.ema_model.count) == 2


def test_weight_decay_spares_biases_and_norms():
    model = network()
    norm = model[1]
    with torch.no_grad():
        norm.weight.fill_(3.0)
    before = model[5].weight.detach().clone()
    recipe = Recipe(epochs=1, batch=200, lr=0.1, weight_decay=0.5, schedule="constant", precision="fp32")
    train(model, recipe=recipe, loss=lambda output, target, model: output.sum() * 0, valid=False)
    torch.testing.assert_close(model[5].weight.detach(), before * (1 - 0.05))
    assert torch.equal(norm.weight.detach(), torch.full((8,), 3.0))


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_every_optimizer_takes_colour_and_other_sizes(optimizer):
    recipe = Recipe(epochs=1, batch=16, optimizer=optimizer, clip=1.0)
    data = bars(33, channels=3, side=20)
    result = fit(network(3, 20), data, loss=cross_entropy, recipe=recipe, seed=0, progress=False)
    assert result.history[0]["valid_loss"] is None
    assert result.ema_model is None
    assert result.best is result.model


def test_batches_are_equal_and_cover_every_image_once():
    from fer_teach.loop import Batches

    batches = Batches(bars(129), 64, torch.Generator().manual_seed(0))
    labels = [label for *_, label in batches]
    assert [len(x) for x in labels] == [43, 43, 43]
    assert len(batches) == 3
    assert torch.equal(torch.cat(labels).sort()[0], bars(129).labels.sort()[0])
    assert not torch.equal(torch.cat(labels), torch.cat([label for *_, label in batches]))


def test_a_loss_that_is_no_number_stops_with_its_place():
    def loss(output, target, model):
        return output.sum() * float("nan")

    with pytest.raises(FerTeachError, match="became nan in epoch 1, step 1"):
        train(loss=loss)
    with pytest.raises(FerTeachError, match="scalar"):
        train(loss=lambda output, target, model: output.sum(1))


def test_unusable_data_is_refused():
    with pytest.raises(FerTeachError, match="training set is empty"):
        fit(network(), bars(5)[:0], loss=cross_entropy, recipe=RECIPE, seed=0)
    with pytest.raises(FerTeachError, match="must be a Recipe"):
        fit(network(), bars(5), loss=cross_entropy, recipe={"epochs": 1}, seed=0)


def test_quiet_and_one_line_of_progress(capsys, recwarn):
    train(recipe=replace(RECIPE, epochs=1))
    out, err = capsys.readouterr()
    assert (out, err) == ("", "")
    fit(network(), bars(200), bars(50), loss=cross_entropy, recipe=replace(RECIPE, epochs=1), seed=0)
    out, err = capsys.readouterr()
    assert out == ""  # a page keeps stdout
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert "1 epochs" not in err
    assert "1 epoch in" in err
    assert "validation" in err
    assert [str(w.message) for w in recwarn if "lightning" in str(w.filename)] == []


def test_interrupting_a_fit_is_a_keyboard_interrupt_and_leaves_the_handler():
    def loss(output, target, model):
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(loss=loss)
    assert signal.getsignal(signal.SIGINT) is before


def test_lightning_is_loaded_only_to_train():
    code = "import sys, fer_teach.training, fer_teach.evaluation; print('lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_a_parameter_may_learn_slowly():
    moved = {}
    for scale in (1.0, 0.0):
        model = network()
        before = [p.detach().clone() for p in model.parameters()]
        next(model.parameters()).lr_scale = scale
        fit(model, bars(40), loss=cross_entropy, recipe=replace(RECIPE, epochs=1), seed=0, progress=False)
        moved[scale] = [float((p.detach() - b).abs().max()) for p, b in zip(model.parameters(), before, strict=True)]
    assert moved[0.0][0] == 0
    assert moved[1.0][0] > 0
    assert moved[0.0][-1] > 0


def test_bf16_is_used_only_where_the_processor_computes_it(monkeypatch):
    from fer_teach import processor

    for flags, limit, fast in (
        ("avx2 avx512f avx512_bf16", None, True),
        ("avx2 avx512f", None, False),
        ("avx2 avx512_bf16 amx_bf16", "AVX2", False),
        ("avx2 avx512_bf16 amx_bf16", "AVX512_CORE_AMX", True),
    ):
        monkeypatch.setattr(processor, "_listing", lambda flags=flags: {"flags": flags})
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit) if limit else monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", False)
        assert processor.fast_bf16() is fast


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "seen"), [(8, 1, 2, 1), (16, 1, 2, 2), (8, 3, 2, 2), (8, 1, (1, 2), 1)]
)
def test_a_stride_that_writes_behind_its_memory_is_taken_before_the_convolution(channels, kernel, stride, seen):
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, 8, kernel, stride, kernel // 2).to(memory_format=torch.channels_last)
    x = torch.randn(2, channels, 7, 8).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = conv(x)
    with dense():
        y = conv(x)
        assert torch.equal(conv.eval().requires_grad_(False)(x), expected)
    assert y.grad_fn._saved_stride == (seen, seen)
    torch.testing.assert_close(y, expected)
    assert F.conv2d is torch.conv2d


def test_on_one_pixel_the_stride_is_left_out():
    torch.manual_seed(0)
    conv, x = nn.Conv2d(32, 8, 3, 2, 1), torch.randn(2, 32, 1, 1)
    expected = conv(x)
    with dense():
        assert conv(x).grad_fn._saved_stride == (1, 1)
        torch.testing.assert_close(conv(x), expected)
        assert conv(torch.randn(2, 32, 2, 2)).grad_fn._saved_stride == (2, 2)
        assert nn.Conv2d(32, 8, 1, 2, 1)(x).shape == (2, 8, 2, 2)  # a margin that makes more of one pixel stays


def test_the_gradient_on_one_pixel_reads_no_foreign_memory():
    conv = nn.Conv2d(32, 64, 3, 2, 1).to(memory_format=torch.channels_last)
    x = torch.randn(32, 32, 1, 1).contiguous(memory_format=torch.channels_last)
    found = []
    for _ in range(60):
        rubbish = [torch.full((n,), float("nan")) for n in (1000, 4096, 5000, 16384, 40000) for _ in range(6)]
        del rubbish
        conv.zero_grad(set_to_none=True)
        with dense(), torch.autocast("cpu", torch.bfloat16):
            conv(x).float().square().mean().backward()
        found.append(conv.weight.grad.clone())
    assert all(torch.equal(one, found[0]) for one in found)


def test_fit_trains_with_dense_strides():
    seen = []

    def loss(output, target, model):
        seen.append(model[0](torch.zeros(1, 1, 12, 12)).grad_fn._saved_stride)
        return F.cross_entropy(output, target)

    model = nn.Sequential(nn.Conv2d(1, 8, 1, 2), nn.Flatten(), nn.Linear(8 * 36, 4))
    train(model, recipe=replace(RECIPE, epochs=1, augment=None, label_smoothing=0.0, ema=None), loss=loss, valid=False)
    assert set(seen) == {(1, 1)}
