"""Variables of launchers against the recipe's devices: what is accepted, what is said."""

from __future__ import annotations

import pytest

from shopsight.errors import TrainingError
from shopsight.training.distributed import World, find_world, first_host

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "GROUP_RANK": "1",
    "GROUP_WORLD_SIZE": "2",
    "MASTER_ADDR": "10.0.0.7",
    "MASTER_PORT": "4321",
}
SLURM = {
    "SLURM_PROCID": "3",
    "SLURM_NTASKS": "4",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_NNODES": "2",
    "SLURM_NTASKS_PER_NODE": "2(x2)",
    "SLURM_NODELIST": "gpu[07-08]",
    "SLURM_JOB_ID": "9004321",
    "SLURM_JOB_NAME": "train",
}
MPIRUN = {
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "MASTER_ADDR": "10.0.0.7",
}


@pytest.mark.parametrize(
    ("environ", "address", "port"),
    [
        (TORCHRUN, "10.0.0.7", 4321),
        (SLURM, "gpu07", 19_321),
        (SLURM | {"MASTER_ADDR": "head", "MASTER_PORT": "99"}, "head", 99),
        (MPIRUN, "10.0.0.7", 29_500),
    ],
    ids=["torchrun", "srun", "srun with an address", "mpirun"],
)
def test_a_process_of_a_launcher_starts_one_worker(
    environ: dict[str, str], address: str, port: int
) -> None:
    assert find_world(environ, devices=2, nodes=2) == World(
        rank=3,
        size=4,
        workers=range(3, 4),
        local_rank=1,
        node=1,
        num_workers=4,
        address=address,
        port=port,
    )


@pytest.mark.parametrize(
    "environ",
    [
        {},
        # The shell of salloc has the job's variables, and no task of srun.
        {"SLURM_NTASKS": "1", "SLURM_JOB_ID": "7", "SLURM_NNODES": "1"},
        {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "7"},
        # srun --pty bash
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_NAME": "bash"},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "interactive"},
        {"NODE_RANK": "0", "MASTER_ADDR": "10.0.0.7"},
    ],
    ids=["nothing", "salloc", "salloc of four", "a shell", "interactive", "left over"],
)
@pytest.mark.parametrize("devices", [1, 3])
def test_a_command_alone_starts_all_workers(environ: dict[str, str], devices: int) -> None:
    found = find_world(environ, devices=devices, nodes=1)
    assert found == World(workers=range(devices), num_workers=devices)


def test_a_single_task_of_a_launcher_is_one_device() -> None:
    for environ in (
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "1"},
        {"RANK": "0", "WORLD_SIZE": "1"},
        # A step of one task in a job of four.
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "1"},
    ):
        found = find_world(environ, devices=1, nodes=1)
        assert (found.size, found.num_workers, found.workers) == (1, 1, range(1))


