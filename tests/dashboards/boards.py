"""The committed dashboards as tests read them: their queries, variables and links, with Grafana's variables put in."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]
GENERATED: Final = Path(__file__).parents[2] / "dashboards" / "generated"
BOARDS: Final[dict[str, Json]] = {path.stem: json.loads(path.read_text()) for path in sorted(GENERATED.glob("*.json"))}
# Grafana's syntax, all three forms: https://grafana.com/docs/grafana/latest/visualizations/dashboards/variables/variable-syntax/
VARIABLE: Final = re.compile(r"\$(?P<plain>[a-zA-Z_]\w*)|\$\{(?P<braced>[a-zA-Z_]\w*)(?:[.\[][^:}]*)?(?::[a-z]+)?\}")
# A name, and what stands in braces behind it; strings may hold anything.
SELECTOR: Final = re.compile(r'(?P<metric>[a-zA-Z_:][\w:]*)?\{(?P<matchers>(?:[^"{}]|"(?:[^"\\]|\\.)*")*)\}')
MATCHER: Final = re.compile(r'(?P<label>\w+)\s*(?P<operator>=~|!~|!=|=)\s*"(?P<value>(?:[^"\\]|\\.)*)"')
STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True)
class Query:
    """A query of a panel, an annotation, a variable or a link, as it stands in the JSON.

    `said` is what the dashboard and the panel say of it; `colored` whether thresholds colour its values.
    """

    board: str
    place: str
    ref: str
    language: str
    text: str
    unit: str = ""
    instant: bool = False
    exemplars: bool = False
    said: str = ""
    colored: bool = False

    @property
    def id(self) -> str:
        return f"{self.board}/{self.place}/{self.ref}"

    def filled(self, values: Mapping[str, str]) -> str:
        """Return the query with values put in; raises `KeyError` for a variable that has none."""
        return filled(self.text, values)


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return a text with Grafana's variables put in; $1 of a regular expression is none of them."""
    return VARIABLE.sub(lambda match: values[match["plain"] or match["braced"]], text)


def variables_in(text: str) -> set[str]:
    """Return the names of the variables that a text uses."""
    return {match["plain"] or match["braced"] for match in VARIABLE.finditer(text)}


def panels(board: Json) -> list[Json]:
    """Return the panels that show something; rows are headings."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(board: Json) -> Iterator[Query]:
    """Yield the queries of a dashboard's panels."""
    for panel in panels(board):
        for target in panel["targets"]:
            language, text = said(target)
            yield Query(
                board["uid"],
                panel["title"],
                target["refId"],
                language,
                text,
                _unit(panel, target["refId"]),
                instant=target.get("instant", False),
                exemplars=target.get("exemplar", False),
                said=_said_of(board, panel),
                colored=len(_properties(panel, target["refId"]).get("thresholds", {}).get("steps", ())) > 1,
            )


def said(target: Json) -> tuple[str, str]:
    """Return a query's language and text."""
    kind = target["datasource"]["type"]
    return {"prometheus": "promql", "loki": "logql", "tempo": "traceql"}[kind], target.get("expr") or target["query"]


def _said_of(board: Json, panel: Json) -> str:
    return f"{board['description']} {panel['description']}"


def _properties(panel: Json, ref: str) -> Json:
    """Return how a query's values are shown: as the panel's, or as a column's own in a table."""
    config = panel.get("fieldConfig", {})
    found: Json = dict(config.get("defaults", {}))
    renamed: dict[str, str] = {}
    for step in panel.get("transformations", ()):
        renamed |= step["options"].get("renameByName", {})
    title = renamed.get(f"Value #{ref}", renamed.get("Value", ""))
    for override in config.get("overrides", ()):
        if title and override["matcher"]["options"] == title:
            found |= {each["id"]: each["value"] for each in override["properties"]}
    return found


def _unit(panel: Json, ref: str) -> str:
    if panel["type"] == "heatmap":
        return str(panel["options"]["cellValues"]["unit"])
    return str(_properties(panel, ref).get("unit", ""))


def alerts(board: Json) -> Iterator[Query]:
    """Yield the queries of a dashboard's annotations."""
    for each in board["annotations"]["list"]:
        if each["datasource"]["type"] == "prometheus":
            place = f"annotation {each['name']}"
            yield Query(board["uid"], place, "Anno", "promql", each["target"]["expr"], said=place)


def links(board: Json) -> Iterator[tuple[str, Json]]:
    """Yield the links of a dashboard's panels, with the title of the panel."""
    for panel, link in _links(board):
        yield panel["title"], link


def _links(board: Json) -> Iterator[tuple[Json, Json]]:
    for panel in panels(board):
        found = panel.get("fieldConfig", {})
        lists = [found.get("defaults", {}).get("links", [])]
        for override in found.get("overrides", ()):
            lists += [each["value"] for each in override["properties"] if each["id"] == "links"]
        for link in (link for each in lists for link in each):
            yield panel, link


def explored(board: Json) -> Iterator[Query]:
    """Yield the queries that links to Explore open."""
    for panel, link in _links(board):
        address = urlsplit(link["url"])
        if address.path == "/explore":
            for pane in json.loads(parse_qs(address.query)["panes"][0]).values():
                for query in pane["queries"]:
                    language, text = said(query)
                    place, name = panel["title"], f"link {link['title']}"
                    yield Query(board["uid"], place, name, language, text, said=_said_of(board, panel))


def everything(board: Json) -> list[Query]:
    """Return every query of a dashboard."""
    return [*queries(board), *alerts(board), *explored(board)]
