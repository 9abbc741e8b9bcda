"""``python -m nastk``."""

from nastk.cli import main

if __name__ == "__main__":
    main()
