"""One word, one program: `cilia agent`, `cilia lab up`, `cilia endpoint list` …

Programs are imported when they are asked for, so that a command starts fast.
"""

import sys

PROGRAMS = ("agent", "observer", "lab")


def main() -> None:
    """Runs the program that the first word names, else the command line client."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    if word == "agent":
        from cilia.agent.program import main as program
    elif word == "observer":
        from cilia.observer.program import main as program
    elif word == "lab":
        from cilia.lab.program import main as program
    else:
        from cilia.cli.program import main as program
    program(sys.argv[2:] if word in PROGRAMS else sys.argv[1:])


if __name__ == "__main__":
    main()
