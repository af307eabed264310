"""`python -m opendify.cli`: the `opendify` command of this very code, installed or not."""

from opendify.cli import main

if __name__ == "__main__":
    main(prog_name="opendify")
