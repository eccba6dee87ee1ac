"""What an image gives a container."""

from pathlib import Path

import msgspec

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Image(msgspec.Struct, frozen=True):
    """An image, ready to run."""

    name: str
    """What it is called in the catalogue, or its path."""
    image_id: str
    """Changes when its content does."""
    command: tuple[str, ...] = ()
    """Its entry point."""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    working_dir: str = "/"
    user: str = ""
    lower: Path = Path("/")
    """Complete root file system; the host's own root for catalogue images."""
    copies: tuple[Path, ...] = ()
    """Folders laid over `lower`."""

    @property
    def is_over_host(self) -> bool:
        """Whether it shows the host's own programs and libraries."""
        return self.lower == Path("/")
