"""A program of one's own, as the tests of the engine need it: files in a folder are the resources of its cloud.

What it does follows from the request's foundation: ``cloud`` is the folder, ``make`` the names of the resources.
"""

import os
import time

import pulumi
from cloud import Cloud, File

from paybill.engines.pulumi.own import hand_over, inputs, stack
from paybill.engines.pulumi.programs import password

tenant = inputs()
wanted = tenant.foundation
cloud = Cloud()
shared = stack(cloud)

print("the program prints", os.environ.get("CANARY"), sorted(os.environ), wanted.get("secret"))  # noqa: T201
match wanted.get("behave"):
    case "raise":
        raise RuntimeError(f"it cannot go on with {wanted.get('secret')}")
    case "exit":
        raise SystemExit(7)
    case "loop":
        while True:
            time.sleep(0.01)
    case "default-provider":
        File("unguarded", folder=wanted["cloud"], opts=None)

made = [
    File(
        name,
        folder=wanted["cloud"],
        content=wanted.get("content", "a"),
        replaced_by=wanted.get("replaced_by", ""),
        slow=float(wanted.get("slow", "0")),
        opts=shared.holding() if name in wanted.get("data", "").split() else shared.options(),
    )
    for name in wanted.get("make", "").split()
]
match wanted.get("behave"):
    case "wrong-type":
        hand_over(bucket="b", database={"host": "h", "port": "many", "admin_user": "admin"})
    case "wrong-name":
        hand_over(buckets="b")
    case "secrets":
        given = pulumi.Output.secret(wanted["secret"])
        hand_over(database={"host": "db", "admin_user": "admin", "admin_password": given}, bucket="b")
    case "draw":
        hand_over(database={"host": "db", "admin_user": "admin", "admin_password": password.drawn(shared)})
    case _:
        hand_over(bucket=made[0].id if made else "none", prefix=tenant.tenant_id)
