"""`python -m bench`: see bench/cli/app.py."""

from bench.cli.app import main

if __name__ == "__main__":
    main()
