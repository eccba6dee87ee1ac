"""The command line: a client of the agent's REST API and the observer's monitor socket.

It imports neither the kernel nor the tables, so it starts fast and works
wherever the sockets can be reached. One file a noun under `commands`.
"""
