"""A health check: compares a value with a limit."""

import json

from wit_world import exports
from wit_world.exports.about import Description, Wants
from wit_world.exports.check import Kind, Metric, Outcome, Status

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "value": {"type": "number"},
        "critical_above": {"type": "number"},
    },
}


class About(exports.About):
    def describe(self) -> Description:
        return Description(
            name="{{name}}",
            version="0.1.0",
            summary="Compares a value with a limit.",
            config_schema=json.dumps(SCHEMA),
            wants=Wants(network=[], urls=[], directories=[], environment=[]),
        )


class Check(exports.Check):
    def run(self, config: str) -> Outcome:
        try:
            return check(json.loads(config))
        except Exception as error:  # A trap would say less.
            return Outcome(Status.CRITICAL, f"{type(error).__name__}: {error}", [])


def check(config: dict) -> Outcome:
    value = float(config.get("value", 1))
    limit = float(config.get("critical_above", 10))
    status = Status.CRITICAL if value > limit else Status.PASSING
    return Outcome(status, f"the value is {value:g}, the limit {limit:g}", [Metric("value", Kind.GAUGE, value, [])])
