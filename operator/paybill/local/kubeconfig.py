"""Kubeconfig files with everything inside: they work from any folder and can be copied to another tool."""

import base64
from pathlib import Path

import yaml

from paybill.local.certificates import Pair


def render(*, api_url: str, authority: Path, login: Pair, cluster: str, user: str) -> str:
    """A kubeconfig with one cluster, one user logging in by certificate, and one context."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": cluster, "cluster": {"server": api_url, "certificate-authority-data": _encoded(authority)}}
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": _encoded(login.certificate),
                    "client-key-data": _encoded(login.key),
                },
            }
        ],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
        "current-context": cluster,
    }
    return yaml.safe_dump(document, sort_keys=False)


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
