"""`python -m genrecore` is the command `genrecore`."""

from genrecore.cli import main

if __name__ == "__main__":
    main()
