"""Pipeline documents: `load(path)` gives the canonical pipeline or every mistake at once."""

from drawbar.document.loader import Loaded, load, load_text
from drawbar.document.mistakes import BadDocument

__all__ = ["BadDocument", "Loaded", "load", "load_text"]
