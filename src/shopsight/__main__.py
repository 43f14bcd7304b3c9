"""`python -m shopsight` is the `shopsight` command."""

from shopsight.cli.app import main

main()
