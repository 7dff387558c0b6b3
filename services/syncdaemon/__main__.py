"""`python -m syncdaemon`."""

from syncdaemon.cli import main

if __name__ == "__main__":
    main()
