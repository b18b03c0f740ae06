"""The documents as they are spelled: OpenSLO v1 as far as it is read, and goshop/v1's ReleaseGate.

Source: https://github.com/OpenSLO/OpenSLO#specification. What they hold is in `metadata` and `specs`.
"""

from typing import Final, Literal

from slo.openslo.metadata import GOSHOP, OPENSLO, Metadata, Strict
from slo.openslo.specs import (
    AlertConditionSpec,
    AlertPolicySpec,
    DataSourceSpec,
    DescribedSpec,
    ReleaseGateSpec,
    SliSpec,
    SloSpec,
)


class ServiceDocument(Strict, frozen=True):
    """What SLOs are grouped by."""

    api_version: Literal["openslo/v1"]
    kind: Literal["Service"]
    metadata: Metadata
    spec: DescribedSpec = DescribedSpec()


class DataSourceDocument(Strict, frozen=True):
    """Where series are read."""

    api_version: Literal["openslo/v1"]
    kind: Literal["DataSource"]
    metadata: Metadata
    spec: DataSourceSpec


class SliDocument(Strict, frozen=True):
    """An indicator that SLOs refer to."""

    api_version: Literal["openslo/v1"]
    kind: Literal["SLI"]
    metadata: Metadata
    spec: SliSpec


class AlertConditionDocument(Strict, frozen=True):
    """A condition that alert policies refer to."""

    api_version: Literal["openslo/v1"]
    kind: Literal["AlertCondition"]
    metadata: Metadata
    spec: AlertConditionSpec


class AlertPolicyDocument(Strict, frozen=True):
    """An alert that SLOs refer to."""

    api_version: Literal["openslo/v1"]
    kind: Literal["AlertPolicy"]
    metadata: Metadata
    spec: AlertPolicySpec


class SloDocument(Strict, frozen=True):
    """An objective."""

    api_version: Literal["openslo/v1"]
    kind: Literal["SLO"]
    metadata: Metadata
    spec: SloSpec


class ReleaseGateDocument(Strict, frozen=True):
    """What a release must meet under load; not OpenSLO's but ours."""

    api_version: Literal["goshop/v1"]
    kind: Literal["ReleaseGate"]
    metadata: Metadata
    spec: ReleaseGateSpec


AnyDocument = (
    ServiceDocument
    | DataSourceDocument
    | SliDocument
    | AlertConditionDocument
    | AlertPolicyDocument
    | SloDocument
    | ReleaseGateDocument
)

KINDS: Final[dict[str, dict[str, type[AnyDocument]]]] = {
    OPENSLO: {
        "Service": ServiceDocument,
        "DataSource": DataSourceDocument,
        "SLI": SliDocument,
        "AlertCondition": AlertConditionDocument,
        "AlertPolicy": AlertPolicyDocument,
        "SLO": SloDocument,
    },
    GOSHOP: {"ReleaseGate": ReleaseGateDocument},
}
# Kinds that we have no document for, and what to write instead.
OUTSIDE_KINDS: Final = {
    "AlertNotificationTarget": "a targetRef names a receiver in Alertmanager's configuration",
}
