"""The recipes that are taken when none is named; importing this module costs nothing."""

from __future__ import annotations

DEFAULT_RECIPE = "balanced"
PROBE_RECIPE = "fast"

DEFAULT_PRECISION = 0.98
"""How often categories that `review` fills in are right."""
