"""The catalogue at the edge: everybody reads, the admin writes."""

from typing import Annotated, Any

import msgspec
from litestar import Request, delete, get, post, put
from litestar.params import JSONBody, QueryParameter

from app.gateway.access import ADMIN_ONLY
from app.gateway.backends import backends
from app.gateway.bodies import Body, Category, Name, PathId, Price, Sku, Stock, Text, Version
from app.gateway.documentation import problems
from app.ids import parse_id
from app.rpc.product.v1 import product_pb2

Currency = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}(?![\s\S])", description="ISO 4217")]
Limit = Annotated[int, QueryParameter(ge=1, le=100, description="Products on a page")]
_NO_CONTROLS = r"^[^\x00-\x1f\x7f]*(?![\s\S])"
Query = Annotated[str, QueryParameter(max_length=200, pattern=_NO_CONTROLS, description="Words to search for")]
Shelf = Annotated[str, QueryParameter(max_length=64, pattern=_NO_CONTROLS, description="A category")]
Cursor = Annotated[str, QueryParameter(max_length=512, pattern=_NO_CONTROLS, description="The `next_cursor` before")]


class NewProduct(Body, frozen=True, kw_only=True):
    """A product to sell; the price is in minor units."""

    sku: Sku
    name: Name
    description: Text = ""
    category: Category
    price: Price
    currency: Currency = "EUR"
    stock: Stock = 0


class ChangedProduct(Body, frozen=True, kw_only=True):
    """A product's new state; `version` is the one that was read."""

    version: Version
    name: Name
    description: Text = ""
    category: Category
    price: Price
    stock: Stock


class Product(msgspec.Struct, frozen=True):
    """A product; the price is in minor units."""

    id: str
    sku: str
    name: str
    description: str
    category: str
    price: int
    currency: str
    stock: int
    version: int


class Products(msgspec.Struct, frozen=True):
    """A page of products; `next_cursor` asks for the next one, null at the end."""

    items: list[Product]
    next_cursor: str | None


@get("/api/products", tags=["products"], responses=problems(400, 401))
async def search_products(
    request: Request[Any, Any, Any], q: Query = "", category: Shelf = "", limit: Limit = 20, cursor: Cursor = ""
) -> Products:
    """Search by words and category, or list everything."""
    services = backends(request)
    message = product_pb2.SearchProductsRequest(text=q, category=category, limit=limit, cursor=cursor)
    page = await services.call(services.products.SearchProducts, message)
    return Products([_product(p) for p in page.products], page.next_cursor or None)


@get("/api/products/{id:str}", tags=["products"], responses=problems(400, 401, 404))
async def get_product(request: Request[Any, Any, Any], product_id: PathId) -> Product:
    """Show a product."""
    services = backends(request)
    message = product_pb2.GetProductRequest(product_id=parse_id(product_id))
    return _product(await services.call(services.products.GetProduct, message))


@post(
    "/api/products", status_code=200, tags=["products"], responses=problems(400, 401, 403, 409, body=True), **ADMIN_ONLY
)
async def create_product(request: Request[Any, Any, Any], data: JSONBody[NewProduct]) -> Product:
    """Add a product; the admin may."""
    services = backends(request)
    message = product_pb2.CreateProductRequest(**msgspec.structs.asdict(data))
    return _product(await services.call(services.products.CreateProduct, message))


@put("/api/products/{id:str}", tags=["products"], responses=problems(400, 401, 403, 404, 409, body=True), **ADMIN_ONLY)
async def update_product(
    request: Request[Any, Any, Any], product_id: PathId, data: JSONBody[ChangedProduct]
) -> Product:
    """Change a product that nobody has changed in between; the admin may."""
    services = backends(request)
    message = product_pb2.UpdateProductRequest(product_id=parse_id(product_id), **msgspec.structs.asdict(data))
    return _product(await services.call(services.products.UpdateProduct, message))


@delete("/api/products/{id:str}", tags=["products"], responses=problems(400, 401, 403, 404, 409), **ADMIN_ONLY)
async def delete_product(request: Request[Any, Any, Any], product_id: PathId) -> None:
    """Take a product out of the catalogue; the admin may."""
    services = backends(request)
    message = product_pb2.DeleteProductRequest(product_id=parse_id(product_id))
    await services.call(services.products.DeleteProduct, message)


def _product(p: product_pb2.Product) -> Product:
    return Product(p.id, p.sku, p.name, p.description, p.category, p.price, p.currency, p.stock, p.version)


ROUTES = (search_products, get_product, create_product, update_product, delete_product)
