"""`python -m gatepost`: the same as the command `gatepost`."""

from gatepost.app.main import main

if __name__ == "__main__":
    main()
