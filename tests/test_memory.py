from __future__ import annotations

import threading
from pathlib import Path

import pytest

from shopsight import memory
from shopsight.memory import (
    BUDGET_SHARE,
    memory_budget_bytes,
    memory_limit_bytes,
    physical_memory_bytes,
    use_memory_budget,
)


@pytest.mark.posix("Windows is asked in its own way, below")
def test_this_machine_has_memory() -> None:
    physical, limit = physical_memory_bytes(), memory_limit_bytes()
    assert physical is not None
    assert limit is not None
    assert 1 << 28 < limit <= physical
    assert memory_budget_bytes() == int(BUDGET_SHARE * limit)


def test_a_chosen_budget_holds_in_other_threads() -> None:
    found = list[int]()
    with use_memory_budget(2.0), use_memory_budget(None):
        thread = threading.Thread(target=lambda: found.append(memory_budget_bytes()))
        thread.start()
        thread.join()
        with use_memory_budget(0.5):
            found.append(memory_budget_bytes())
    assert found == [2_000_000_000, 500_000_000]
    assert memory_budget_bytes() not in found


@pytest.mark.parametrize(
    ("groups", "files", "limits"),
    [
        (
            "0::/a/b\n",
            {"memory.max": "max", "a/memory.max": "900", "a/b/memory.max": "700"},
            [900, 700],
        ),
        # As seen from inside a container, whose own group is the root.
        ("0::/../host/x\n", {"memory.max": "500"}, [500]),
        ("5:cpu,memory:/a\n3:cpuset:/\n", {"memory/a/memory.limit_in_bytes": "800"}, [800]),
        ("0::/\n", {}, []),
        ("nonsense\n", {}, []),
    ],
)
def test_limits_of_control_groups(
    tmp_path: Path, groups: str, files: dict[str, str], limits: list[int]
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups, encoding="utf-8")
    for name, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n", encoding="utf-8")
    assert list(memory._control_group_bytes(tmp_path)) == limits


@pytest.mark.posix("Windows has no such limit")
def test_the_limit_of_a_user_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 29, resource.RLIM_INFINITY))
    assert memory_limit_bytes() == 1 << 29
    # More addresses are taken already.
    assert memory.address_space_left_bytes() == 0
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 50, resource.RLIM_INFINITY))
    assert (1 << 49) < (memory.address_space_left_bytes() or 0) < 1 << 50
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert memory.address_space_left_bytes() is None


def test_the_machine_says_how_much_memory_it_has() -> None:
    assert (physical_memory_bytes() or 0) > 1 << 29
