"""AWS as a worker asks it beside its engine: with the Cell's credentials and nothing ambient."""

from __future__ import annotations

from typing import Any

from paybill.engines.operation import Request


def client(request: Request, service: str) -> Any:
    """A client of one service; raises ModuleNotFoundError where boto3 is not installed (extra ``aws``)."""
    import boto3  # only where a cell is in AWS

    given = request.credentials
    session = boto3.session.Session(
        aws_access_key_id=given.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=given.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=given.get("AWS_SESSION_TOKEN"),
        region_name=request.inputs.region or given.get("AWS_REGION"),
    )
    return session.client(service, endpoint_url=given.get("AWS_ENDPOINT_URL"))
