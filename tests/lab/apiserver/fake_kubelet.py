"""A kubelet's socket that answers logs, and runs commands that it makes up."""

import asyncio
import threading
from pathlib import Path

import msgspec
from aiohttp import WSMsgType, web


class FakeKubelet:
    """Serves `kubelet.sock` in a thread of its own.

    `exec` knows three commands: `cat` gives stdin back, `fail N` ends with exit
    code N, anything else is printed, one word a line, and `err` on stderr.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def start(self) -> None:
        self._socket.parent.mkdir(parents=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        application = web.Application()
        application.router.add_get("/logs/{namespace}/{pod}/{container}", self._logs)
        for name in ("exec", "attach"):
            application.router.add_get(f"/{name}/{{namespace}}/{{pod}}/{{container}}", self._exec)
        application.router.add_get("/portforward/{namespace}/{pod}", self._forward)
        self._runner = web.AppRunner(application, shutdown_timeout=1)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self._socket)).start()

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        lines = [f"line {number} of {request.match_info['container']}" for number in range(5)]
        tail = int(request.query.get("tailLines", 5))
        for line in lines[-tail:]:
            await response.write(line.encode() + b"\n")
        return response

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io",))
        await socket.prepare(request)
        command = request.query.getall("command", [])
        status: dict[str, object] = {"metadata": {}, "status": "Success"}
        if command == ["cat"]:
            async for message in socket:
                if message.type is WSMsgType.BINARY and message.data[0] == 0:
                    await socket.send_bytes(b"\x01" + message.data[1:])
                elif message.type is WSMsgType.BINARY and message.data == b"\xff\x00":
                    break
        elif command[:1] == ["fail"]:
            causes = [{"reason": "ExitCode", "message": command[1]}]
            status = {
                "metadata": {},
                "status": "Failure",
                "reason": "NonZeroExitCode",
                "message": f"command terminated with exit code {command[1]}",
                "details": {"causes": causes},
            }
        else:
            await socket.send_bytes(b"\x01" + "\n".join(command).encode() + b"\n")
            await socket.send_bytes(b"\x02err\n")
        await socket.send_bytes(b"\x03" + msgspec.json.encode(status))
        await socket.close()
        return socket

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        """Answers one HTTP request with the port that was asked for."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        message = await socket.receive()
        assert message.type is WSMsgType.BINARY
        text = f"port {request.query['port']}"
        head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(text)}\r\n\r\n"
        await socket.send_bytes((head + text).encode())
        await socket.close()
        return socket
