"""The classification head as one value, shared by the recipe and the bundle."""
