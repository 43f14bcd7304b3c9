"""ONNX Runtime as shopsight loads it: it tells its maker nothing.

From version 1.29 on its wheels for Linux report each session with hashes of graph and weights to a
host of its maker, and keep what could not be sent, with a number of the machine, in the user's
cache folder; earlier ones do likewise on Windows. It does so in native code, where no hook of
Python sees it. Only a variable that is set before the library is loaded keeps it from beginning;
where somebody else has loaded it before, it is switched off for what comes.

Import `onnxruntime` from here and nowhere else.
"""

from __future__ import annotations

import os

_VARIABLE = "ORT_DISABLE_TELEMETRY"
_before = os.environ.get(_VARIABLE)
os.environ[_VARIABLE] = "1"
try:
    import onnxruntime
finally:
    # It is read when the library is loaded; the user's environment stays as it was.
    if _before is None:
        del os.environ[_VARIABLE]
    else:
        os.environ[_VARIABLE] = _before

onnxruntime.disable_telemetry_events()

__all__ = ["onnxruntime"]
