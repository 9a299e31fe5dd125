"""Which user PostgreSQL runs as: it refuses root, and its `initdb` refuses a user without a name. Nothing on the machine is changed for it."""
from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import msgspec

from agents.embedded.processes import EmbeddedError


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A user to become, and how (`launch.become`)."""

    who: str
    uid: int
    """Owner that files must get."""
    gid: int
    name: str

    @property
    def switches(self) -> bool:
        """Whether the servers run as somebody other than us, who may not reach what we can."""
        return self.uid != os.geteuid()

    def own(self, target: Path | int) -> None:
        """Give it a file, a directory or an open pipe."""
        if self.switches:
            os.chown(target, self.uid, self.gid)

    def reaches(self, path: Path) -> bool:
        """Whether it can read this file or directory (and, where we can run it, run it) and every directory above it."""
        path = path.resolve()
        return not self.switches or (self._may(path, 0o4) and all(self._may(above, 0o1) for above in path.parents))

    def _may(self, path: Path, bits: int) -> bool:
        info = path.stat()
        shift = 6 if info.st_uid == self.uid else 3 if info.st_gid == self.gid else 0
        return stat.S_IMODE(info.st_mode) >> shift & bits == bits


def server_account(trial: Path) -> Account:
    """The user for PostgreSQL. `trial` is a directory of ours on which a change of owner may be tried. Raises EmbeddedError.

    Not root: ourselves. Root: `nobody`, or any other unprivileged user. Where root may not become another user (a user namespace with one id) or
    we have no name (a container started with a bare number): ourselves, seen as `nobody` in a user namespace of the server's own.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0 and (own := _named(uid)):
        return Account(who="-", uid=uid, gid=gid, name=own.pw_name)
    plain = _unprivileged()
    if uid == 0 and _may_give(trial, plain):
        return Account(who=f"{plain.pw_uid}:{plain.pw_gid}", uid=plain.pw_uid, gid=plain.pw_gid, name=plain.pw_name)
    return Account(who=f"ns:{plain.pw_uid}:{plain.pw_gid}", uid=uid, gid=gid, name=plain.pw_name)


def _named(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None


def _unprivileged() -> pwd.struct_passwd:
    others = [user for user in pwd.getpwall() if user.pw_uid != 0]
    for user in sorted(others, key=lambda user: (user.pw_name != "nobody", user.pw_uid)):
        return user
    raise EmbeddedError("PostgreSQL does not run as root, and this machine has no other user: add one, or give the address of a PostgreSQL server")


def _may_give(trial: Path, user: pwd.struct_passwd) -> bool:
    before = trial.stat()
    try:
        os.chown(trial, user.pw_uid, user.pw_gid)
    except OSError:  # EINVAL or EPERM: our user namespace does not know that id
        return False
    os.chown(trial, before.st_uid, before.st_gid)
    return True
