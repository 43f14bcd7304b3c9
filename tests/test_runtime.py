from __future__ import annotations

import logging
import mmap
import os
import socket
import ssl
import threading
from pathlib import Path

import certifi
import cv2
import pytest
import torch
from huggingface_hub import constants

from shopsight import runtime
from shopsight.runtime import (
    certificate_file,
    deterministic_cuda,
    fail_fast_offline,
    fastest_cuda_convolutions,
    fp32_products,
    is_out_of_memory,
    retain_freed_memory,
    single_threaded_opencv,
    threads_of_waiting_processes,
    torch_threads,
    trusted_certificates,
    without_root_log_of,
)

BUFFER_MIB = 256


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/statm").is_file(), reason="/proc says how much memory is held"
)


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * mmap.PAGESIZE / 2**20


def fill_and_free() -> None:
    torch.ones(BUFFER_MIB << 18)  # fp32


@needs_proc
def test_memory_is_held_within_the_block_and_given_back_at_its_end() -> None:
    before = resident_mib()
    with retain_freed_memory() as kept:
        if not kept:
            pytest.skip("the C library is not glibc")
        fill_and_free()
        within = resident_mib()
    after = resident_mib()
    assert within - after > BUFFER_MIB - 32
    assert after - before < 32


@needs_proc
def test_the_allocator_gives_back_again_after_a_failed_block() -> None:
    with pytest.raises(ZeroDivisionError), retain_freed_memory():
        _ = 1 // 0
    before = resident_mib()
    fill_and_free()
    assert resident_mib() - before < 32


@needs_proc
def test_a_block_within_another_does_not_end_it() -> None:
    with retain_freed_memory() as kept:
        if not kept:
            pytest.skip("the C library is not glibc")
        with retain_freed_memory():
            fill_and_free()
        within = resident_mib()
    assert within - resident_mib() > BUFFER_MIB - 32


def test_without_glibc_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.sys, "platform", "darwin")
    with retain_freed_memory() as kept:
        assert not kept


def test_opencv_has_its_threads_again_when_the_last_block_ends() -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        with single_threaded_opencv():
            assert cv2.getNumThreads() == 1
            with pytest.raises(ZeroDivisionError), single_threaded_opencv():
                _ = 1 // 0
            assert cv2.getNumThreads() == 1
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


def test_blocks_that_overlap_in_two_threads() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with single_threaded_opencv():
            inside.set()
            leave.wait(10)

    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        thread = threading.Thread(target=other)
        with single_threaded_opencv():
            thread.start()
            assert inside.wait(10)
        assert cv2.getNumThreads() == 1
        leave.set()
        thread.join(10)
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


@pytest.mark.parametrize("reachable", [True, False])
def test_the_hub_is_offline_where_it_has_no_address(
    reachable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts: list[str | None] = []

    def getaddrinfo(host: str | None, port: int | None) -> list[object]:
        hosts.append(host)
        if reachable:
            return []
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(runtime, "getproxies", dict)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with fail_fast_offline():
        assert constants.HF_HUB_OFFLINE is not reachable
    assert constants.HF_HUB_OFFLINE is False
    # A proxy looks names up itself: nothing is looked up here.
    monkeypatch.setattr(runtime, "getproxies", lambda: {"https": "http://proxy:3128"})
    with fail_fast_offline():
        assert constants.HF_HUB_OFFLINE is False
    assert hosts == ["huggingface.co"]


def test_the_root_log_of_one_folder_is_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])  # as in a process of its own
    noisy = compile("import logging; logging.warning('noise')", tmp_path / "noisy.py", "exec")
    with without_root_log_of(tmp_path):
        exec(noisy)
        logging.warning("from elsewhere")
    assert (root.handlers, root.filters) == ([], [])
    assert capsys.readouterr().err == "WARNING:root:from elsewhere\n"
    exec(noisy)
    assert "noise" in capsys.readouterr().err


def rounding() -> tuple[bool, str]:
    """As torch's own former settings say it, which refuse to be read in a mixed state."""
    return torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()


