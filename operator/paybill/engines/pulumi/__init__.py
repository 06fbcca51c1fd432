"""The Pulumi engine: programs of pure description, one per cloud, run by the Automation API in a worker process.

Nothing here is imported by the operator; the SDKs alone cost a second and hundreds of megabytes.
"""
