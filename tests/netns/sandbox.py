"""A throwaway root for one action: an overlay over the machine's own root in a mount namespace of its own, so that an action
may write /etc, /root or /usr/bin as much as it likes and nothing of it is left when its process ends.

    SANDBOX_CODE=... python3 sandbox.py NAME     (started by test_rules.py inside a network namespace and a sub-cgroup)

NAME becomes the name of the process (comm) that runs the code: a copy of the Python interpreter. The code finds the helpers of
PRELUDE. Options by environment: SANDBOX_UID, SANDBOX_PIDNS=1, SANDBOX_TTY=1, SANDBOX_PARENT=NAME of the parent process.
"""
import ctypes
import fcntl
import os
import shutil
import sys
import tempfile
import termios

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
MS_REC, MS_PRIVATE, MS_BIND, MNT_DETACH = 0x4000, 1 << 18, 4096, 2
PYTHON = os.path.realpath("/usr/bin/python3")
ACT = "/opt/act"  # inside the sandbox

PRELUDE = r'''
import ctypes, errno, fcntl, os, shutil, signal, socket, stat, subprocess, sys, time
LIBC = ctypes.CDLL(None, use_errno=True)
TRUE = os.path.realpath("/bin/true")

def tool(name, program=TRUE, folder="/opt/act"):
    """A copy of a program under another name."""
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        shutil.copy(program, path)
    return path

def spawn(name, *args, env=None, program=TRUE, folder="/opt/act", argv0=None, **options):
    path = tool(name, program, folder)
    subprocess.run([argv0 or path, *args], executable=path, env=dict(os.environ, **(env or {})), stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)

def make(path, text="x"):
    """A file that is there before the action; `cat` of a shell makes it, not this process."""
    subprocess.run(["/bin/sh", "-c", 'mkdir -p "$(dirname "$1")" && printf %s "$2" > "$1"', "sh", path, text])

def opened(path, flags, mode=0o600):
    os.close(os.open(path, flags, mode))

def syscall(number, *args):
    return LIBC.syscall(ctypes.c_long(number), *args)
'''


def check(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source, target, kind=None, flags=0, data=None):
    encode = lambda text: text.encode() if text is not None else None
    check(LIBC.mount(encode(source), encode(target), encode(kind), ctypes.c_ulong(flags), encode(data)),
          f"mount {source} on {target}")


def make_root(base, fresh_proc):
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", base, "tmpfs")
    for name in ("upper", "work", "root"):
        os.mkdir(os.path.join(base, name))
    root = os.path.join(base, "root")
    mount("overlay", root, "overlay", 0, f"lowerdir=/,upperdir={base}/upper,workdir={base}/work")
    # /dev is the overlay's own, so that files can be made in it; the machine's devices are not there.
    for name in os.listdir(root + "/dev"):
        path = os.path.join(root, "dev", name)
        shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    for name in ("null", "zero", "urandom", "tty"):
        open(f"{root}/dev/{name}", "w").close()
        mount(f"/dev/{name}", f"{root}/dev/{name}", None, MS_BIND)
    for name in ("dev/shm", "tmp", "run", "var/log"):
        os.makedirs(os.path.join(root, name), exist_ok=True)
    for name in ("dev/shm", "run"):
        mount("tmpfs", os.path.join(root, name), "tmpfs")
    if fresh_proc:
        mount("proc", root + "/proc", "proc")
    else:
        mount("/proc", root + "/proc", None, MS_BIND | MS_REC)
    os.makedirs(root + ACT)
    return root


def enter(name, code, root):
    os.chroot(root)
    os.chdir("/")
    script = ACT + "/action.py"
    with open(script, "w") as file:
        file.write(PRELUDE + code)
    interpreter = os.path.join(ACT, name)
    shutil.copy(PYTHON, interpreter)
    os.chmod(ACT, 0o777)
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONHOME": "/usr", "PYTHONDONTWRITEBYTECODE": "1",
                   "HOME": "/root"}
    parent = os.environ.get("SANDBOX_PARENT")
    uid = int(os.environ.get("SANDBOX_UID", "0"))
    os.setsid()  # no terminal of whoever runs the tests
    if os.environ.get("SANDBOX_TTY") == "1":
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if parent:
        # The parent is a Python of that name that starts the action and waits.
        shutil.copy(PYTHON, os.path.join(ACT, parent))
        os.execve(os.path.join(ACT, parent),
                  [parent, "-c", f"import subprocess,sys; sys.exit(subprocess.run({[interpreter, script]!r}).returncode)"],
                  environment)
    if uid:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    os.execve(interpreter, [interpreter, script], environment)


def main():
    name, code = sys.argv[1], os.environ["SANDBOX_CODE"]
    fresh_pids = os.environ.get("SANDBOX_PIDNS") == "1"
    if os.environ.get("SANDBOX_TTY") == "1":
        controller, terminal = os.openpty()
        os.set_inheritable(controller, True)
        os.dup2(terminal, 0)
    check(LIBC.unshare(CLONE_NEWNS | (CLONE_NEWPID if fresh_pids else 0)), "unshare")
    base = tempfile.mkdtemp(prefix="beeline-sandbox-")
    child = os.fork()
    if child == 0:
        enter(name, code, make_root(base, fresh_pids))
    _, status = os.waitpid(child, 0)
    check(LIBC.umount2(base.encode(), MNT_DETACH), "umount")
    os.rmdir(base)
    sys.exit(os.waitstatus_to_exitcode(status) & 0xff)


if __name__ == "__main__":
    main()
