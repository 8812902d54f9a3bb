"""A small ext4 of its own for a test: an image behind a loop device, mounted where only the test and its programs see it.

    why = loop_disk.why_not()   what this machine lacks, or None
    disk = LoopDisk(folder / "image", 64 * MIB)
    disk.mount(folder / "mnt"); disk.fill(); disk.make_room(); disk.fail(); disk.unmount()

The mount namespace is private: what a test that dies leaves mounted goes with its last program, the loop device too.
"""

import ctypes
import functools
import os
import pathlib
import shutil
import subprocess
import typing

MIB = 1024 * 1024
CLONE_NEWNS = 0x00020000


def command(*arguments):
    done = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise OSError(f"{' '.join(map(str, arguments))}: {done.stderr.strip()}")


@functools.cache
def why_not():
    """Makes this process's mounts private, once, before it has threads; gives what is missing where that can't be."""
    if os.geteuid() != 0:
        return "mounting an image needs root"
    for program in ("mkfs.ext4", "mount", "umount"):
        if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            return f"{program} is not installed"
    if not os.path.exists("/dev/loop-control"):
        return "there are no loop devices (/dev/loop-control)"
    if "\text4\n" not in pathlib.Path("/proc/filesystems").read_text():
        return "the kernel has no ext4"
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        return f"a mount namespace is not allowed: {os.strerror(ctypes.get_errno())}"
    try:
        command("mount", "--make-rprivate", "/")
    except OSError as error:
        return str(error)
    return None


class Writes(typing.NamedTuple):
    written: int
    discarded: int
    flushed: int
    in_flight: int


class LoopDisk:
    def __init__(self, image, size_bytes):
        self.image, self.path = pathlib.Path(image), None
        with open(self.image, "wb") as file:
            file.truncate(size_bytes)
        command("mkfs.ext4", "-q", "-F", "-m", "0", self.image)

    def mount(self, path, options="rw"):
        """An error of the file system makes it read-only, as on most machines."""
        self.path = pathlib.Path(path)
        self.path.mkdir(exist_ok=True)
        command("mount", "-o", f"loop,errors=remount-ro,{options}", self.image, self.path)

    def remount(self, options):
        command("mount", "-o", f"remount,{options}", self.path)

    def unmount(self, lazily=False):
        if self.path is not None:
            command("umount", *(["--lazy"] if lazily else []), self.path)
            self.path = None

    def device(self):
        for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
            source, where, *_ = line.split()
            if where == str(self.path):
                return os.stat(source).st_rdev
        raise OSError(f"{self.path} is not mounted")

    def fill(self):
        """Another file takes all that is left."""
        block = bytes(MIB)
        with open(self.path / "other", "ab", buffering=0) as file:
            while block:
                try:
                    file.write(block)
                except OSError:
                    block = block[:len(block) // 2]
            os.fsync(file.fileno())

    def make_room(self):
        (self.path / "other").unlink()

    def fail(self):
        """The kernel finds the file system damaged: from now on it is read-only, under whoever writes to it."""
        name = os.path.basename(os.readlink(f"/sys/dev/block/{os.major(self.device())}:{os.minor(self.device())}"))
        try:
            pathlib.Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("1")
        except OSError:
            pass  # the file is on sysfs, but the words come through a disk that has just become read-only

    def copy(self, image):
        """The same octets in another file, as another disk. Of one that is mounted: as it would be found after a power cut, at one moment
        at which nothing was under way to it."""
        while True:
            before = self.writes()
            command("cp", "--sparse=always", self.image, image)
            if self.writes() == before and before.in_flight == 0:
                break
        other = LoopDisk.__new__(LoopDisk)
        other.image, other.path = pathlib.Path(image), None
        return other

    def writes(self):
        """What the device has done so far (the kernel's Documentation/block/stat.rst)."""
        if self.path is None:
            return Writes(0, 0, 0, 0)
        device = self.device()
        numbers = pathlib.Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()
        return Writes(written=int(numbers[4]), discarded=int(numbers[11]), flushed=int(numbers[15]), in_flight=int(numbers[8]))
