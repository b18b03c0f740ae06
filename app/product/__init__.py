"""The product service: the catalogue, its search, and the stock that orders reserve."""

from app.product.api import app

__all__ = ["app"]
