"""What the API server says of an operation's Job and its pods, in the words of lifecycle/job.py. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from paybill.desired import names
from paybill.lifecycle.job import JobSeen, PodSeen

JSON = Mapping[str, Any]


def job_seen(job: JSON | None, pods: Iterable[JSON]) -> JobSeen:
    """A Job, None where there is none, and its pods."""
    seen = tuple(_pod(pod) for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])))
    if job is None:
        return JobSeen(there=False, pods=seen)
    spec, status = job["spec"], job.get("status") or {}
    started = status.get("startTime")
    met = {one["type"] for one in status.get("conditions") or () if one["status"] == "True"}
    uncounted = status.get("uncountedTerminatedPods") or {}
    return JobSeen(
        suspended=bool(spec.get("suspend")),
        over=bool(met & {"Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"}) or _goes(job),
        counted=bool(status.get("failed") or status.get("succeeded") or any(uncounted.values())),
        started=datetime.fromisoformat(started) if started else None,
        lasts=timedelta(seconds=spec.get("activeDeadlineSeconds") or 0),
        stop=(job["metadata"].get("annotations") or {}).get(names.STOP_ANNOTATION),
        pods=seen,
    )


def _pod(pod: JSON) -> PodSeen:
    status = pod.get("status") or {}
    containers = status.get("containerStatuses") or ()
    states = [one.get("state") or {} for one in containers]
    conditions = [one for one in status.get("conditions") or () if _speaks(one)]
    ended = status.get("phase") in ("Succeeded", "Failed")
    # A node that was lost tells nothing: what it had been given may have begun.
    lost = ended and (bool(containers) or any(one["type"] == "DisruptionTarget" for one in conditions))
    why = [
        status,
        *(state[name] for state in states for name in ("waiting", "terminated") if name in state),
        *conditions,
    ]
    return PodSeen(
        name=pod["metadata"]["name"],
        began=lost or any("running" in state or "terminated" in state for state in states),
        ended=ended,
        why="; ".join(filter(None, map(_said, why)))[:500],
    )


def _speaks(condition: JSON) -> bool:
    """Whether a condition says what is wrong: that it disrupts, or that something is not so yet."""
    return (condition["status"] == "True") is (condition["type"] == "DisruptionTarget")


def _said(about: JSON) -> str:
    return ": ".join(filter(None, (about.get("reason"), about.get("message"))))


def _goes(obj: JSON) -> bool:
    return obj["metadata"].get("deletionTimestamp") is not None
