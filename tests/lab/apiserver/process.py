"""An API server process of a test's own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from cilia.lab.apiserver.config import ApiServerConfig, Listener, write_config
from cilia.lab.apiserver.kubeconfig import write_kubeconfig

_RUN = (
    "import sys; from pathlib import Path; from cilia.lab.apiserver.program import main; "
    "main(Path(sys.argv[1]))"
)


class ApiServerProcess:
    """`cilia lab apiserver` in a folder; survives `kill` with its port and its state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kubelets = folder / "nodes"
        self.kubeconfig = folder / "kubeconfig"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def certificates(self) -> Path:
        return self.folder / "state" / "certificates"

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it and waits until it listens."""
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        config = ApiServerConfig(
            state=self.folder / "state",
            listeners=(Listener("127.0.0.1", self.port),),
            kubelets=self.kubelets,
            ready=ready,
        )
        file = self.folder / "config.json"
        write_config(config, file)
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _RUN, str(file)], stdout=log, stderr=log
        )
        log.close()
        deadline = time.monotonic() + 30
        while not ready.exists():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "the API server does not become ready"
            time.sleep(0.01)
        (url,) = msgspec.json.decode(ready.read_bytes(), type=list[str])
        self.port = int(url.rsplit(":", 1)[1])
        write_kubeconfig(self.kubeconfig, self.url, self.certificates)

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and its end."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(timeout=10)
