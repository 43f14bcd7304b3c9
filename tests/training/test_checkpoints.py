"""Checkpoints: the same back, whole whenever the process dies, and no pickle opened."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.plugins import MixedPrecision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from shopsight import held_files
from shopsight.errors import HeldFileError, TrainingError, WriteError
from shopsight.files import sha256_bytes, sha256_file, sha256_json
from shopsight.training import checkpoints
from shopsight.training.checkpoints import (
    ITEMS,
    TENSOR,
    CheckpointFiles,
    read_checkpoint,
    resume_point,
    tensor_files,
    write_checkpoint,
)
from tests.helpers import edit_json
from tests.windows import is_mapped

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.bool)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Tensors of any type and memory order, also views and scalars."""
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    seed = draw(st.integers(0, 99))
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 10
    tensor = values.to(draw(st.sampled_from(DTYPES)))
    tensor = tensor.permute(draw(st.permutations(range(tensor.ndim))))
    return tensor[..., ::2] if tensor.ndim and draw(st.booleans()) else tensor


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | tensors()
KEYS = st.text() | st.integers(0, 99) | st.sampled_from(["$tensor", "$tuple", "$items", "a.b"])
STATES = st.dictionaries(
    st.text(min_size=1),
    st.recursive(
        LEAVES,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(KEYS, inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


def assert_same(first: Any, second: Any) -> None:
    assert type(first) is type(second)
    if isinstance(first, torch.Tensor):
        assert (first.dtype, first.shape) == (second.dtype, second.shape)
        assert first.contiguous().view(-1).tolist() == pytest.approx(
            second.contiguous().view(-1).tolist(), abs=0, rel=0, nan_ok=True
        )
    elif isinstance(first, dict):
        assert list(first) == list(second)
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        assert repr(first) == repr(second)


@given(STATES)
def test_every_state_comes_back_with_its_types(
    tmp_path_factory: pytest.TempPathFactory, state: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("state") / "last.json"
    write_checkpoint(path, state)
    assert_same(read_checkpoint(path), state)


def test_tensors_keep_their_order_in_memory(tmp_path: Path) -> None:
    moment = torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last)
    write_checkpoint(tmp_path / "last.json", {"moment": moment, "matrix": torch.randn(3, 2).T})
    state = read_checkpoint(tmp_path / "last.json")
    assert state["moment"].stride() == moment.stride()
    assert state["matrix"].stride() == (1, 2)


def test_one_tensor_under_two_names_comes_back_as_two(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    write_checkpoint(tmp_path / "last.json", {"a": shared, "b": shared, "part": shared[2:4]})
    state = read_checkpoint(tmp_path / "last.json")
    assert torch.equal(state["a"], state["b"])
    assert state["part"].tolist() == [2.0, 3.0]


def test_a_checkpoint_refuses_what_only_pickle_could_hold(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"callbacks\.mine: a checkpoint cannot hold a object"):
        write_checkpoint(tmp_path / "last.json", {"callbacks": {"mine": object()}})


def test_a_restored_optimizer_steps_to_the_same_bits(tmp_path: Path) -> None:
    """With tuples and number keys in its state, and channels-last moments."""

    def made() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2))
        net = net.to(memory_format=torch.channels_last)
        return net, torch.optim.AdamW(net.parameters(), lr=0.01, amsgrad=True)

    def step(net: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
        images = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        net(images).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    net, optimizer = made()
    step(net, optimizer, 1)
    path = tmp_path / "last.json"
    write_checkpoint(path, {"net": net.state_dict(), "optimizer": optimizer.state_dict()})
    step(net, optimizer, 2)
    other, resumed = made()
    state = read_checkpoint(path)
    other.load_state_dict(state["net"])
    resumed.load_state_dict(state["optimizer"])
    step(other, resumed, 2)
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_the_loss_scaler_of_16_bits_comes_back(tmp_path: Path) -> None:
    """Lightning's own plugin, after a step that overflowed, without a GPU."""
    plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", growth_interval=3))
    assert plugin.scaler is not None
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    for factor in (1.0, float("inf"), 1.0):
        plugin.scaler.scale((weight * factor).sum()).backward()
        plugin.scaler.step(optimizer)
        plugin.scaler.update()
        optimizer.zero_grad()
    files = CheckpointFiles()
    files.save_checkpoint({"MixedPrecision": plugin.state_dict()}, tmp_path / "last.json")
    fresh = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    fresh.load_state_dict(files.load_checkpoint(tmp_path / "last.json")["MixedPrecision"])
    assert fresh.state_dict() == plugin.state_dict()
    assert fresh.state_dict()["scale"] == 2.0**15
    assert fresh.state_dict()["_growth_tracker"] == 1


class _PowerCutError(Exception):
    pass


def _cut(monkeypatch: pytest.MonkeyPatch, method: str, *, at_call: int) -> None:
    """Make the `at_call`-th call of a function of `os` the last thing that happens."""
    plain, calls = getattr(os, method), 0

    def counted(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at_call:
            raise _PowerCutError
        return plain(*args, **options)

    monkeypatch.setattr(os, method, counted)


@pytest.mark.parametrize(
    ("method", "at_call", "epoch"),
    [("replace", 1, 1), ("replace", 2, 1), ("unlink", 1, 2)],
    ids=["before the tensors are renamed", "between the two files", "before the old one goes"],
)
def test_a_cut_while_writing_leaves_a_whole_pair(
    method: str, at_call: int, epoch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.json"
    write_checkpoint(path, {"epoch": 1, "weight": torch.ones(3)})
    with monkeypatch.context() as power:
        _cut(power, method, at_call=at_call)
        with pytest.raises(_PowerCutError):
            write_checkpoint(path, {"epoch": 2, "weight": torch.full((3,), 2.0)})
    state = read_checkpoint(path)
    assert (state["epoch"], state["weight"].tolist()) == (epoch, [float(epoch)] * 3)
    write_checkpoint(path, {"epoch": 3, "weight": torch.full((3,), 3.0)})
    assert read_checkpoint(path)["epoch"] == 3
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        tensor_files(path)[0].name,
        "last.json",
    ]


def _held(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Have the file of this name open in another program, as Windows answers."""
    monkeypatch.setattr(held_files, "PATIENCE_S", 0.0)

    def holding(plain: Callable[..., None]) -> Callable[..., None]:
        def refuse(*paths: Path) -> None:
            if paths[-1].name == name:
                error = PermissionError(13, "used by another process")
                error.winerror = 32  # type: ignore[attr-defined]
                raise error
            plain(*paths)

        return refuse

    for function in ("replace", "unlink"):
        monkeypatch.setattr(os, function, holding(getattr(os, function)))


def test_a_checkpoint_that_is_held_stays_whole_and_the_next_one_replaces_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    path, files = tmp_path / "last.json", CheckpointFiles()
    files.save_checkpoint({"epoch": 1, "weight": torch.ones(3)}, path)
    with monkeypatch.context() as scanner:
        _held(scanner, "last.json")
        files.save_checkpoint({"epoch": 2, "weight": torch.zeros(3)}, path)
        with pytest.raises(HeldFileError):
            write_checkpoint(path, {"epoch": 2, "weight": torch.zeros(3)})
    assert said == [
        f"{path}: it could not be replaced: another program has it open; training continues, "
        "this epoch is not saved"
    ]
    assert read_checkpoint(path)["epoch"] == 1
    files.save_checkpoint({"epoch": 3, "weight": torch.full((3,), 3.0)}, path)
    assert read_checkpoint(path)["epoch"] == 3
    assert sorted(file.name for file in tmp_path.iterdir()) == [_tensors(path).name, "last.json"]


def test_an_old_tensor_file_that_is_held_is_removed_with_the_next_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.json"
    write_checkpoint(path, {"epoch": 1, "weight": torch.ones(3)})
    with monkeypatch.context() as scanner:
        _held(scanner, _tensors(path).name)
        write_checkpoint(path, {"epoch": 2, "weight": torch.zeros(3)})
    assert read_checkpoint(path)["epoch"] == 2
    assert len(tensor_files(path)) == 2
    write_checkpoint(path, {"epoch": 3, "weight": torch.full((3,), 3.0)})
    assert read_checkpoint(path)["epoch"] == 3
    assert len(tensor_files(path)) == 1


def test_a_full_disk_leaves_the_checkpoint_and_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.json"
    write_checkpoint(path, {"epoch": 1, "weight": torch.ones(3)})
    before = sorted(tmp_path.iterdir())

    def fail(_tensors: object, part: Path) -> None:
        part.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoints, "save_file", fail)
    with pytest.raises(WriteError, match="the disk is full"):
        write_checkpoint(path, {"epoch": 2, "weight": torch.zeros(3)})
    assert sorted(tmp_path.iterdir()) == before
    assert read_checkpoint(path)["epoch"] == 1


def test_what_is_read_is_not_mapped(tmp_path: Path) -> None:
    """Windows removes no file that is mapped, and the next checkpoint removes this one."""
    path = tmp_path / "last.json"
    write_checkpoint(path, {"weight": torch.ones(3)})
    state = read_checkpoint(path)
    assert not is_mapped(str(_tensors(path)))
    assert state["weight"].tolist() == [1.0] * 3


def test_a_write_of_the_same_state_keeps_its_file(tmp_path: Path) -> None:
    for _ in range(2):
        write_checkpoint(tmp_path / "last.json", {"weight": torch.ones(3)})
        assert read_checkpoint(tmp_path / "last.json")["weight"].tolist() == [1.0] * 3


def _edit(path: Path, **changes: Any) -> None:
    path.write_text(
        json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8"
    )


def _tensors(path: Path) -> Path:
    (file,) = tensor_files(path)
    return file


def _flip_a_bit(path: Path) -> None:
    data = bytearray(_tensors(path).read_bytes())
    data[-1] ^= 1
    _tensors(path).write_bytes(data)


def _name_other_tensors(path: Path) -> None:
    outside = path.parent.parent / "outside.safetensors"
    outside.write_bytes(_tensors(path).read_bytes())
    _edit(path, tensors="../outside.safetensors")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "not JSON"),
        (lambda path: path.write_bytes(b"\x80\x04\x95 a pickle"), "not JSON"),
        (lambda path: path.write_text("[1, 2]", encoding="utf-8"), "shopsight did not write it"),
        (lambda path: _edit(path, format="other"), "shopsight did not write it"),
        (lambda path: _edit(path, version=0), "its version is 0, not 1"),
        (lambda path: _edit(path, state={"epoch": 9}), "its content does not match"),
        (lambda path: _tensors(path).unlink(), "is missing"),
        (lambda path: _tensors(path).write_bytes(b""), "its header would have"),
        (_flip_a_bit, "does not match its SHA-256"),
        (_name_other_tensors, "outside.safetensors is missing"),
    ],
)
def test_damage_is_an_error_that_names_the_file_and_the_next_step(
    damage: Callable[[Path], None], why: str, tmp_path: Path
) -> None:
    path = tmp_path / "run" / "checkpoints" / "last.json"
    write_checkpoint(path, {"epoch": 1, "weight": torch.ones(3)})
    damage(path)
    with pytest.raises(TrainingError, match=why) as caught:
        read_checkpoint(path)
    assert caught.value.where == str(path)
    assert f"shopsight train --resume {tmp_path / 'run'}" in str(caught.value.fix)


class _Trap:
    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.sprung,))


def test_a_pickle_in_place_of_the_tensors_is_not_opened(tmp_path: Path) -> None:
    """Even where a forger made all hashes right."""
    path, sprung = tmp_path / "last.json", tmp_path / "sprung"
    write_checkpoint(path, {"weight": torch.ones(3)})
    _tensors(path).write_bytes(pickle.dumps(_Trap(sprung)))
    _edit(path, tensors_sha256=sha256_file(_tensors(path)))
    with pytest.raises(TrainingError, match=r"last-\w+\.safetensors"):
        read_checkpoint(path)
    assert not sprung.exists()


@pytest.mark.parametrize("where", [{"$tensor": "absent"}, {"$float": "many"}, {"$items": 3}])
def test_a_forged_content_is_an_error_too(where: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "last.json"
    write_checkpoint(path, {"weight": torch.ones(3)})
    tree = {"weight": where}
    _edit(path, state=tree, state_sha256=sha256_bytes(json.dumps(tree, sort_keys=True).encode()))
    with pytest.raises(TrainingError, match="its content cannot be read"):
        read_checkpoint(path)


def test_a_pickled_checkpoint_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run" / "checkpoints" / "last.json"
    assert resume_point(path, epochs=0) is None
    path.parent.mkdir(parents=True)
    torch.save({"epoch": 1}, path.with_suffix(".ckpt"))
    with pytest.raises(TrainingError, match="an earlier version wrote it, as a pickle") as caught:
        resume_point(path, epochs=0)
    assert caught.value.where == str(path.with_suffix(".ckpt"))
    write_checkpoint(path, {"epoch": 1})
    assert resume_point(path, epochs=1) == path


def test_a_missing_json_file_is_seen_unless_it_was_the_first(tmp_path: Path) -> None:
    path = tmp_path / "last.json"
    write_checkpoint(path, {"epoch": 1})
    path.unlink()
    assert resume_point(path, epochs=1) is None
    with pytest.raises(TrainingError, match=r"it is missing beside last-\w+\.safetensors"):
        resume_point(path, epochs=2)


def test_the_tensor_file_is_plain_safetensors(tmp_path: Path) -> None:
    """Under dotted names, for whoever wants to look into it."""
    state = {"optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}}]}
    write_checkpoint(tmp_path / "last.json", state)
    (name,) = load_file(_tensors(tmp_path / "last.json"))
    assert name == "optimizer_states.0.state.0.exp_avg"
    assert checkpoints.CHECKPOINT_VERSION == 1


def _nested(header: dict[str, Any]) -> None:
    deep: Any = {}
    for _ in range(900):
        deep = {"a": deep}
    header["state"] = deep


def _no_such_tensor(header: dict[str, Any]) -> None:
    header["state"] = {"a": {TENSOR: "nothing"}}


def _no_such_axes(header: dict[str, Any]) -> None:
    header["state"] = {"weights": {TENSOR: "weights", "order": [7, 9]}}


def _pairs_that_are_none(header: dict[str, Any]) -> None:
    header["state"] = {"a": {ITEMS: [[[], 1]]}}


@pytest.mark.parametrize("change", [_nested, _no_such_tensor, _no_such_axes, _pairs_that_are_none])
def test_what_somebody_wrote_by_hand_is_an_error(
    change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    """With hashes that are right: whoever changes the content can compute them."""
    path = tmp_path / "last.json"
    write_checkpoint(path, {"weights": torch.zeros(2, 3)})
    header = json.loads(path.read_text(encoding="utf-8"))
    change(header)
    header["state_sha256"] = sha256_json(header["state"])
    path.write_text(json.dumps(header), encoding="utf-8")
    with pytest.raises(TrainingError, match="cannot resume from this checkpoint"):
        read_checkpoint(path)


def test_a_tensor_file_that_says_more_than_it_has(tmp_path: Path) -> None:
    path = tmp_path / "last.json"
    write_checkpoint(path, {"weights": torch.zeros(2, 3)})
    (file,) = checkpoints.tensor_files(path)
    data = file.read_bytes().replace(b"[2,3]", b"[9,9]")
    assert data != file.read_bytes()
    file.write_bytes(data)
    header = json.loads(path.read_text(encoding="utf-8"))
    edit_json(path, tensors_sha256=sha256_file(file), state=header["state"])
    with pytest.raises(TrainingError, match="by its shape"):
        read_checkpoint(path)


def test_a_tensor_that_is_named_many_times_is_no_checkpoint(tmp_path: Path) -> None:
    """A file of 1 MB could ask for terabytes."""
    write_checkpoint(tmp_path / "last.json", {"a": torch.ones(1000)})

    state = json.loads((tmp_path / "last.json").read_text(encoding="utf-8"))["state"]
    state["b"] = [state["a"]] * 3
    digest = sha256_bytes(json.dumps(state, sort_keys=True).encode())
    edit_json(tmp_path / "last.json", state=state, state_sha256=digest)
    with pytest.raises(TrainingError, match="its content cannot be read"):
        read_checkpoint(tmp_path / "last.json")


@pytest.mark.parametrize("name", ["", ".", "../last-1.safetensors", "/etc/passwd", "a\0b", 3, None])
def test_tensors_lie_beside_their_checkpoint(tmp_path: Path, name: Any) -> None:
    write_checkpoint(tmp_path / "run" / "last.json", {"a": torch.ones(3)})
    (tmp_path / "last-1.safetensors").write_bytes(b"x")
    edit_json(tmp_path / "run" / "last.json", tensors=name)
    with pytest.raises(TrainingError, match="is missing"):
        read_checkpoint(tmp_path / "run" / "last.json")
