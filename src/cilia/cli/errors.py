"""What goes wrong on the way to the agent, in one line and a remedy."""

from cilia.model.errors import CiliaError


class ClientError(CiliaError):
    """The agent or observer could not be asked, or refused.

    `remedy` says what the user can do; `exit_code` is the command's.
    """

    def __init__(self, message: str, remedy: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.exit_code = exit_code
