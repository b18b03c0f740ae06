"""Payment: balances as a ledger, and charges through an outside provider whose answers may come late or never.

Owns the database goshop_payment. `domain` says what a payment may become, `store` is the ledger in SQL, `provider` the port
to the outside with its time-outs and spans, `sandbox` the provider that answers there, `settlement` finds out what became
of calls that were not answered, `api` is the gRPC service.
"""

from app.payment.api import PaymentApi
from app.payment.settlement import synchronise
from app.rpc.payment.v1.payment_pb2_grpc import add_PaymentServiceServicer_to_server
from app.service import create_service

__all__ = ["app"]

app = create_service(
    "payment",
    database=True,
    rpc=lambda resources: [(add_PaymentServiceServicer_to_server, PaymentApi(resources))],
    background=(synchronise,),
)
