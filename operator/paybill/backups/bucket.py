"""Backups in a bucket that speaks S3: Amazon's own, or a service with the same interface.

boto3 is an extra (``paybill[s3]``): who keeps backups in a folder does without it. It blocks, so each call runs in a
thread; a file goes up in parts and is there only when the last of them has been put together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any, Final

from paybill.api.failures import Blocked, Failure, Retry
from paybill.backups.store import READ, missing, safe

PART: Final = 16 << 20
"""Bytes of one part: a file may have 10,000 of them, so 160 GB."""
ATTEMPTS: Final = 5
_MISSING: Final = {"NoSuchKey", "404", "NotFound"}
_REFUSED: Final = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403", "NoSuchBucket"}


class BucketStore:
    """One bucket, below a prefix."""

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    @classmethod
    def opened(
        cls,
        bucket: str,
        login: Mapping[str, str],
        *,
        prefix: str = "",
        region: str | None = None,
        endpoint: str | None = None,
    ) -> BucketStore:
        """The store with the login in ``login`` and nothing of this machine's; raises ``Blocked("ExtraMissing")``."""
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise Blocked(
                "ExtraMissing", "backups in a bucket need the Python package boto3: install paybill[s3]"
            ) from error
        config = Config(retries={"max_attempts": ATTEMPTS, "mode": "standard"}, connect_timeout=10, read_timeout=60)
        session = boto3.session.Session(
            aws_access_key_id=login["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=login["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=login.get("AWS_SESSION_TOKEN"),
            region_name=region or "us-east-1",
        )
        return cls(session.client("s3", endpoint_url=endpoint, config=config), bucket, prefix)

    @property
    def address(self) -> str:
        """The bucket."""
        return f"bucket {self._bucket}"

    async def put(self, name: str, content: AsyncIterator[bytes]) -> int:
        """Send the file in parts; what was sent of one that breaks off is given up."""
        key = self._key(name)
        upload = (await self._call(lambda c: c.create_multipart_upload(Bucket=self._bucket, Key=key)))["UploadId"]
        try:
            parts, size = await self._send(key, upload, content)
            await self._call(
                lambda c: c.complete_multipart_upload(
                    Bucket=self._bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
                )
            )
        except BaseException:
            await asyncio.shield(
                self._call(lambda c: c.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload))
            )
            raise
        return size

    async def _send(self, key: str, upload: str, content: AsyncIterator[bytes]) -> tuple[list[dict[str, Any]], int]:
        parts: list[dict[str, Any]] = []
        held, size = bytearray(), 0

        async def send(body: bytes) -> None:
            number = len(parts) + 1
            answer = await self._call(
                lambda c: c.upload_part(Bucket=self._bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)
            )
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})

        async for piece in content:
            held += piece
            size += len(piece)
            while len(held) >= PART:
                await send(bytes(held[:PART]))
                del held[:PART]
        if held or not parts:
            await send(bytes(held))
        return parts, size

    async def get(self, name: str) -> AsyncIterator[bytes]:
        """The file in pieces."""
        key = self._key(name)
        body = (await self._call(lambda c: c.get_object(Bucket=self._bucket, Key=key), name))["Body"]
        try:
            while piece := await self._call(lambda _: body.read(READ), name):
                yield piece
        finally:
            body.close()

    async def names(self, prefix: str) -> list[str]:
        """Every file below."""
        found: list[str] = []
        below = f"{self._key(prefix)}/"
        token: dict[str, str] = {}
        while True:
            asked = {"Bucket": self._bucket, "Prefix": below, **token}
            page = await self._call(partial(_listed, asked))
            found += [one["Key"].removeprefix(self._prefix) for one in page.get("Contents", ())]
            if not page.get("IsTruncated"):
                return sorted(found)
            token = {"ContinuationToken": page["NextContinuationToken"]}

    async def delete(self, prefix: str) -> None:
        """Remove the file of that name and every one below it."""
        for name in [*await self.names(prefix), prefix]:
            key = self._key(name)
            await self._call(partial(_deleted, {"Bucket": self._bucket, "Key": key}))

    def _key(self, name: str) -> str:
        return f"{self._prefix}{safe(name)}"

    async def _call(self, ask: Callable[[Any], Any], name: str = "") -> Any:
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        try:
            return await asyncio.to_thread(ask, self._client)
        except ClientError as error:
            raise self._failure(str(error.response.get("Error", {}).get("Code")), name) from error
        except (BotoCoreError, HTTPClientError, OSError) as error:
            raise Retry("BackupStoreUnavailable", f"{self.address} does not answer: {type(error).__name__}") from error

    def _failure(self, code: str, name: str) -> Failure:
        if code in _MISSING:
            return missing(self.address, name)
        if code in _REFUSED:
            return Blocked("BackupStoreRefused", f"{self.address} refuses what is asked of it: {code}")
        return Retry("BackupStoreUnavailable", f"{self.address} answers {code}")


def _listed(asked: dict[str, str], client: Any) -> Any:
    return client.list_objects_v2(**asked)


def _deleted(asked: dict[str, str], client: Any) -> Any:
    return client.delete_object(**asked)
