"""The user's data: images with labels, read from whatever form they come in."""

from vaeaudit.data.images import Images, load_images

__all__ = ["Images", "load_images"]
