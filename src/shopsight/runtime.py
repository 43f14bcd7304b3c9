"""Settings of the host process, each changed within a block only.

Importing shopsight changes nothing of the process it is imported into. What has to be changed
while a verb works is changed by one of these context managers and put back at the block's end:
the memory allocator, threads of OpenCV and torch, CUDA's arithmetic, the Hugging Face Hub's
offline mode, the file of trusted certificates, the root logger, and what SIGTERM does. The cache
folder, `shopsight.files.use_cache_dir`, is a context variable and not the environment's.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Lock, RLock
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies

# Numbers and limits of <malloc.h>; the values are those at which glibc's own adaptation ends.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_ADAPTED = {_MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20, _MMAP_MAX: 65_536}
_KEEP = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1}  # -1: never
_CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


class _SharedSetting:
    """A setting of the whole process that several blocks may want at the same time.

    Blocks may be nested or overlap in several threads: the first one to begin changes the setting,
    the last one to end puts it back.

    Args:
        change: Changes the setting; returns what puts it back.
    """

    def __init__(self, change: Callable[[], Callable[[], None]]) -> None:
        self._change = change
        self._restore: Callable[[], None] | None = None
        self._lock = Lock()
        self._blocks = 0

    @contextmanager
    def block(self) -> Iterator[None]:
        with self._lock:
            self._blocks += 1
            if self._blocks == 1:
                self._restore = self._change()
        try:
            yield
        finally:
            with self._lock:
                self._blocks -= 1
                if self._blocks == 0 and self._restore is not None:
                    self._restore()


@contextmanager
def retain_freed_memory() -> Iterator[bool]:
    """Keep freed memory within the block and return it to the system at its end.

    torch takes every activation from `malloc`. glibc returns freed memory to the system, buffers
    beyond 32 MiB always, so that for each batch the same pages are zeroed and mapped anew: with
    EfficientNet-Lite in fp32 a quarter to two fifths of the time, in training
    (`bench/bench_training_step.py`) and in inference (`bench/bench_inference.py`). Within the
    block the process holds its peak, and some more for gaps between buffers.

    Yields:
        Whether memory is kept: only glibc has these settings.
    """
    library = _glibc()
    if library is None:
        yield False
        return
    with _freed_memory.block():
        yield True


@contextmanager
def single_threaded_opencv() -> Iterator[None]:
    """Let OpenCV compute each image in the calling thread within the block.

    Augmentation runs many images in its own threads, one image per core. OpenCV's own pool
    would split each image over all cores as well, and the two pools would fight.
    """
    with _opencv_threads.block():
        yield


@contextmanager
def fp32_products(rounding: Literal["ieee", "tf32"], *, take_turns: bool = True) -> Iterator[None]:
    """Decide within the block how torch multiplies fp32 numbers, in convolutions and matrices.

    "ieee" is fp32. In "tf32" a CUDA device of compute capability 8 or more rounds the inputs to 10
    bits of mantissa, which is several times as fast; torch's own choice is TF32 for convolutions
    and fp32 for matrix products. A kernel is chosen when it is launched: what is launched within
    the block is computed this way, whenever the device comes to it.

    Args:
        rounding: "ieee" or "tf32".
        take_turns: The setting is the process's: threads that want one wait for each other. Not in
            a block that lasts hours; another thread's block then decides as long as it lasts.
    """
    with _fp32_lock if take_turns else nullcontext():
        restore = _set_fp32_products(rounding)
        try:
            yield
        finally:
            restore()


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads on the CPU within the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def threads_of_waiting_processes(cores: int) -> Iterator[None]:
    """Let torch use all cores within the block, where this process works and others wait for it.

    torchrun sets OMP_NUM_THREADS=1 in every process of a node, which is right while all of them
    compute. What rank 0 does alone would then leave the other cores idle. Where nothing was
    launched, or somebody has chosen a number of threads, nothing is changed.

    Args:
        cores: that this process may use.
    """
    launched = os.environ.get("LOCAL_WORLD_SIZE", "1") != "1"
    if not launched or os.environ.get("OMP_NUM_THREADS") != "1":
        yield
        return
    with torch_threads(cores):
        yield


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that something did not fit in memory, of any device."""
    if isinstance(error, MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    text = str(error).lower()
    # torch.OutOfMemoryError, the CPU's allocator, and cuBLAS and cuDNN without room to work in.
    known = ("out of memory", "can't allocate memory", "alloc_failed")
    return type(error).__name__ == "OutOfMemoryError" or any(part in text for part in known)


@contextmanager
def deterministic_cuda() -> Iterator[None]:
    """Use only CUDA algorithms within the block that give the same result each time.

    An operation that has none raises a RuntimeError. cuBLAS needs a workspace of its own for
    each stream, which it reads from the environment.
    """
    import torch

    cudnn = torch.backends.cudnn
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    cudnn_before = cudnn.deterministic, cudnn.benchmark
    workspace = os.environ.get(_CUBLAS_WORKSPACE)
    os.environ[_CUBLAS_WORKSPACE] = ":4096:8"
    torch.use_deterministic_algorithms(True)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = cudnn_before
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        if workspace is None:
            del os.environ[_CUBLAS_WORKSPACE]
        else:
            os.environ[_CUBLAS_WORKSPACE] = workspace


@contextmanager
def fastest_cuda_convolutions() -> Iterator[None]:
    """Have cuDNN try its algorithms within the block, once for each shape, and keep the fastest.

    It pays where shapes repeat, and is not deterministic: the fastest one may be another each time.
    """
    import torch

    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextmanager
def fail_fast_offline(*, may_ask: bool = True) -> Iterator[None]:
    """Within the block, an unreachable Hugging Face Hub fails at once.

    Its client would try each of two files six times, for a minute in all. What is in its cache is
    found all the same.

    Args:
        may_ask: The hub may be asked where it can be reached.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not may_ask or not _resolves(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def certificate_file(known: ssl.DefaultVerifyPaths | None = None) -> str | None:
    """Certifi's file of trusted certificates where Python has none of its own; None elsewhere.

    Python from python.org on a Mac has none until a script beside it has been run. Windows keeps
    its certificates in no file.

    Args:
        known: where OpenSSL looks; None asks it.
    """
    known = known or ssl.get_default_verify_paths()
    folder = Path(known.capath) if known.capath else None
    if sys.platform == "win32" or known.cafile or (folder and any(folder.iterdir())):
        return None
    import certifi

    return certifi.where()


@contextmanager
def trusted_certificates() -> Iterator[None]:
    """Within the block, libraries that open URLs by urllib find certificates, as torch.hub does."""
    with _certificates.block():
        yield


@contextmanager
def without_root_log_of(folder: Path) -> Iterator[None]:
    """Drop what code below `folder` writes with the root logger within the block.

    `logging.info` and its like also give a root logger without handlers one that writes to stderr:
    it is removed at the end.
    """
    root = logging.getLogger()
    handlers = list(root.handlers)

    def is_from_elsewhere(record: logging.LogRecord) -> bool:
        return not Path(record.pathname).is_relative_to(folder)

    root.addFilter(is_from_elsewhere)
    try:
        yield
    finally:
        root.removeFilter(is_from_elsewhere)
        for handler in set(root.handlers) - set(handlers):
            root.removeHandler(handler)


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM, by which Slurm, torchrun and systemd end a process, act as Ctrl-C does.

    Only in the main thread, and where nobody else handles it.
    """
    own = threading.current_thread() is threading.main_thread()
    if not own or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    found = all(hasattr(library, name) for name in ("gnu_get_libc_version", "mallopt"))
    return library if found else None


def _retain_freed_memory() -> Callable[[], None]:
    library = _glibc()
    assert library is not None
    for number, value in _KEEP.items():
        library.mallopt(number, value)

    def restore() -> None:
        for number, value in _ADAPTED.items():
            library.mallopt(number, value)
        library.malloc_trim(0)

    return restore


def _single_thread_opencv() -> Callable[[], None]:
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    return lambda: cv2.setNumThreads(before)


def _set_fp32_products(rounding: Literal["ieee", "tf32"]) -> Callable[[], None]:
    """Set the rounding of matrix products and of CUDA's convolutions; give what puts it back."""
    import torch
    from torch.backends import cudnn

    try:
        matrices, convolutions = torch.get_float32_matmul_precision(), cudnn.allow_tf32
    except RuntimeError:
        # Somebody has set what only the settings by kind of product, new in torch 2.9, can express.
        return _set_fp32_products_by_kind(rounding)
    # These set the new ones too, so that both stay readable within the block.
    torch.set_float32_matmul_precision("highest" if rounding == "ieee" else "high")
    cudnn.allow_tf32 = rounding == "tf32"

    def restore() -> None:
        torch.set_float32_matmul_precision(matrices)
        cudnn.allow_tf32 = convolutions

    return restore


def _set_fp32_products_by_kind(rounding: Literal["ieee", "tf32"]) -> Callable[[], None]:
    from torch import backends

    # Any: the stubs lack some.
    cuda: Any = backends.cuda
    cudnn: Any = backends.cudnn
    cpu: Any = backends.mkldnn
    kinds = [cuda.matmul, cudnn.conv, cpu.matmul]
    before = [kind.fp32_precision for kind in kinds]
    for kind in kinds:
        kind.fp32_precision = rounding

    def restore() -> None:
        for kind, was in zip(kinds, before, strict=True):
            kind.fp32_precision = was

    return restore


def _name_certificate_file() -> Callable[[], None]:
    # OpenSSL's own variable. Where the user has set it, there is a file, and nothing changes.
    variable = ssl.get_default_verify_paths().openssl_cafile_env
    file, before = certificate_file(), os.environ.get(variable)
    if file is None:
        return lambda: None
    os.environ[variable] = file

    def restore() -> None:
        if before is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = before

    return restore


def _resolves(url: str) -> bool:
    """Whether the URL's host has an address, or a proxy looks it up."""
    if getproxies():
        return True
    try:
        socket.getaddrinfo(urlsplit(url).hostname, None)
    except OSError:
        return False
    return True


_fp32_lock = RLock()
_freed_memory = _SharedSetting(_retain_freed_memory)
_opencv_threads = _SharedSetting(_single_thread_opencv)
_certificates = _SharedSetting(_name_certificate_file)
