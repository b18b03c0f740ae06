"""The gateway: the only public service. It knows the caller, limits the rate, routes, and joins several answers into one.

`edge` is the application, `middleware` what every request passes, `users`, `products`, `orders` and `payments` the routes.
"""

from app.gateway.edge import app

__all__ = ["app"]
