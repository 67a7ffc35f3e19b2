"""`python -m nas` is `nas`."""

from nas.entry import main

if __name__ == "__main__":
    main()
