"""Cells that must be accepted and refused."""

from __future__ import annotations

from typing import Any

from tests.cases.model import Case, Change, Object, named


def cell(**spec: Any) -> Object:
    """An embedded Cell, unless the spec says otherwise."""
    return named("Cell", "case", {"provider": "Embedded", **spec})


def server(**fields: Any) -> Object:
    """A server that holds Schemas, unless the fields say otherwise."""
    return {"name": "pool-1", "adminSecretRef": {"name": "servers", "key": "pool-1"}, "holds": "Schemas", **fields}


def _case(reason: str, message: str | None, **spec: Any) -> Case:
    return Case("Cell", reason, cell(**spec), message)


def _server(reason: str, message: str | None, **fields: Any) -> Case:
    return _case(reason, message, servers=[server(**fields)])


def _engine(reason: str, message: str | None, **engine: Any) -> Case:
    return _case(reason, message, provider="AWS", engine=engine)


def _migrations(reason: str, message: str | None, source: Any = None, **rules: Any) -> Case:
    return _case(reason, message, migrations={"source": source or {"directory": "/migrations"}, **rules})


_KEYLESS = {"name": "servers"}

_KEY = {"name": "backup", "key": "current"}
_BUCKET = {"name": "tenants", "credentials": {"secretRef": {"name": "s3"}}}


def _backup(reason: str, message: str | None, **store: Any) -> Case:
    return _case(reason, message, backup={"store": store, "keySecretRef": _KEY})


def _bucket(reason: str, message: str | None, **bucket: Any) -> Case:
    return _backup(reason, message, type="Bucket", bucket={**_BUCKET, **bucket})


def _pooler(reason: str, message: str | None, **fields: Any) -> Case:
    where = {"host": "paybill-pooler.paybill-system.svc", "adminSecretRef": {"name": "pooler", "key": "uri"}}
    return _case(reason, message, pooler={**where, **fields})


