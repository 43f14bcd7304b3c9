"""The recipes that are taken when none is named; importing this module costs nothing."""

from __future__ import annotations

DEFAULT_RECIPE = "balanced"
PROBE_RECIPE = "fast"
