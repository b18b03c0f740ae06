"""The contract product.v1.ProductService: who may do what.

Anybody reads the catalogue; the admin writes it. The stock's four calls are the order service's: it makes them in the name of
the customer whose order it is, or in the shop's own when it resumes a Saga, so a caller must be known but need not be an
admin. No route of the gateway leads to Reserve, Confirm or Release. GetReservation shows products, quantities and prices and
not whose they are; whether the caller may see the order is answered by the order service, which owns that knowledge, and the
gateway shows the one only with the other.
"""

# ruff: noqa: N802 - the methods are named by the contract

from typing import Any

from app import identity
from app.errors import InvalidRequest
from app.ids import parse_id
from app.product import domain
from app.product.cache import ProductCache
from app.product.catalogue import Catalogue
from app.product.stock import Stock
from app.rpc.product.v1.product_pb2 import (
    CreateProductRequest,
    DeleteProductRequest,
    DeleteProductResponse,
    GetProductRequest,
    Product,
    Reservation,
    ReservationRequest,
    ReservedItem,
    ReserveStockRequest,
    SearchProductsRequest,
    SearchProductsResponse,
    UpdateProductRequest,
)
from app.rpc.product.v1.product_pb2_grpc import ProductServiceServicer, add_ProductServiceServicer_to_server
from app.rpc_server import Registration
from app.service import Resources, create_service

Context = Any


class ProductApi(ProductServiceServicer):
    """The catalogue and the stock."""

    def __init__(self, catalogue: Catalogue, stock: Stock, cache: ProductCache) -> None:
        self._catalogue = catalogue
        self._stock = stock
        self._cache = cache

    async def GetProduct(self, request: GetProductRequest, _context: Context) -> Product:
        """Show a product."""
        product_id = parse_id(request.product_id, "product_id")
        if cached := await self._cache.get(product_id):
            return cached
        product = await self._catalogue.get(product_id)
        await self._cache.put(product)
        return product

    async def SearchProducts(self, request: SearchProductsRequest, _context: Context) -> SearchProductsResponse:
        """Find products by text and category, newest first. Never cached: its slowness is what people would notice."""
        if len(request.text) > domain.MAX_TEXT:
            raise InvalidRequest(f"text: at most {domain.MAX_TEXT} characters", field="q")
        return await self._catalogue.search(request, domain.page_size(request.limit))

    async def CreateProduct(self, request: CreateProductRequest, _context: Context) -> Product:
        """Add a product."""
        identity.require_admin()
        _check_stock(request.stock)
        return await self._catalogue.add(request)

    async def UpdateProduct(self, request: UpdateProductRequest, _context: Context) -> Product:
        """Overwrite the version of a product that the admin has read."""
        identity.require_admin()
        _check_stock(request.stock)
        product_id = parse_id(request.product_id, "product_id")
        try:
            return await self._catalogue.change(product_id, request)
        finally:
            # After a conflict too: whoever reads it again must not get the version that made it fail.
            await self._cache.forget([product_id])

    async def DeleteProduct(self, request: DeleteProductRequest, _context: Context) -> DeleteProductResponse:
        """Take a product out of the catalogue; orders that hold it keep it."""
        identity.require_admin()
        product_id = parse_id(request.product_id, "product_id")
        await self._catalogue.remove(product_id)
        await self._cache.forget([product_id])
        return DeleteProductResponse()

    async def ReserveStock(self, request: ReserveStockRequest, _context: Context) -> Reservation:
        """Take an order's items off the shelf, all or none; a product named twice counts as one."""
        identity.require_login()
        order_id = parse_id(request.order_id, "order_id")
        reservation = await self._stock.reserve(order_id, domain.wanted(request.items))
        return await self._changed(reservation)

    async def ConfirmReservation(self, request: ReservationRequest, _context: Context) -> Reservation:
        """Make a reservation final."""
        identity.require_login()
        return _message(await self._stock.confirm(parse_id(request.order_id, "order_id")))

    async def ReleaseReservation(self, request: ReservationRequest, _context: Context) -> Reservation:
        """Give back what an order holds."""
        identity.require_login()
        return await self._changed(await self._stock.release(parse_id(request.order_id, "order_id")))

    async def GetReservation(self, request: ReservationRequest, _context: Context) -> Reservation:
        """Show what an order holds or held."""
        identity.require_login()
        return _message(await self._stock.find(parse_id(request.order_id, "order_id")))

    async def _changed(self, reservation: domain.Reservation) -> Reservation:
        if reservation.lines:
            await self._cache.forget(line.product_id for line in reservation.lines)
        return _message(reservation)


def _check_stock(stock: int) -> None:
    if not 0 <= stock <= domain.MAX_STOCK:
        raise InvalidRequest(f"stock: between 0 and {domain.MAX_STOCK}", field="stock")


def _message(reservation: domain.Reservation) -> Reservation:
    items = [ReservedItem(**{f: getattr(line, f) for f in line.__struct_fields__}) for line in reservation.lines]
    return Reservation(order_id=reservation.order_id, state=reservation.state, items=items)


def _servicers(resources: Resources) -> list[Registration]:
    api = ProductApi(Catalogue(resources.pool), Stock(resources.pool), ProductCache(resources.redis))
    return [(add_ProductServiceServicer_to_server, api)]


app = create_service("product", database=True, redis=True, rpc=_servicers)