@pytest.mark.parametrize(
    ("environ", "devices", "nodes", "problem", "fixes"),
    [
        (
            {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"},
            1,
            1,
            "WORLD_SIZE = 2, but hardware.devices x hardware.num_nodes = 1 x 1 = 1",
            ["shopsight train", "--set hardware.devices=2 --set hardware.num_nodes=1"],
        ),
        (
            {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"},
            1,
            1,
            "rank 1: SLURM_NTASKS = 2, but hardware.devices x hardware.num_nodes = 1 x 1 = 1",
            ["shopsight train", "--set hardware.devices=2 --set hardware.num_nodes=1"],
        ),
        (
            {"SLURM_PROCID": "0", "SLURM_NTASKS": "1"},
            2,
            1,
            "SLURM_NTASKS = 1, but hardware.devices x hardware.num_nodes = 2 x 1 = 2",
            ["srun --nodes=1 --ntasks-per-node=2 shopsight train", "--set hardware.devices=1"],
        ),
        (
            TORCHRUN,
            4,
            1,
            "rank 3: LOCAL_WORLD_SIZE = 2, but hardware.devices = 4",
            ["torchrun --nproc-per-node 4 -m shopsight train", "--set hardware.num_nodes=2"],
        ),
        (
            SLURM | {"SLURM_NTASKS_PER_NODE": ""},
            4,
            1,
            "rank 3: SLURM_NNODES = 2, but hardware.num_nodes = 1",
            ["srun --nodes=1 --ntasks-per-node=4", "--set hardware.devices=2"],
        ),
        (
            {"PMI_RANK": "0", "PMI_SIZE": "3"},
            2,
            1,
            "PMI_SIZE = 3, but",
            ["mpirun -n 2 shopsight train", "--set hardware.devices=3"],
        ),
    ],
    ids=["torchrun", "two tasks", "one task", "one node", "two nodes", "mpirun"],
)
def test_what_was_started_must_fit(
    environ: dict[str, str], devices: int, nodes: int, problem: str, fixes: list[str]
) -> None:
    with pytest.raises(TrainingError) as caught:
        find_world(environ, devices=devices, nodes=nodes)
    assert caught.value.what.startswith(problem)
    assert all(fix in str(caught.value.fix) for fix in fixes)


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"LOCAL_RANK": "1"}, "LOCAL_RANK = 1, but RANK and WORLD_SIZE are not set"),
        ({"RANK": "0"}, "RANK = 0, but WORLD_SIZE is not set"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE = 2, but RANK is not set"),
        ({"RANK": "a", "WORLD_SIZE": "b"}, "RANK = a, WORLD_SIZE = b, but they are no numbers"),
    ],
)
def test_half_of_torchruns_variables_say_too_little(environ: dict[str, str], problem: str) -> None:
    with pytest.raises(TrainingError) as caught:
        find_world(environ, devices=1, nodes=1)
    assert caught.value.what == problem
    assert caught.value.fix is not None


def test_a_world_of_one_without_a_rank_is_a_command_alone() -> None:
    assert find_world({"WORLD_SIZE": "1", "RANK": ""}, devices=1, nodes=1) == World()


@pytest.mark.parametrize("rank", [0, 1])
def test_srun_in_the_shell_of_an_allocation_starts_tasks(rank: int) -> None:
    """Such a step has the name of the shell's job."""
    environ = {
        "SLURM_JOB_NAME": "interactive",
        "SLURM_NTASKS": "2",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_PROCID": str(rank),
    }
    found = find_world(environ, devices=2, nodes=1)
    assert (found.rank, found.size, found.workers) == (rank, 2, range(rank, rank + 1))
    with pytest.raises(TrainingError, match="SLURM_STEP_NUM_TASKS = 2, but"):
        find_world(environ, devices=1, nodes=1)


def test_a_command_on_each_node_says_which_node_it_is() -> None:
    environ = {"NODE_RANK": "1", "MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "77"}
    assert find_world(environ, devices=2, nodes=2) == World(
        rank=1,
        size=2,
        workers=range(2, 4),
        local_rank=0,
        node=1,
        num_workers=4,
        address="10.0.0.7",
        port=77,
    )


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({}, "NODE_RANK and MASTER_ADDR not set"),
        ({"MASTER_ADDR": "a"}, "NODE_RANK not set"),
        ({"NODE_RANK": "0"}, "MASTER_ADDR not set"),
        ({"NODE_RANK": "2", "MASTER_ADDR": "a"}, "NODE_RANK = 2 is not one of 0 to 1"),
    ],
)
def test_two_nodes_without_their_numbers_are_refused(environ: dict[str, str], problem: str) -> None:
    with pytest.raises(TrainingError, match=problem) as caught:
        find_world(environ, devices=2, nodes=2)
    assert "torchrun --nnodes 2" in str(caught.value.fix)


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("node1", "node1"),
        ("node1,node2", "node1"),
        ("node[07-09,12],other", "node07"),
        ("a[3]-ib", "a3-ib"),
        ("gpu-a[1,3].local gpu-b", "gpu-a1.local"),
    ],
)
def test_the_first_host_of_slurms_list(hosts: str, first: str) -> None:
    assert first_host(hosts) == first
