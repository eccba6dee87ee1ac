"""One word, one program: `cilia agent`, `cilia lab up`, `cilia endpoint list` …

Programs are imported when they are asked for, so that a command starts fast.
"""

import importlib
import sys

PROGRAMS = ("agent", "observer", "lab")


def main() -> None:
    """Runs the program that the first word names, else the command line client."""
    words = sys.argv[1:]
    if words and words[0] in PROGRAMS:
        program, words = words[0], words[1:]
    else:
        program = "cli"
    importlib.import_module(f"cilia.{program}.program").main(words)


if __name__ == "__main__":
    main()