CASES = (
    _backup("backups in a folder", None, type="Directory"),
    _bucket("backups in a bucket", None, prefix="eu/west", region="eu-west-1", endpoint="http://minio:9000"),
    _backup("backups in a bucket that is not named", "bucket belongs to type Bucket", type="Bucket"),
    _backup("a folder with a bucket", "bucket belongs to type Bucket", type="Directory", bucket=_BUCKET),
    _bucket("a bucket's name in capitals", "must be the name of a bucket", name="Tenants"),
    _bucket("a prefix with a slash at its end", "must be a path without a slash", prefix="eu/"),
    _bucket("an endpoint with a login", "http or https URL without a login", endpoint="https://me:x@minio"),
    _bucket("a region of backups with a space", "should match", region="eu west"),
    _case("no key for backups", "keySecretRef: Required value", backup={"store": {"type": "Directory"}}),
    *(_case(f"provider {provider}", None, provider=provider)
      for provider in ("Embedded", "Kubernetes", "AWS", "Azure", "GCP", "OCI", "IBM")),
    _case("an unknown provider", 'Unsupported value: "aws"', provider="aws"),
    Case("Cell", "no provider", named("Cell", "case", {}), "spec.provider: Required value"),
    _case("everything", None, provider="AWS", region="eu-west-1", default=True,
          engine={"type": "Pulumi", "state": {"url": "s3://bucket/x?region=eu-west-1"}, "runner": "Job",
                  "secretsProvider": "awskms://alias/paybill"},
          credentials={"secretRef": {"name": "aws"}}, servers=[server()],
          approval=[{"model": "Silo", "policy": "Required"}], limits={"operations": 4, "suspensionsPerHour": 20},
          drift={"policy": "Report", "every": "6h"}, notices="Outbox"),
    _case("a region with a space", "should match", region="eu west"),
    *(_server(f"a server that holds {holds}", None, holds=holds) for holds in ("Rows", "Schemas", "Databases")),
    _server("a server that holds both", 'Unsupported value: "RowsAndSchemas"', holds="RowsAndSchemas"),
    _case("a server of unknown use", "servers[0].holds: Required value",
          servers=[{"name": "a", "adminSecretRef": {"name": "a", "key": "a"}}]),
    _case("two servers of one name", "Duplicate value", servers=[server(), server(holds="Rows")]),
    *(_server(f"server {name!r}", "must be a DNS label", name=name)
      for name in ("Pool", "pool_1", "pool 1", "pool;", "pool'", "größe", "-pool")),
    _server("a server name of 64 characters", "may not be more than 63", name="a" * 64),
    _server("a Secret without a key", "key: Required value", adminSecretRef=_KEYLESS),
    _server("a Secret's key with a slash", "must be a key of a Secret", adminSecretRef={**_KEYLESS, "key": "../x"}),
    _server("a Secret's name with a slash", "must be a DNS label",
            adminSecretRef={"name": "kube-system/x", "key": "x"}),
    _server("no room", None, capacity={"rows": 0, "schemas": 0, "databases": 0}),
    _pooler("a pooler", None),
    _pooler("a pooler at an address", None, host="fd00::7", port=5432, poolMode="Transaction", tls="Required"),
    _pooler("a pooler with a path", "should match", host="/var/run/pgbouncer"),
    _pooler("a pooler of two hosts", "should match", host="a,b"),
    _pooler("a pooler that pools by statement", 'Unsupported value: "Statement"', poolMode="Statement"),
    _server("room for data and sessions", None, capacity={"storage": "500Gi", "connections": 400}),
    _server("room for no amount of data", "must be a Kubernetes quantity", capacity={"storage": "much"}),
    _server("less than no room", "should be greater than or equal to 0", capacity={"schemas": -1}),
    _engine("a module of one's own", None, type="Terraform", modulePath="/modules/tenant"),
    _engine("a program of one's own", None, type="Pulumi", programPath="/programs/tenant"),
    _engine("both", "modulePath and programPath exclude each other", type="Pulumi", modulePath="/m", programPath="/p"),
    _engine("a module for Pulumi", "modulePath belongs to type Terraform", modulePath="/m"),
    _engine("a program for Terraform", "programPath belongs to type Pulumi", type="Terraform", programPath="/p"),
    _engine("a path of two lines", "one line of text", programPath="/p\n/q"),
    _engine("an unknown engine", 'Unsupported value: "Crossplane"', type="Crossplane"),
    _engine("an unknown runner", 'Unsupported value: "Thread"', runner="Thread"),
    _engine("a Job that keeps its state elsewhere", None, runner="Job", state={"url": "s3://states/paybill"}),
    _engine("a Job for Embedded", "runner Job belongs to Pulumi and Terraform", runner="Job", type="Embedded",
            state={"url": "s3://states/paybill"}),
    _engine("a Job without a state", "runner Job needs a state that outlives a pod", runner="Job"),
    _engine("a Job with its state in its pod", "runner Job needs a state that outlives a pod", runner="Job",
            state={"url": "file:///var/lib/states"}),
    _engine("what tenants share", None, foundation={"vpc_id": "vpc-1", "subnet_ids": "subnet-1,subnet-2"}),
    _engine("what tenants share by a name with a dash", "every name must begin", foundation={"vpc-id": "vpc-1"}),
    *(_engine(f"state {url!r}", "must be a URL without credentials", state={"url": url})
      for url in ("", "bucket", "s3://key:secret@bucket", "s3://bucket/a b", "://x")),
    _case("two approvals of one model", "Duplicate value", approval=[{"model": "Silo", "policy": "Required"}] * 2),
    _case("no operation at all", "should be greater than or equal to 1", limits={"operations": 0}),
    _case("a stop to deletions", None, limits={"deletionsPerHour": 0}),
    _case("drift looked at every day by an unknown unit", "must be a positive Go duration", drift={"every": "1d"}),
    _case("an unknown drift policy", 'Unsupported value: "Fix"', drift={"policy": "Fix"}),
    _case("a rotation every 30 days", None, rotation={"every": "720h", "minOverlap": "2h", "maxOverlap": "24h"}),
    _case("a rotation every minute", "every must be at least", rotation={"every": "1m"}),
    _case("an overlap that ends before it may", "maxOverlap must not be shorter",
          rotation={"minOverlap": "2h", "maxOverlap": "1h"}),
    _case("a watchdog that only tells", None, watchdog={"mode": "Report", "every": "1s", "grace": "1s",
                                                        "lockWait": "500ms"}),
    _case("a watchdog that never rests", "every must be at least", watchdog={"every": "500ms"}),
    _case("a watchdog without grace", "grace must be at least", watchdog={"grace": "0s"}),
    _case("a watchdog of an unknown mode", 'Unsupported value: "Bite"', watchdog={"mode": "Bite"}),
    _migrations("migrations from a folder", None, canaries=2, maxUnavailable="10%", failureBudget=3,
                statementTimeout="1h", lockTimeout="500ms"),
    _migrations("migrations from a ConfigMap", None, {"configMapRef": {"name": "app"}}),
    _migrations("no source", "write exactly one of", {"directory": None}),
    _migrations("Git and a folder", "write exactly one of", {"directory": "/m", "git": {"url": "https://g.example/a"}}),
    *(_migrations(f"Git at {url!r}", "must be an http or https URL without a login", {"git": {"url": url}})
      for url in ("ssh://g.example/a", "https://me:secret@g.example/a", "https://g.example", "/a", "file:///a")),
    *(_migrations(f"Git ref {ref!r}", "must be the name of a branch or a tag",
                  {"git": {"url": "https://g.example/a", "ref": ref}}) for ref in ("", "-x", "a..b", "a b")),
    *(_migrations(f"Git path {path!r}", "must be the path of a folder in the repository",
                  {"git": {"url": "https://g.example/a", "path": path}}) for path in ("/a", "a/", "../a", "a//b")),
    _migrations("two sources", "write exactly one of", {"directory": "/m", "configMapRef": {"name": "app"}}),
    *(_migrations(f"folder {path!r}", "must be the absolute path of a folder", {"directory": path})
      for path in ("migrations", "/m/../etc", "/m;x", "/")),
    _migrations("nobody at a time", "must be a count of at least 1", maxUnavailable=0),
    _migrations("a time without a unit", "must be a positive Go duration", lockTimeout="5"),
    _case("an unknown kind of notice", 'Unsupported value: "Mail"', notices="Mail"),
    Case("Cell", "a name of 64 characters", named("Cell", "a" * 64, {"provider": "AWS"}), "at most 63 characters"),
    Case("Cell", "a name with a dot", named("Cell", "eu.west", {"provider": "AWS"}), "must be a DNS label"),
)  # fmt: skip

CHANGES = (
    Change("Cell", "a server more", cell(), cell(servers=[server()]), None),
    Change(
        "Cell", "a server less (tenants on it are the operator's to protect)", cell(servers=[server()]), cell(), None
    ),
)
