"""The shop: gateway, user, product, order and payment, each a thin service over one composition root, `app.service`."""
