"""The processes that were started: which of them this is, and whether they fit the recipe.

Training runs in one process for each device. Where there are several devices, these training
processes are workers: see `shopsight.training.workers`. Their parents are the processes that
somebody started: one (which starts the workers of all devices), one on each node, or, by torchrun,
Slurm's srun or mpirun, one for each device.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from shopsight.errors import TrainingError

# torch's own default.
DEFAULT_PORT = 29_500
# Names by which a shell inside an allocation is known to Lightning's users.
INTERACTIVE_JOBS = ("bash", "interactive")


@dataclass(frozen=True)
class World:
    """The processes that were started, and the workers that this one starts.

    Attributes:
        rank: Number of this process among those that were started.
        size: Their number.
        workers: Numbers of the training processes that this process starts.
        local_rank: Number of the first of them among those of its node.
        node: Number of this machine.
        num_workers: Training processes on all nodes together.
        address: Host name or address of the machine of rank 0.
        port: Where rank 0 listens; 0 with a single process, which takes any free one.
    """

    rank: int = 0
    size: int = 1
    workers: range = range(1)
    local_rank: int = 0
    node: int = 0
    num_workers: int = 1
    address: str = "127.0.0.1"
    port: int = 0


@dataclass(frozen=True)
class _Launched:
    """What the variables of a launcher say that started a process for each device."""

    launcher: str
    size_variable: str
    rank: int
    size: int
    local_rank: int
    node: int
    # Processes on this node and number of nodes, with the variables that say so.
    local_size: tuple[str, int] | None
    nodes: tuple[str, int] | None
    address: str
    port: int


def find_world(environ: Mapping[str, str], *, devices: int, nodes: int) -> World:
    """Compare the processes that were started with the recipe's devices.

    Args:
        environ: Variables of this process.
        devices: Number of devices on each node.
        nodes: Number of nodes.

    Raises:
        TrainingError: They do not fit: the error names the variable, its value and the command.
    """
    found = _torchrun(environ) or _slurm(environ) or _mpirun(environ)
    if found is not None:
        _compare(found, devices=devices, nodes=nodes)
        return World(
            rank=found.rank,
            size=found.size,
            workers=range(found.rank, found.rank + 1),
            local_rank=found.local_rank,
            node=found.node,
            num_workers=found.size,
            address=found.address,
            port=found.port,
        )
    _refuse_half_set(environ, devices=devices, nodes=nodes)
    if nodes > 1:
        return _node_by_node(environ, devices=devices, nodes=nodes)
    return World(workers=range(devices), num_workers=devices)


def _refuse_half_set(environ: Mapping[str, str], *, devices: int, nodes: int) -> None:
    """Refuse some of torchrun's variables without the others: whose rank, of how many?

    Processes that somebody started by hand would each take itself for the only one.
    """
    wanted = ("RANK", "WORLD_SIZE")
    given = {name: environ[name] for name in (*wanted, "LOCAL_RANK") if environ.get(name, "") != ""}
    if not given or given == {"WORLD_SIZE": "1"}:
        return
    missing = " and ".join(name for name in wanted if name not in given)
    values = ", ".join(f"{name} = {value}" for name, value in given.items())
    raise TrainingError(
        f"{values}, but {missing or 'they'} {'are' if ' and ' in missing or not missing else 'is'} "
        f"{'not set' if missing else 'no numbers'}",
        fix=_commands("torchrun", devices, nodes),
    )


def _torchrun(environ: Mapping[str, str]) -> _Launched | None:
    rank, size = _number(environ, "RANK"), _number(environ, "WORLD_SIZE")
    if rank is None or size is None:
        return None
    return _Launched(
        launcher="torchrun",
        size_variable="WORLD_SIZE",
        rank=rank,
        size=size,
        local_rank=_number(environ, "LOCAL_RANK") or 0,
        node=_number(environ, "GROUP_RANK") or 0,
        local_size=_named(environ, "LOCAL_WORLD_SIZE"),
        nodes=_named(environ, "GROUP_WORLD_SIZE"),
        address=environ.get("MASTER_ADDR", "127.0.0.1"),
        port=_number(environ, "MASTER_PORT") or DEFAULT_PORT,
    )


def _slurm(environ: Mapping[str, str]) -> _Launched | None:
    """A task of srun. The shell of salloc is none: there a command runs as anywhere else.

    What that shell starts with srun has the shell's job name, but several tasks.
    """
    rank = _number(environ, "SLURM_PROCID")
    if rank is None:
        return None
    alone = rank == 0 and (_number(environ, "SLURM_STEP_NUM_TASKS") or 1) == 1
    if alone and environ.get("SLURM_JOB_NAME") in INTERACTIVE_JOBS:
        return None
    # Of the step, where srun was given other numbers than the job.
    size = _named(environ, "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS")
    if size is None:
        return None
    job = environ.get("SLURM_JOB_ID", "")
    port = 15_000 + int(job[-4:]) if job.isdigit() else DEFAULT_PORT
    hosts = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_NODELIST", "127.0.0.1")
    return _Launched(
        launcher="srun",
        size_variable=size[0],
        rank=rank,
        size=size[1],
        local_rank=_number(environ, "SLURM_LOCALID") or 0,
        node=_number(environ, "SLURM_NODEID") or 0,
        local_size=_named(environ, "SLURM_NTASKS_PER_NODE"),
        nodes=_named(environ, "SLURM_STEP_NUM_NODES", "SLURM_NNODES"),
        address=environ.get("MASTER_ADDR", first_host(hosts)),
        port=_number(environ, "MASTER_PORT") or port,
    )


def _mpirun(environ: Mapping[str, str]) -> _Launched | None:
    """A process of Open MPI, or of MPICH and its relatives."""
    rank = _named(environ, "OMPI_COMM_WORLD_RANK", "PMI_RANK")
    size = _named(environ, "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
    if rank is None or size is None:
        return None
    local = _named(environ, "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID")
    local_size = _named(environ, "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")
    return _Launched(
        launcher="mpirun",
        size_variable=size[0],
        rank=rank[1],
        size=size[1],
        local_rank=local[1] if local else rank[1],
        node=rank[1] // local_size[1] if local_size else 0,
        local_size=local_size,
        nodes=None,
        address=environ.get("MASTER_ADDR", "127.0.0.1"),
        port=_number(environ, "MASTER_PORT") or DEFAULT_PORT,
    )


def _node_by_node(environ: Mapping[str, str], *, devices: int, nodes: int) -> World:
    """The command was given once on each node, which starts the workers of its devices."""
    node = _number(environ, "NODE_RANK")
    missing = [name for name in ("NODE_RANK", "MASTER_ADDR") if not environ.get(name)]
    if missing or node is None or node >= nodes:
        what = (
            f"{' and '.join(missing)} not set"
            if missing
            else f"NODE_RANK = {environ['NODE_RANK']} is not one of 0 to {nodes - 1}"
        )
        raise TrainingError(
            f"hardware.num_nodes = {nodes}, but {what}: which node this is, and which is the first",
            fix=_commands("torchrun", devices, nodes),
        )
    return World(
        rank=node,
        size=nodes,
        workers=range(node * devices, (node + 1) * devices),
        node=node,
        num_workers=devices * nodes,
        address=environ["MASTER_ADDR"],
        port=_number(environ, "MASTER_PORT") or DEFAULT_PORT,
    )


def _compare(found: _Launched, *, devices: int, nodes: int) -> None:
    wanted = devices * nodes
    setting = f"hardware.devices x hardware.num_nodes = {devices} x {nodes}"
    if found.size != wanted:
        problem = f"{found.size_variable} = {found.size}, but {setting} = {wanted}"
    elif found.local_size is not None and found.local_size[1] != devices:
        problem = f"{found.local_size[0]} = {found.local_size[1]}, but hardware.devices = {devices}"
    elif found.nodes is not None and found.nodes[1] != nodes:
        problem = f"{found.nodes[0]} = {found.nodes[1]}, but hardware.num_nodes = {nodes}"
    else:
        return
    who = f"rank {found.rank}: " if found.rank else ""
    raise TrainingError(
        f"{who}{problem}: {found.launcher} must start one process for each device",
        fix=_commands(found.launcher, devices, nodes) + _settings(found),
    )


def _settings(found: _Launched) -> str:
    """The recipe's numbers that fit what was started, as a further line of a `fix`."""
    nodes = found.nodes[1] if found.nodes else 1
    devices = found.local_size[1] if found.local_size else found.size // nodes
    if devices * nodes != found.size:
        return ""
    return f"\n--set hardware.devices={devices} --set hardware.num_nodes={nodes}"


