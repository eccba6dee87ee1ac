"""The image catalogue: what an image name means in the lab, where nothing is pulled.

    reference ──parse──▶ catalogue ──▶ Image: command, files, variables
                            └──▶ file:///path: folder or OCI archive on disk

Images of the catalogue lie over the host's own root and bring small programs of
the standard library (`programs/`), so a machine needs nothing but Python.
"""

from cilia.lab.images.catalogue import UnknownImage, find_image
from cilia.lab.images.image import Image

__all__ = ["Image", "UnknownImage", "find_image"]
