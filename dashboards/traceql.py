"""TraceQL as text: searches for spans of the chosen services and environments.

Source: https://grafana.com/docs/tempo/latest/traceql/construct-traceql-queries/
"""

from typing import Final

from telemetry import conventions as c

# What is chosen are names: nothing in them is escaped.
CHOSEN: Final = (
    f'resource.{c.SERVICE_NAME} =~ "{c.NAMESPACE}-(${{service:pipe}})"'
    f' && resource.{c.DEPLOYMENT_ENVIRONMENT_NAME} =~ "${{environment:pipe}}"'
)
FAILED: Final = "status = error"
SQL: Final = f'span.{c.DB_SYSTEM_NAME} = "{c.POSTGRESQL}"'
REDIS: Final = f'span.{c.DB_SYSTEM_NAME} = "{c.REDIS}"'
GRPC_CALL: Final = f'span.{c.RPC_SYSTEM_NAME} = "{c.GRPC}" && kind = client'


def spans(*conditions: str) -> str:
    """Return a search for spans of which all conditions hold."""
    return f"{{ {' && '.join((CHOSEN, *conditions))} }}"


def requests(condition: str) -> str:
    """Return a search for what the chosen services were asked, by HTTP or gRPC, of which a condition holds."""
    return spans("kind = server", f"({condition})")


def of_service(name: str) -> str:
    """Return the condition that a span is a service's."""
    return f'resource.{c.SERVICE_NAME} = "{c.NAMESPACE}-{name}"'


def longer_than(milliseconds: str) -> str:
    """Return the condition that a span took longer."""
    return f"duration > {milliseconds}ms"
