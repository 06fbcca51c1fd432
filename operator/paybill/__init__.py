"""Paybill: a control plane that turns plans, tenants and subscriptions into isolated, paid-for infrastructure."""

__version__ = "0.1.0"
