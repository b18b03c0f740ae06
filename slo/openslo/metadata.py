"""What every document says of itself, and what a mapping of a document is."""

from typing import ClassVar, Final, Literal

import msgspec

from slo.openslo.fields import LabelName, LabelValue, Link, Name, Text

OPENSLO: Final = "openslo/v1"
GOSHOP: Final = "goshop/v1"

_RUNBOOK: Final = "goshop.dev/runbook"
_DASHBOARD: Final = "goshop.dev/dashboard"
_SERIES: Final = "goshop.dev/series"
# Annotations of ours, and the kinds that they say something about.
ANNOTATED: Final = {_RUNBOOK: ("SLO", "Service"), _DASHBOARD: ("SLO", "Service"), _SERIES: ("DataSource",)}


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """A mapping whose keys are all known."""


class Annotations(msgspec.Struct, frozen=True):
    """What an implementation may add; ours are links for alerts, and where the names of series can't be known."""

    runbook: Link | None = msgspec.field(name=_RUNBOOK, default=None)
    dashboard: Link | None = msgspec.field(name=_DASHBOARD, default=None)
    series: Literal["own", "foreign"] | None = msgspec.field(name=_SERIES, default=None)

    # Other keys are other people's.
    OWN_PREFIX: ClassVar = "goshop.dev/"


class Metadata(Strict, frozen=True):
    """What every document says of itself."""

    name: Name
    display_name: Text | None = None
    labels: dict[LabelName, LabelValue] = {}
    annotations: Annotations = Annotations()
