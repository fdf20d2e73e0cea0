"""`python -m rlrun` is the `rlrun` command."""

from rlrun.cli.app import main

if __name__ == "__main__":
    main()