def _commands(launcher: str, devices: int, nodes: int) -> str:
    """The command that starts as many processes as the recipe wants."""
    if devices * nodes == 1:
        return "shopsight train ...   (without a launcher)"
    if launcher == "srun":
        return f"srun --nodes={nodes} --ntasks-per-node={devices} shopsight train ..."
    if launcher == "mpirun":
        return f"mpirun -n {devices * nodes} shopsight train ..."
    several = f"--nnodes {nodes} --rdzv-backend c10d --rdzv-endpoint FIRST_NODE:29500 "
    return (
        f"torchrun {several if nodes > 1 else ''}--nproc-per-node {devices} "
        f"-m shopsight train ...{'   (on each node)' if nodes > 1 else ''}"
    )


def first_host(hosts: str) -> str:
    """The first name of a list of Slurm's: `node[07-09,12],other` begins with `node07`."""
    first = re.match(r"([^\[, ]*)(?:\[(\d+)[^\]]*\])?([^\[, ]*)", hosts.strip())
    return "" if first is None else first[1] + (first[2] or "") + first[3]


def _number(environ: Mapping[str, str], name: str) -> int | None:
    """The value of a variable; of `4(x2)`, as Slurm writes "4 on each of 2", the 4."""
    number = re.match(r"\d+", environ.get(name, "").strip())
    return None if number is None else int(number[0])


def _named(environ: Mapping[str, str], *names: str) -> tuple[str, int] | None:
    """The first of these variables that is set, with its value."""
    for name in names:
        value = _number(environ, name)
        if value is not None:
            return name, value
    return None
