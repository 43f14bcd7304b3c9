"""Defaults that a verb and its command line share; importing them costs nothing."""

from __future__ import annotations

DEFAULT_RECIPE = "balanced"
PROBE_RECIPE = "fast"
