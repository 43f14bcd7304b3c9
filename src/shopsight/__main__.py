"""`python -m shopsight` is the `shopsight` command."""

from shopsight.cli.app import main

# Processes that Windows and macOS spawn import this module again.
if __name__ == "__main__":
    main()
