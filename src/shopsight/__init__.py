"""shopsight: from a messy folder of product photos to a classifier that can be trusted.

The verbs live in `shopsight.api`; `shopsight.load` opens a trained bundle.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shopsight.errors import ShopsightError as ShopsightError
    from shopsight.inference.load import load as load

__version__ = "0.1.0"
__all__ = ["ShopsightError", "__version__", "load"]

_HOME = {"load": "shopsight.inference.load", "ShopsightError": "shopsight.errors"}


def __getattr__(name: str) -> Any:
    # Names are re-exported lazily: importing shopsight must not import torch.
    if name not in _HOME:
        raise AttributeError(f"module 'shopsight' has no attribute {name!r}")
    from shopsight.lazy import import_home

    return getattr(import_home(_HOME[name]), name)
