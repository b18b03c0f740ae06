"""Order: places and cancels orders as a Saga over the stock and the balance.

Owns the database goshop_order. `domain` is the state machine as data, `store` its rows, `steps` what each step asks of the
other services, `saga` drives orders from step to step and takes over those whose driver died, `api` is the gRPC service.
"""

from app.order.api import OrderApi
from app.order.saga import resume
from app.rpc.order.v1.order_pb2_grpc import add_OrderServiceServicer_to_server
from app.service import create_service

__all__ = ["app"]

app = create_service(
    "order",
    database=True,
    rpc=lambda resources: [(add_OrderServiceServicer_to_server, OrderApi(resources))],
    background=(resume,),
)
