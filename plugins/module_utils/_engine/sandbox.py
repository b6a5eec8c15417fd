# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A view of this machine in which a program can write to a few directories and nothing else.

A scratch server replays whatever production's WAL holds, and some of that names production's own
paths. So it gets a mount namespace of its own, in which every file system is read-only but its
directories, and in which a path can lead to another place. What it takes to make one is either
the capability that root's worker kept for this (`keep_mounting`), or a user namespace, which
ordinary users have unless the machine forbids it.

All of it happens between fork and exec, in the new process only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# How a program ends that could not be given its view; the reason is in its error output.
REFUSED = 125

_CAP_SYS_ADMIN = 21
_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_DUMPABLE, _PR_SET_KEEPCAPS = 4, 8
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
_LOCKED_FLAGS = {b"nosuid": 2, b"nodev": 4, b"noexec": 8, b"noatime": 1024, b"nodiratime": 2048, b"relatime": 1 << 21}
_SYS_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442, -100, 0x8000  # the same number on every platform
_SHARED_MEMORY = b"/dev/shm"

_Libc = ctypes.PyDLL  # it does not let go of the interpreter, which after a fork nobody would give back


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("user_namespace", ctypes.c_uint64),
    )


def _libc() -> _Libc:
    return ctypes.PyDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def _capabilities(libc: _Libc) -> int:
    header, data = _CapabilityHeader(_CAPABILITY_VERSION_3, 0), (_CapabilityData * 2)()
    _check(libc.capget(ctypes.byref(header), ctypes.byref(data)), "capget")
    return int(data[0].permitted)


def _set_capabilities(libc: _Libc, effective: int, permitted: int) -> None:
    header, data = _CapabilityHeader(_CAPABILITY_VERSION_3, 0), (_CapabilityData * 2)()
    data[0].effective, data[0].permitted = effective, permitted
    _check(libc.capset(ctypes.byref(header), ctypes.byref(data)), "capset")


def _may_mount(libc: _Libc) -> bool:
    return bool(_capabilities(libc) >> _CAP_SYS_ADMIN & 1)


@contextlib.contextmanager
def keep_mounting() -> Iterator[None]:
    """While root becomes somebody else in this block, keep the right to mount, and no other.

    It stays dormant: only `Sandbox` uses it, in processes that lose it when they start a program.
    """
    libc = _libc()
    kept = _capabilities(libc) & 1 << _CAP_SYS_ADMIN
    _check(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0), "prctl")
    yield
    _set_capabilities(libc, 0, kept)
    _check(libc.prctl(_PR_SET_KEEPCAPS, 0, 0, 0, 0), "prctl")


@dataclass(frozen=True)
class Sandbox:
    """What a program may write to, and which paths lead elsewhere for it. The keys of `mapped` need not exist."""

    writable: Sequence[Path]
    mapped: Mapping[Path, Path] = field(default_factory=dict)

    def kind(self) -> str:
        """How the view is made, for people."""
        return "mount namespace" if _may_mount(_libc()) else "user namespace"

    def entrance(self) -> Callable[[], None]:
        """Prepare, before a fork, what the new process calls to be inside. It ends the process when that fails."""
        libc = _libc()
        writable = [os.fsencode(path.resolve()) for path in self.writable]
        mapped = {os.fsencode(name): os.fsencode(place.resolve()) for name, place in self.mapped.items()}

        def enter() -> None:
            try:
                _unshare(libc)
                _build(libc, writable, mapped)
            except OSError as exc:
                name = os.fsdecode(exc.filename) if exc.filename else "the system"
                os.write(2, f"{name}: {exc.strerror}".encode())
                os._exit(REFUSED)

        return enter


