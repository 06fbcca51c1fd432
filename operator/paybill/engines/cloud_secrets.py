"""Reads the password that a cloud made for a database's administrator, where a stack hands over only where it is kept.

A password that the engine itself draws would stand in its state; one that the cloud draws stands in the cloud's own
store, and is read here, in the worker, with the Cell's credentials, and handed to the operator alone.
"""

from __future__ import annotations

import json

from paybill.desired.stack import DatabaseOutput
from paybill.engines import aws
from paybill.engines.operation import Exit, Request, Result
from paybill.engines.port import EngineError


def filled(request: Request, result: Result) -> Result:
    """The result with the administrator's password in it, if a cloud keeps one that can be read."""
    outputs = result.outputs
    database = outputs.database if outputs is not None else None
    if outputs is None or database is None or database.admin_password is not None or database.admin_secret is None:
        return result
    if request.inputs.provider != "AWS":
        return result  # the operator then says that it cannot administer the server
    known = _from_aws(request, database, database.admin_secret)
    return result.model_copy(update={"outputs": outputs.model_copy(update={"database": known})})


def _from_aws(request: Request, database: DatabaseOutput, arn: str) -> DatabaseOutput:
    """From AWS Secrets Manager, where RDS keeps it as JSON with username and password."""
    try:
        client = aws.client(request, "secretsmanager")
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError as error:
        raise EngineError(
            Exit.USER,
            "EngineMissing",
            f"reading the administrator's password from {arn} needs the package {error.name}: pip install "
            "'paybill[aws]'",
        ) from error
    try:
        content = json.loads(client.get_secret_value(SecretId=arn)["SecretString"])
        return database.model_copy(
            update={"admin_user": str(content["username"]), "admin_password": str(content["password"])}
        )
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        raise EngineError(
            Exit.USER, "AdminSecretRefused", f"the administrator's password in {arn} cannot be read: {code}: let the "
            "Cell's credentials read it (secretsmanager:GetSecretValue, kms:Decrypt)"
        ) from error  # fmt: skip
    except BotoCoreError as error:
        raise EngineError(
            Exit.TRANSIENT, "CloudUnreachable", f"the administrator's password in {arn} cannot be read: "
            f"{type(error).__name__}"
        ) from error  # fmt: skip
    except (KeyError, json.JSONDecodeError) as error:
        raise EngineError(
            Exit.USER, "AdminSecretRefused", f"{arn} holds no JSON with username and password: is it what RDS made?"
        ) from error
