"""Becomes a server that dies with its starter: run as a script, by path, with `python -I -S`; standard library only.

A separate little program instead of a `preexec_fn`, because railclear's processes have threads and running Python between fork and exec of
such a process can deadlock. The change of user clears the death signal, so the order here matters: user first, then the signal, then exec.
"""
from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000


def become(who: str) -> None:
    """Change the user as told: `-` not at all, `uid:gid` for good, `ns:uid:gid` to look like that user in a user namespace of our own."""
    if who == "-":
        return
    *namespace, uid, gid = who.split(":")
    if not namespace:
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
        return
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "no user namespace to be had here")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1")


def main(arguments: list[str]) -> None:
    """`SIGNAL PARENT WHO NICE COMMAND…`: signal to get when the starting thread ends, the starter's pid, `become`, niceness, what to run."""
    death, parent, who, nice, *command = arguments
    become(who)
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death)):
        raise OSError("prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != int(parent):  # the starter died before the signal was set
        os.kill(os.getpid(), signal.SIGKILL)
    os.nice(int(nice))
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
