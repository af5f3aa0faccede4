"""fer_teach: five facial-expression-recognition papers, reproduced by building them."""

from .sweep import sweep

__all__ = ["sweep"]
__version__ = "0.1.0"
