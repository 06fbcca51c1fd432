"""What a cloud still has with a tenant's tags after its stack was destroyed: what nobody would find otherwise.

Every resource carries the tenant's id as a tag, so a cloud can be asked for them without any state. Only AWS is asked
so far, by its tagging API. Where nobody looked (another cloud, or one that did not answer) the result says so, and how
a person looks, instead of claiming that nothing is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from paybill.api.cell import CellProvider
from paybill.engines import aws
from paybill.engines.operation import Progress, Request, Result
from paybill.engines.port import Tell

TAG = "paybill-tenant"
BY_HAND: Mapping[CellProvider, str] = MappingProxyType(
    {
        "AWS": "aws resourcegroupstaggingapi get-resources --region {region} --tag-filters Key={tag},Values={tenant}",
        "Azure": "az resource list --tag {tag}={tenant}",
        "GCP": "gcloud asset search-all-resources --query=labels.{tag}={tenant}",
        "IBM": "ibmcloud resource search 'tags:\"{tag}:{tenant}\"'",
        "Kubernetes": "kubectl get namespaces,persistentvolumeclaims,secrets --all-namespaces -l {tag}={tenant}",
        "OCI": "oci search resource structured-search --query-text \"query all resources where (freeformTags.key = "
               "'{tag}' && freeformTags.value = '{tenant}')\"",
    }
)  # fmt: skip
"""How a person asks each cloud for what carries a tenant's tag; on this machine there is nothing to ask."""


def listed(request: Request, result: Result, tell: Tell) -> Result:
    """The result of a destruction with the ids of what is still tagged as the tenant's, but for what was retained.

    ``unsearched`` is set where nobody looked.
    """
    if request.kind != "destroy" or request.inputs.provider not in BY_HAND:
        return result
    if request.inputs.provider != "AWS":
        return _unsearched(request, result, tell, f"{request.inputs.provider} is not searched")
    try:
        client = aws.client(request, "resourcegroupstaggingapi")
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError:
        return _unsearched(request, result, tell, "AWS was not searched (boto3 is not installed)")
    wanted = [{"Key": TAG, "Values": [request.inputs.tenant_id]}]
    try:
        pages = client.get_paginator("get_resources").paginate(TagFilters=wanted)
        found = {one["ResourceARN"] for page in pages for one in page["ResourceTagMappingList"]}
    except (BotoCoreError, ClientError) as error:
        # What was destroyed is destroyed: not being able to look is no failure of it.
        return _unsearched(request, result, tell, f"AWS was not searched ({type(error).__name__})")
    kept = set(result.retained)
    orphans = sorted(
        arn for arn in found if not any(arn == one or arn.endswith((f"/{one}", f":{one}")) for one in kept)
    )
    return result.model_copy(update={"orphans": tuple(orphans)})


def _unsearched(request: Request, result: Result, tell: Tell, happened: str) -> Result:
    inputs = request.inputs
    command = BY_HAND[inputs.provider].format(region=inputs.region, tag=TAG, tenant=inputs.tenant_id)
    tell(Progress(phase="orphans", action=happened))
    return result.model_copy(update={"unsearched": f"{happened}; look by: {command}"})
