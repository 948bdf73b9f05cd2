"""``python -m phaseflow`` is the command line."""

from phaseflow.cli import main

if __name__ == "__main__":
    main()
