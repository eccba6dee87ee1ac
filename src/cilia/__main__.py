"""One word, one program: `cilia agent`, `cilia lab up`, `cilia endpoint list` …

Programs are imported when they are asked for, so that a command starts fast.
"""

import gc
import importlib
import os
import sys

PROGRAMS = ("agent", "observer", "relay", "lab")
GRPC_SERVERS = ("observer", "relay")
LAB_PROGRAMS = {
    "apiserver": "cilia.lab.apiserver.program",
    "controllers": "cilia.lab.controllers.program",
    "kubelet": "cilia.lab.kubelet.program",
    "run": "cilia.lab.supervisor",
}
"""What of the lab is worth loading at once; its other words need little."""
AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def main() -> None:
    """Runs the program that the first word names, else the command line client."""
    words = sys.argv[1:]
    if words and words[0] in PROGRAMS:
        program, words = words[0], words[1:]
    else:
        program = "cli"
    load(program, words)
    importlib.import_module(f"cilia.{program}.program").main(words)


def hubble() -> None:
    """`hubble …`: the second name of `cilia hubble …`."""
    sys.argv.insert(1, "hubble")
    main()


def hubble_relay() -> None:
    """`hubble-relay …`: the second name of `cilia relay …`."""
    sys.argv.insert(1, "relay")
    main()


def load(program: str, words: list[str]) -> None:
    """Imports a program, without two things that take a fifth of the time.

    The garbage collector looks again and again at modules that all stay; and aiohttp
    reads every certificate authority of the system for a TLS context that nothing of
    ours uses: who speaks TLS here names its authorities, or asks for the system's then.
    """
    kept = {name: os.environ.get(name) for name in AUTHORITIES}
    os.environ.update(dict.fromkeys(AUTHORITIES, os.devnull))
    gc.disable()
    try:
        if program in GRPC_SERVERS:
            importlib.import_module("cilia.hubble.grpc_environment").set_grpc_environment()
        importlib.import_module(f"cilia.{program}.program")
        if program == "lab" and words and words[0] in LAB_PROGRAMS:
            importlib.import_module(LAB_PROGRAMS[words[0]])
    finally:
        gc.enable()
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


if __name__ == "__main__":
    main()
