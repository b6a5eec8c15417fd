# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing objects to S3: small ones by one request, larger ones in parts that are sent while the next is filled.

Until the one request that completes it, an upload is invisible, whatever happens to us.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ..errors import LifeboatError, StorageError
from .s3_calls import Call, S3Calls
from .s3_errors import error_code, refusal

_MOST_PARTS = 10_000  # S3's limit
_ABORT_SECONDS = 10.0  # what is not removed by then, the bucket's lifecycle rule removes
_MARK = "lifeboat-upload"


class PartThreads:
    """Threads that send parts for all writers of a store. As many parts are in memory as there are threads."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._free = threading.Semaphore(threads)
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None

    def submit(self, send: Callable[[], str]) -> Future[str]:
        """Send in the background, as soon as a thread is free: the caller waits until then."""
        self._free.acquire()
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="s3-part")
            future = self._executor.submit(send)
        future.add_done_callback(lambda _future: self._free.release())
        return future


@dataclass(frozen=True)
class Target:
    """An object to be, and how it gets there."""

    calls: S3Calls
    threads: PartThreads
    bucket: str
    key: str
    url: str
    part_bytes: int

    @property
    def names(self) -> dict[str, str]:
        """As every request names it."""
        return {"Bucket": self.bucket, "Key": self.key}


class S3Writer:
    """Writes one object; it is there when `commit` returns, and not before `commit` is called."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._buffer = bytearray()
        self._upload: str | None = None
        self._mark = secrets.token_hex(8)
        self._parts: list[Future[str]] = []
        self._unwanted = threading.Event()
        self._done = False

    def write(self, data: bytes) -> None:
        """Append bytes; waits while too much is on its way."""
        self._buffer += data
        while len(self._buffer) > self._target.part_bytes:  # the last part is never empty
            self._send_part(self._target.part_bytes)

    def commit(self) -> None:
        """Have the server acknowledge the whole object."""
        if self._upload is None:
            self._put()
        else:
            self._send_part(len(self._buffer))
            self._complete([part.result() for part in self._parts])
        self._done = True

    def abort(self) -> None:
        """Stop what is on its way and have the server forget what it has. Harmless after `commit`."""
        if self._done:
            return
        self._done = True
        self._unwanted.set()
        for part in self._parts:
            part.cancel()
        wait(self._parts)  # a part that arrived after the abort would stay
        if self._upload is not None:
            with contextlib.suppress(LifeboatError):
                self._run("aborting the upload", self._abort_upload, within=_ABORT_SECONDS)

    def __enter__(self) -> S3Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def _run(self, what: str, operation: Callable[[Any, Call], Any], **how: Any) -> Any:
        return self._target.calls.run(f"{what} of {self._target.url}", operation, **how)

    def _put(self) -> None:
        names = self._target.names

        def put(client: Any, call: Call) -> None:
            client.put_object(**names, Body=call.body(self._buffer))

        self._run("writing", put)

    def _send_part(self, length: int) -> None:
        for earlier in self._parts:
            if earlier.done():
                earlier.result()  # raises what went wrong meanwhile
        if len(self._parts) == _MOST_PARTS:
            raise StorageError(
                f"writing {self._target.url}",
                f"an object of more than {_MOST_PARTS * self._target.part_bytes} bytes cannot be uploaded.",
                "This is a defect in Lifeboat, which writes no such objects; please report it.",
                code="object_too_large",
            )
        upload = self._upload = self._upload or self._run("beginning the upload", self._create_upload)
        data, number = bytes(self._buffer[:length]), len(self._parts) + 1
        del self._buffer[:length]
        names = self._target.names

        def send(client: Any, call: Call) -> str:
            answer = client.upload_part(**names, UploadId=upload, PartNumber=number, Body=call.body(data))
            return str(answer["ETag"])

        self._parts.append(
            self._target.threads.submit(lambda: str(self._run("writing", send, unwanted=self._unwanted)))
        )

    def _create_upload(self, client: Any, _call: Call) -> str:
        return str(client.create_multipart_upload(**self._target.names, Metadata={_MARK: self._mark})["UploadId"])

    def _abort_upload(self, client: Any, _call: Call) -> None:
        client.abort_multipart_upload(**self._target.names, UploadId=self._upload)

    def _complete(self, tags: list[str]) -> None:
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]

        def complete(client: Any, _call: Call) -> None:
            try:
                client.complete_multipart_upload(
                    **self._target.names, UploadId=self._upload, MultipartUpload={"Parts": parts}
                )
            except refusal() as exc:
                # The answer to an earlier attempt may have been lost: then the upload is gone and the object is there.
                if error_code(exc) != "NoSuchUpload" or not self._is_there(client):
                    raise

        self._run("completing the upload", complete)

    def _is_there(self, client: Any) -> bool:
        try:
            found = client.head_object(**self._target.names)
        except refusal():
            return False
        return bool(found["Metadata"].get(_MARK) == self._mark)