@pytest.mark.parametrize("wanted", ["highest", "high", "medium"])
def test_fp32_products_are_rounded_as_wanted_within_the_block_only(wanted: str) -> None:
    first = rounding()
    torch.set_float32_matmul_precision(wanted)
    before = rounding()
    try:
        with fp32_products("ieee"):
            assert not torch.backends.cuda.matmul.allow_tf32
            assert not torch.backends.cudnn.allow_tf32
            with fp32_products("tf32"):
                assert torch.backends.cuda.matmul.allow_tf32
                assert torch.backends.cudnn.allow_tf32
            assert not torch.backends.cudnn.allow_tf32
        assert rounding() == before
        with pytest.raises(ZeroDivisionError), fp32_products("ieee"):
            _ = 1 // 0
        assert rounding() == before
    finally:
        torch.set_float32_matmul_precision(first[1])
    assert rounding() == first


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="new in torch 2.9")
def test_fp32_products_where_torch_refuses_its_former_settings() -> None:
    matrices = torch.backends.cuda.matmul
    matrices.fp32_precision = "tf32"
    try:
        with pytest.raises(RuntimeError, match="mix of the legacy and new"):
            rounding()
        with fp32_products("ieee"):
            assert matrices.fp32_precision == "ieee"
        assert matrices.fp32_precision == "tf32"
    finally:
        matrices.fp32_precision = "ieee"


def test_threads_that_want_other_roundings_take_turns() -> None:
    seen: list[str] = []

    def tf32() -> None:
        with fp32_products("tf32"):
            seen.append(torch.get_float32_matmul_precision())

    with fp32_products("ieee"):
        other = threading.Thread(target=tf32)
        other.start()
        other.join(0.2)
        assert not seen
    other.join()
    assert seen == ["high"]


def test_torch_threads() -> None:
    before = torch.get_num_threads()
    with torch_threads(before + 2):
        assert torch.get_num_threads() == before + 2
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8.0 GB)"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_which_errors_mean_a_lack_of_memory(error: Exception, is_memory: bool) -> None:
    assert is_out_of_memory(error) is is_memory


def verify_paths(**found: str | None) -> ssl.DefaultVerifyPaths:
    known = ssl.get_default_verify_paths()._asdict() | {"cafile": None, "capath": None}
    return ssl.DefaultVerifyPaths(**(known | found))


def test_certificates_come_from_certifi_where_python_has_none(tmp_path: Path) -> None:
    """As Python from python.org on a Mac, whose folder of certificates is empty or missing."""
    for known in (verify_paths(), verify_paths(capath=str(tmp_path))):
        file = certificate_file(known)
        assert file == certifi.where()
        assert ssl.create_default_context(cafile=file).cert_store_stats()["x509_ca"] > 50
    assert certificate_file(verify_paths(cafile=certifi.where())) is None
    (tmp_path / "one.0").touch()
    assert certificate_file(verify_paths(capath=str(tmp_path))) is None


def test_other_libraries_find_these_certificates_within_the_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    none = verify_paths()
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: none)
    with trusted_certificates(), trusted_certificates():
        assert os.environ["SSL_CERT_FILE"] == certifi.where()
    assert "SSL_CERT_FILE" not in os.environ


def test_the_certificates_of_this_machine_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    with trusted_certificates():
        assert os.environ["SSL_CERT_FILE"] == certifi.where()
    assert os.environ["SSL_CERT_FILE"] == certifi.where()


def arithmetic() -> dict[str, object]:
    return {
        "matmul": torch.get_float32_matmul_precision(),
        "tf32": torch.backends.cudnn.allow_tf32,
        "benchmark": torch.backends.cudnn.benchmark,
        "deterministic": torch.backends.cudnn.deterministic,
        "algorithms": torch.are_deterministic_algorithms_enabled(),
        "workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    }


def test_deterministic_algorithms_end_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    for workspace in (None, ":16:8"):
        if workspace is not None:
            monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", workspace)
        before = arithmetic()
        with deterministic_cuda():
            assert arithmetic() == before | {
                "deterministic": True,
                "algorithms": True,
                "workspace": ":4096:8",
            }
        assert arithmetic() == before


def test_convolutions_are_tried_in_the_block() -> None:
    before = arithmetic()
    with fastest_cuda_convolutions():
        assert arithmetic() == before | {"benchmark": True}
    assert arithmetic() == before


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({"LOCAL_WORLD_SIZE": "4", "OMP_NUM_THREADS": "1"}, 7),
        ({"LOCAL_WORLD_SIZE": "4", "OMP_NUM_THREADS": "3"}, None),
        ({"LOCAL_WORLD_SIZE": "1", "OMP_NUM_THREADS": "1"}, None),
        ({"OMP_NUM_THREADS": "1"}, None),
        ({}, None),
    ],
)
def test_a_process_that_others_wait_for_takes_their_cores(
    environment: dict[str, str], threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOCAL_WORLD_SIZE", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    before = torch.get_num_threads()
    with threads_of_waiting_processes(7):
        assert torch.get_num_threads() == (threads or before)
    assert torch.get_num_threads() == before
