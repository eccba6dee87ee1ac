"""Programs that run inside containers; the standard library only, so they start fast.

Each module has `main(arguments)` and returns an exit code.
"""
