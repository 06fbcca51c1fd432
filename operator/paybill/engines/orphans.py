"""What a cloud still has with a tenant's tags after its stack was destroyed: what nobody would find otherwise.

Every resource carries the tenant's id as a tag, so a cloud can be asked for them without any state. Only AWS is asked
so far, by its tagging API; a destruction that cannot look says so instead of claiming that nothing is left.
"""

from __future__ import annotations

from paybill.engines import aws
from paybill.engines.operation import Progress, Request, Result
from paybill.engines.port import Tell

TAG = "paybill-tenant"


def listed(request: Request, result: Result, tell: Tell) -> Result:
    """The result of a destruction with the ids of what is still tagged as the tenant's, but for what was retained."""
    if request.kind != "destroy" or request.inputs.provider != "AWS":
        return result
    try:
        client = aws.client(request, "resourcegroupstaggingapi")
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError:
        tell(Progress(phase="orphans", action="not looked for: boto3 is not installed"))
        return result
    wanted = [{"Key": TAG, "Values": [request.inputs.tenant_id]}]
    try:
        pages = client.get_paginator("get_resources").paginate(TagFilters=wanted)
        found = {one["ResourceARN"] for page in pages for one in page["ResourceTagMappingList"]}
    except (BotoCoreError, ClientError) as error:
        # What was destroyed is destroyed: not being able to look is no failure of it.
        tell(Progress(phase="orphans", action=f"not looked for: {type(error).__name__}"))
        return result
    kept = set(result.retained)
    orphans = sorted(
        arn for arn in found if not any(arn == one or arn.endswith((f"/{one}", f":{one}")) for one in kept)
    )
    return result.model_copy(update={"orphans": tuple(orphans)})