def _unshare(libc: _Libc) -> None:
    if _may_mount(libc):
        only = 1 << _CAP_SYS_ADMIN
        _set_capabilities(libc, only, only)
        _check(libc.unshare(_CLONE_NEWNS), "unshare")
        return
    user, group = os.geteuid(), os.getegid()
    libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # else, after a change of user, the maps are not ours to write
    _check(libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        handle = os.open(f"/proc/self/{name}", os.O_WRONLY)
        try:
            os.write(handle, text.encode())
        finally:
            os.close(handle)


def _mount(libc: _Libc, source: bytes | None, target: bytes, flags: int, kind: bytes | None = None) -> None:
    _check(libc.mount(source, target, kind, ctypes.c_ulong(flags), None), os.fsdecode(target))


def _build(libc: _Libc, writable: Sequence[bytes], mapped: Mapping[bytes, bytes]) -> None:
    _mount(libc, None, b"/", _MS_REC | _MS_PRIVATE)
    ours = list(writable)
    for place in writable:
        _mount(libc, place, place, _MS_BIND)
    if os.path.isdir(_SHARED_MEMORY):
        _mount(libc, b"tmpfs", _SHARED_MEMORY, 0, b"tmpfs")
        ours.append(_SHARED_MEMORY)
    for name, place in mapped.items():
        if not os.path.isdir(name):
            _make_room(libc, name)
        _mount(libc, place, name, _MS_BIND)
        ours.append(name)
    _everything_read_only(libc)
    for place in ours:
        _set_attributes(libc, place, clear=_MS_RDONLY)


def _make_room(libc: _Libc, name: bytes) -> None:
    """Let a directory exist in this view only: its nearest parent becomes one in memory, with the same in it."""
    parent = os.path.dirname(name)
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    if parent == b"/":
        raise OSError(2, "there is no such directory, and none can be made up there", os.fsdecode(name))
    handle = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    entries = [(entry.name, entry.is_symlink(), entry.is_dir(follow_symlinks=False)) for entry in os.scandir(parent)]
    _mount(libc, b"tmpfs", parent, 0, b"tmpfs")
    for entry, is_link, is_directory in entries:
        here, there = os.path.join(parent, entry), b"/proc/self/fd/%d/%s" % (handle, entry)
        if is_link:
            os.symlink(os.readlink(there), here)
            continue
        if is_directory:
            os.mkdir(here)
        else:
            os.close(os.open(here, os.O_CREAT | os.O_WRONLY))
        _mount(libc, there, here, _MS_BIND | _MS_REC)
    os.close(handle)
    os.makedirs(name)


def _everything_read_only(libc: _Libc) -> None:
    try:
        _set_attributes(libc, b"/", set=_MS_RDONLY, flags=_AT_RECURSIVE)
    except OSError as exc:
        if exc.errno != 38:  # ENOSYS, before Linux 5.12
            raise
        for target, flags in _mounts():
            _mount(libc, None, target, flags | _MS_BIND | _MS_REMOUNT | _MS_RDONLY)


def _set_attributes(libc: _Libc, target: bytes, *, set: int = 0, clear: int = 0, flags: int = 0) -> None:
    attributes = _MountAttributes(set, clear, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    result = libc.syscall(ctypes.c_long(_SYS_MOUNT_SETATTR), _AT_FDCWD, target, flags, ctypes.byref(attributes), size)
    if result != 0 and ctypes.get_errno() == 38 and clear:
        others = next((found for name, found in _mounts() if name == target), 0)
        _mount(libc, None, target, (others & ~_MS_RDONLY) | _MS_BIND | _MS_REMOUNT)
        return
    _check(result, os.fsdecode(target))


def _mounts() -> list[tuple[bytes, int]]:
    """Every mount that can be seen, the topmost of each place, with the flags that a remount must keep."""
    found: dict[bytes, int] = {}
    with open("/proc/self/mountinfo", "rb") as stream:
        for line in stream:
            words = line.split(b" ")
            target = words[4].replace(b"\\040", b" ").replace(b"\\011", b"\t").replace(b"\\134", b"\\")
            found[target] = sum(_LOCKED_FLAGS.get(option, 0) for option in words[5].split(b","))
    return list(found.items())
