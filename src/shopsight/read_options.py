"""How DATA is read, as one value: shared by the commands, the readers and the recipe."""
