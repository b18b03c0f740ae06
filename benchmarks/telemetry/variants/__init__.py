"""The same application, `GET /items/{item_id}`, with each way to have telemetry; every factory makes an ASGI application.

A module is imported only by the process that serves it, so that no variant carries what another one needs.
"""
