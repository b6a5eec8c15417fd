# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store in a bucket of AWS S3, or of any server that speaks its protocol."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from ..clock import Clock
from ..errors import IntegrityError, PreconditionError, UnsupportedError
from ..specs import S3Spec
from .base import ObjectInfo, Unfinished, checked_object_name, missing, truncated
from .s3_calls import Call, Patience, S3Calls
from .s3_errors import error_code, refusal, status
from .s3_upload import PartThreads, S3Writer, Target

PART_BYTES = 8 << 20
_PART_THREADS = 6
_READERS = 16  # connections beside those of the part threads; more readers wait for one another
# Shows to every later process that the server honours conditions; written once, and never listed.
_PROBE = "conditional-write-probe"
_PROBE_TEXT = b"Lifeboat learned from this object whether the server refuses to overwrite. It may be removed.\n"
_TAKEN, _REFUSED, _NOT_IMPLEMENTED = 200, 412, 501
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}\Z")


def parse_url(url: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/prefix`."""
    parts = urlsplit(url)
    prefix = parts.path.strip("/")
    wrong_names = [part for part in prefix.split("/") if prefix and part in ("", ".", "..")]
    if not _BUCKET.match(parts.netloc) or parts.query or parts.fragment or wrong_names:
        raise PreconditionError(
            "opening an S3 repository",  # without the URL: it may hold what somebody took for a place for secrets
            "its URL is not of the form s3://bucket/prefix.",
            "Give bucket and prefix only; the server goes into s3_endpoint, keys into s3_credentials_file.",
            code="repository_url_invalid",
        )
    return parts.netloc, prefix


class S3Store:
    """Objects below one prefix of a bucket. Threads may share it."""

    def __init__(
        self,
        url: str,
        spec: S3Spec,
        *,
        patience: Patience | None = None,
        part_bytes: int = PART_BYTES,
        clock: Clock | None = None,
    ) -> None:
        self._bucket, prefix = parse_url(url)
        self.url = f"s3://{self._bucket}/{prefix}".rstrip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._part_bytes = part_bytes
        self._threads = PartThreads(_PART_THREADS)
        self._calls = S3Calls(spec, _PART_THREADS + _READERS, patience or Patience(), clock)
        self._probe_lock = threading.Lock()
        self._refuses_to_overwrite: bool | None = None

    def create(self) -> None:
        """Nothing: the bucket is its owner's to make, with the protection that can only be given to a new one."""

    def _names(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + checked_object_name(name, self.url)}

    # --- writing

    def writer(self, name: str) -> S3Writer:
        """Begin to write an object."""
        names = self._names(name)
        url = f"{name} in {self.url}"
        return S3Writer(Target(self._calls, self._threads, names["Bucket"], names["Key"], url, self._part_bytes))

    def put(self, name: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Write a small object with one request."""
        if if_absent:
            return self._create_object(name, data)
        names = self._names(name)

        def put(client: Any, call: Call) -> None:
            client.put_object(**names, Body=call.body(data))

        self._calls.run(f"writing {name} in {self.url}", put)
        return True

    @property
    def conditional_create(self) -> bool:
        """Whether the server decides who creates an object. Where it does not, two at the same time may both win.

        Some servers ignore the condition without a word, so it is tried, once per process.
        """
        with self._probe_lock:
            if self._refuses_to_overwrite is None:
                # The first is refused where an earlier process has left the probe, the second everywhere.
                answers = (self._put_if_none(_PROBE, _PROBE_TEXT)[0] for _ignored in range(2))
                self._refuses_to_overwrite = _REFUSED in answers
            return self._refuses_to_overwrite

    def _create_object(self, name: str, data: bytes) -> bool:
        if not self.conditional_create:
            return self.size(name) is None and self.put(name, data) and self.get(name) == data
        answer, attempts = self._put_if_none(name, data)
        # The answer to an earlier attempt may have been lost: then the object that is in the way is our own.
        return answer != _REFUSED or (attempts > 1 and self.get(name) == data)

    def _put_if_none(self, name: str, data: bytes) -> tuple[int, int]:
        """The HTTP status with which the server takes or refuses the object, and how many attempts that took."""
        names, attempts = self._names(name), 0

        def put(client: Any, call: Call) -> int:
            nonlocal attempts
            attempts += 1
            try:
                client.put_object(**names, Body=call.body(data), IfNoneMatch="*")
            except refusal() as exc:
                if status(exc) not in (_REFUSED, _NOT_IMPLEMENTED):
                    raise
                return status(exc)
            return _TAKEN

        return self._calls.run(f"creating {name} in {self.url}", put), attempts

    def delete(self, name: str, *, durably: bool = False) -> None:
        """Remove an object. What the server has acknowledged is durable."""
        names = self._names(name)

        def delete(client: Any, _call: Call) -> None:
            try:
                client.delete_object(**names)
            except refusal() as exc:
                if error_code(exc) != "NoSuchKey":
                    raise

        self._calls.run(f"deleting {name} in {self.url}", delete)

    def unfinished(self, folder: str) -> Iterator[Unfinished]:
        """Uploads in parts that were begun and not completed, with when they were begun."""
        attempted = f"listing unfinished uploads below {folder} in {self.url}"
        page: dict[str, Any] = {"IsTruncated": True}
        while page["IsTruncated"]:
            page = self._calls.run(attempted, self._upload_fetcher(folder, page))
            for entry in page.get("Uploads", ()):
                name = str(entry["Key"])[len(self._prefix) :]
                yield Unfinished(name, str(entry["UploadId"]), entry["Initiated"])

    def _upload_fetcher(self, folder: str, before: dict[str, Any]) -> Callable[[Any, Call], dict[str, Any]]:
        """What asks for one page of unfinished uploads, the one after the page before."""
        further = {name: before[f"Next{name}"] for name in ("KeyMarker", "UploadIdMarker") if before.get(f"Next{name}")}

        def fetch(client: Any, _call: Call) -> dict[str, Any]:
            answer: dict[str, Any] = client.list_multipart_uploads(
                Bucket=self._bucket, Prefix=self._prefix + folder, **further
            )
            return answer

        return fetch

    def discard(self, unfinished: Unfinished) -> None:
        """Have the server forget an upload."""
        names = self._names(unfinished.name)

        def abort(client: Any, _call: Call) -> None:
            try:
                client.abort_multipart_upload(**names, UploadId=unfinished.token)
            except refusal() as exc:
                if error_code(exc) != "NoSuchUpload":
                    raise

        self._calls.run(f"aborting an upload of {unfinished.name} in {self.url}", abort)

    # --- reading

    def get(self, name: str) -> bytes:
        """The whole object."""
        names = self._names(name)

        def get(client: Any, call: Call) -> bytes | None:
            answer = _get_object(client, names)
            return call.read(answer["Body"]) if answer else None

        data = self._calls.run(f"reading {name} in {self.url}", get)
        if data is None:
            raise missing(name, self.url)
        return data

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes."""
        if length == 0:  # no range of S3's is empty
            if self.size(name) is None:
                raise missing(name, self.url)
            return b""
        names, wanted = self._names(name), f"bytes={offset}-{offset + length - 1}"

        def get(client: Any, call: Call) -> bytes | None:
            try:
                answer = _get_object(client, names, Range=wanted)
            except refusal() as exc:
                if status(exc) != 416:  # it ends before the offset
                    raise
                return b""
            if answer is None:
                return None
            self._require_range(name, answer, offset, length)
            return call.read(answer["Body"])

        data = self._calls.run(f"reading {length} bytes at {offset} of {name} in {self.url}", get)
        if data is None:
            raise missing(name, self.url)
        if len(data) != length:
            raise truncated(name, self.url, offset, length, self.size(name))
        return data

    def _require_range(self, name: str, answer: dict[str, Any], offset: int, length: int) -> None:
        """Refuse an answer that is not the range, before its body is read: it may be the whole of a large object."""
        begin = str(answer.get("ContentRange") or "bytes 0-").partition("-")[0]  # some servers' status is always 200
        if begin == f"bytes {offset}" and answer["ContentLength"] <= length:
            return
        answer["Body"].close()
        raise UnsupportedError(
            f"reading {length} bytes at {offset} of {name} in {self.url}",
            f"the server answered with {answer['ContentLength']} bytes of its own choice: it ignores ranges.",
            "Use a server that supports ranged reads (HTTP Range), or remove the proxy that drops them.",
            code="range_ignored",
        )

    def size(self, name: str) -> int | None:
        """Size in bytes, None when missing."""
        names = self._names(name)

        def look(client: Any, _call: Call) -> int | None:
            try:
                return int(client.head_object(**names)["ContentLength"])
            except refusal() as exc:
                if not 400 <= status(exc) < 500:
                    raise
            # The refusal of a HEAD has no body that could say why; that of a GET has.
            answer = _get_object(client, names, Range="bytes=0-0")
            if answer is None:
                return None
            answer["Body"].close()
            return int(str(answer.get("ContentRange", "")).rpartition("/")[2] or answer["ContentLength"])

        return self._calls.run(f"looking for {name} in {self.url}", look)

    def _page_fetcher(self, prefix: str, token: str | None) -> Callable[[Any, Call], dict[str, Any]]:
        """What asks for one page of a listing: the first, or the one that the token of the page before names."""
        further = {"ContinuationToken": token} if token else {}

        def fetch(client: Any, _call: Call) -> dict[str, Any]:
            answer: dict[str, Any] = client.list_objects_v2(
                Bucket=self._bucket, Prefix=self._prefix + prefix, **further
            )
            return answer

        return fetch

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects by name prefix, sorted; fetched page by page."""
        attempted = f"listing {prefix or 'everything'} in {self.url}"
        page: dict[str, Any] = {"NextContinuationToken": None, "IsTruncated": True}
        last = ""
        while page["IsTruncated"]:
            page = self._calls.run(attempted, self._page_fetcher(prefix, page["NextContinuationToken"]))
            for entry in page.get("Contents", ()):
                name = str(entry["Key"])[len(self._prefix) :]
                if name <= last:
                    raise IntegrityError(
                        attempted,
                        f"the server lists {name!r} after {last!r}; its listings are not sorted, or repeat themselves.",
                        "Use a server whose listings are in the order of names, as S3 has it.",
                        code="listing_unsorted",
                    )
                last = name
                if name != _PROBE:
                    yield ObjectInfo(name, int(entry["Size"]))


def _get_object(client: Any, names: dict[str, str], **how: str) -> dict[str, Any] | None:
    """The answer, None when there is no such object."""
    try:
        answer: dict[str, Any] = client.get_object(**names, **how)
    except refusal() as exc:
        if error_code(exc) != "NoSuchKey":
            raise
        return None
    return answer
