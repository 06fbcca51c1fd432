"""What the gateway counts. Labels have few values: tools are those of the policy, outcomes the words of answers.py."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()
CALLS: Final = Counter(
    "paybill_gateway_calls", "Calls of tools, by what became of them.", ["agent", "tool", "outcome"], registry=REGISTRY
)
DURATION: Final = Histogram(
    "paybill_gateway_call_duration_seconds",
    "How long a call took in the gateway, its statement included.",
    ["operation"],
    registry=REGISTRY,
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
)
TURNED_AWAY: Final = Counter(
    "paybill_gateway_turned_away", "Requests that got to no tool, by reason.", ["reason"], registry=REGISTRY
)
REVIEWS: Final = Counter(
    "paybill_gateway_token_reviews", "Tokens that the API server was asked about, by result.", ["result"],
    registry=REGISTRY,
)  # fmt: skip
AGENTS: Final = Gauge("paybill_gateway_agents", "Agents that the gateway serves.", registry=REGISTRY)
UNREADABLE: Final = Gauge(
    "paybill_gateway_mount_unreadable", "1 while the mounted files cannot be read and the last ones hold.",
    registry=REGISTRY,
)  # fmt: skip
