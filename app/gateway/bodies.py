"""What comes in, read strictly: exact types, no unknown fields, stated lengths and ranges, and errors that name the field."""

import re
from collections.abc import Generator
from functools import cache
from typing import Annotated, Any, Final, TypeVar

import msgspec
from litestar.dto import AbstractDTO, DTOFieldDefinition
from litestar.params import HeaderParameter, PathParameter
from litestar.typing import FieldDefinition

from app.errors import InvalidRequest

T = TypeVar("T")

# One line without control characters. `(?![\s\S])` is the end of the text, which `$` is not quite in Python.
_LINE: Final = r"^[^\x00-\x1f\x7f]*(?![\s\S])"
# PostgreSQL cannot store NUL.
_TEXT: Final = r"^[^\x00]*(?![\s\S])"
_PLACE: Final = re.compile(r" - at `\$\.?(?P<key>[^`]*)`$")
_NAMED: Final = re.compile(r"(?:unknown|required) field `(?P<key>[^`]+)`")

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=_LINE)]
Text = Annotated[str, msgspec.Meta(max_length=4_000, pattern=_TEXT)]
Email = Annotated[str, msgspec.Meta(min_length=3, max_length=254, pattern=_LINE, examples=["alice@test.com"])]
Password = Annotated[str, msgspec.Meta(min_length=8, max_length=256, pattern=_TEXT)]
Category = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=_LINE)]
Sku = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+(?![\s\S])")]
# Minor units; the bound keeps every sum of an order within 64 bits.
Price = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
Stock = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
Version = Annotated[int, msgspec.Meta(ge=1, le=10**15)]
Id = Annotated[str, msgspec.Meta(min_length=32, max_length=36, description="A UUID")]

PathId = Annotated[str, PathParameter(name="id", description="A UUID", max_length=64)]
# Printable ASCII, as the draft of the Idempotency-Key header has it (draft-ietf-httpapi-idempotency-key-header).
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key", min_length=1, max_length=255, pattern=r"^[\x21-\x7e]*(?![\s\S])", required=False
    ),
]


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A request body; unknown fields are errors, so that a misspelt one is not silently ignored."""


def decode(kind: Any, body: bytes) -> Any:
    """Read a JSON body as `kind`; raises `InvalidRequest` that names the field."""
    try:
        return _decoder(kind).decode(body)
    except msgspec.ValidationError as error:
        raise _named(str(error)) from None
    except UnicodeDecodeError:
        raise InvalidRequest("the body is not UTF-8") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _named(message: str) -> InvalidRequest:
    place, named = _PLACE.search(message), _NAMED.search(message)
    what = _PLACE.sub("", message)
    if "matching regex" in what:
        what = "Has a character that is not allowed here"
    keys = [match["key"] for match in (place, named) if match and match["key"]]
    field = ".".join(keys)
    return InvalidRequest(f"{field}: {what}" if field else what, field=field)


class StrictBody(AbstractDTO[T]):
    """Lets Litestar hand the raw body to `decode`; its own way would take "5" for 5."""

    __slots__ = ()

    def decode_bytes(self, value: bytes) -> Any:
        """Decode the body as the handler's `data` is annotated."""
        return decode(self.asgi_connection.route_handler.parsed_data_field.annotation, value)

    @classmethod
    def create_for_field_definition(cls, *_args: object, **_kwargs: object) -> None:
        """Need no transfer model: the annotation is the model."""

    @classmethod
    def create_openapi_schema(cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any) -> Any:  # noqa: ARG003 - Litestar's signature
        """Describe the annotation itself."""
        return schema_creator.for_field_definition(field_definition)

    @classmethod
    def generate_field_definitions(cls, model_type: type[Any]) -> Generator[DTOFieldDefinition, None, None]:  # noqa: ARG003 - Litestar's signature
        """Have none: there is no transfer model."""
        yield from ()

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:  # noqa: ARG003 - Litestar's signature
        """Have none: there is no transfer model."""
        return False
