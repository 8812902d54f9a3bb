"""A file system in this process (FUSE) that passes everything on to a folder, as slowly as it is told to, and can be made read-only and
writable again under whoever uses it: as a server's export can, and no local disk (the kernel refuses a remount while files are open for writing, and after an error).
It also fails writes as a broken disk does, and lets reads of a file wait.

    why = fuse_disk.why_not()   what this machine lacks, or None
    disk = FuseDisk(folder / "behind"); disk.mount(folder / "mnt"); disk.is_read_only = True; …; disk.unmount()
    disk.write_error = errno.EIO; …; disk.write_error = 0
    with disk.withheld("spool/1/file"): …

It has what a gateway asks of it: files and folders, no links, no extended attributes. The mount namespace is that of loop_disk.py.
Source: the kernel's include/uapi/linux/fuse.h, version 7.31.
"""

import contextlib
import ctypes
import errno
import os
import pathlib
import stat
import struct
import threading
import time

import loop_disk
from loop_disk import command

LOOKUP, FORGET, GETATTR, SETATTR, MKDIR, UNLINK, RMDIR, RENAME, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC = 1, 2, 3, 4, 9, 10, 11, 12, 14, 15, 16, 17, 18, 20
INIT, OPENDIR, READDIR, RELEASEDIR, FSYNCDIR, CREATE, INTERRUPT, BATCH_FORGET, FALLOCATE, RENAME2 = 26, 27, 28, 29, 30, 35, 36, 42, 43, 45
WANT_NO_ANSWER = (FORGET, BATCH_FORGET, INTERRUPT)
CHANGES = (SETATTR, MKDIR, UNLINK, RMDIR, RENAME, RENAME2, WRITE, CREATE, FALLOCATE)

WRITE_BYTES_MAX = 128 << 10
REQUEST_BYTES_MAX = WRITE_BYTES_MAX + 4096
FATTR_SIZE = 1 << 3
FATTR_MODE = 1 << 0


def why_not():
    why = loop_disk.why_not()
    if why is None and not os.access("/dev/fuse", os.R_OK | os.W_OK):
        why = "there is no FUSE (/dev/fuse)"
    return why


def attributes(status):
    return struct.pack("<QQQQQQIIIIIIIIII", status.st_ino, status.st_size, status.st_blocks, int(status.st_atime), int(status.st_mtime), int(status.st_ctime),
                       0, 0, 0, status.st_mode, status.st_nlink, status.st_uid, status.st_gid, 0, 4096, 0)


def name_in(octets):
    return octets.split(b"\0", 1)[0]


class FuseDisk:
    def __init__(self, behind):
        self.behind, self.path = pathlib.Path(behind), None
        self.behind.mkdir()
        self.is_read_only = False
        self.write_error = 0  # that each write gets instead of being done
        self.write_seconds = 0  # that each write of up to WRITE_BYTES_MAX takes, one at a time
        self.nodes = {1: os.open(self.behind, os.O_PATH)}  # each node's file, by a descriptor that outlives its names
        self.inodes = {os.stat(self.behind).st_ino: 1}
        self.withheld_inode, self.withheld_requests, self.withheld_lock = None, [], threading.Lock()

    def mount(self, path):
        self.path = pathlib.Path(path)
        self.path.mkdir(exist_ok=True)
        self.device = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
        if ctypes.CDLL(None, use_errno=True).mount(b"ringmx-test", str(self.path).encode(), b"fuse", 0, options.encode()) != 0:
            raise OSError(ctypes.get_errno(), "mount of a FUSE file system")
        threading.Thread(target=self._serve, daemon=True).start()

    def unmount(self):
        if self.path is not None:
            command("umount", "--lazy", self.path)
            self.path = None

    @contextlib.contextmanager
    def withheld(self, name):
        """Whoever reads from this file waits until the end of the block. He can't be killed meanwhile."""
        with self.withheld_lock:
            self.withheld_inode = os.stat(self.behind / name).st_ino
        try:
            yield
        finally:
            with self.withheld_lock:
                self.withheld_inode, requests = None, self.withheld_requests
                self.withheld_requests = []
            for request in requests:
                self._answer(request)

    def _is_withheld(self, operation, node, request):
        with self.withheld_lock:
            if operation != READ or os.fstat(self.nodes[node]).st_ino != self.withheld_inode:
                return False
            self.withheld_requests.append(request)
            return True

    def _serve(self):
        while True:
            try:
                request = os.read(self.device, REQUEST_BYTES_MAX)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                    continue
                return  # ENODEV: unmounted, by everyone
            _, operation, _, node = struct.unpack_from("<IIQQ", request)
            if operation not in WANT_NO_ANSWER and not self._is_withheld(operation, node, request):
                self._answer(request)

    def _answer(self, request):
        _, operation, unique, node = struct.unpack_from("<IIQQ", request)
        try:
            if self.is_read_only and operation in CHANGES:
                raise OSError(errno.EROFS, "")
            answer, code = self._do(operation, node, request[40:]), 0
        except OSError as error:
            answer, code = b"", -error.errno
        os.write(self.device, struct.pack("<IiQ", 16 + len(answer), code, unique) + answer)

    def _file(self, node):
        return f"/proc/self/fd/{self.nodes[node]}"

    def _entry(self, folder, name):
        descriptor = os.open(os.path.join(self._file(folder), os.fsdecode(name)), os.O_PATH | os.O_NOFOLLOW)
        status = os.fstat(descriptor)
        node = self.inodes.get(status.st_ino)
        if node is None:
            node = self.inodes[status.st_ino] = len(self.nodes) + 1
            self.nodes[node] = descriptor
        else:
            os.close(descriptor)
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + attributes(status)

    def _status(self, node):
        return struct.pack("<QII", 0, 0, 0) + attributes(os.fstat(self.nodes[node]))

    def _opened(self, node, flags):
        """Our own descriptor is buffered, whatever the caller's is: what it is told is written is only so in memory, which lives as long as we."""
        if self.is_read_only and flags & os.O_ACCMODE != os.O_RDONLY:
            raise OSError(errno.EROFS, "")
        return struct.pack("<QII", os.open(self._file(node), flags & os.O_ACCMODE), 0, 0)

    def _do(self, operation, node, body):
        if operation == INIT:
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, WRITE_BYTES_MAX, 0, 16, 12, WRITE_BYTES_MAX, 1, 0, 0, 0)
        if operation == LOOKUP:
            return self._entry(node, name_in(body))
        if operation == GETATTR:
            return self._status(node)
        if operation == SETATTR:
            valid, _, _, size = struct.unpack_from("<IIQQ", body)
            if valid & FATTR_SIZE:
                os.truncate(self._file(node), size)
            if valid & FATTR_MODE:
                os.chmod(self._file(node), struct.unpack_from("<I", body, 68)[0])
            return self._status(node)
        if operation == MKDIR:
            name = name_in(body[8:])
            os.mkdir(os.path.join(self._file(node), os.fsdecode(name)), struct.unpack_from("<I", body)[0] & 0o7777)
            return self._entry(node, name)
        if operation == CREATE:
            flags, mode = struct.unpack_from("<II", body)
            name = name_in(body[16:])
            os.close(os.open(os.path.join(self._file(node), os.fsdecode(name)), os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode & 0o7777))
            entry = self._entry(node, name)
            return entry + self._opened(struct.unpack_from("<Q", entry)[0], flags)
        if operation in (UNLINK, RMDIR):
            (os.unlink if operation == UNLINK else os.rmdir)(os.path.join(self._file(node), os.fsdecode(name_in(body))))
            return b""
        if operation in (RENAME, RENAME2):
            old, new = body[8 if operation == RENAME else 16:].split(b"\0")[:2]
            os.rename(os.path.join(self._file(node), os.fsdecode(old)), os.path.join(self._file(struct.unpack_from("<Q", body)[0]), os.fsdecode(new)))
            return b""
        if operation == OPEN:
            return self._opened(node, struct.unpack_from("<I", body)[0])
        if operation == OPENDIR:
            return struct.pack("<QII", 0, 0, 0)
        if operation == READDIR:
            return self._names(node, *struct.unpack_from("<QI", body, 8))
        if operation in (FSYNC, RELEASE):
            file = struct.unpack_from("<Q", body)[0]
            (os.fsync if operation == FSYNC else os.close)(file)
            return b""
        if operation in (FSYNCDIR, RELEASEDIR):
            return b""
        if operation == READ:
            file, offset, size = struct.unpack_from("<QQI", body)
            return os.pread(file, size, offset)
        if operation == WRITE:
            file, offset, size = struct.unpack_from("<QQI", body)
            time.sleep(self.write_seconds)
            if self.write_error:
                raise OSError(self.write_error, "")
            return struct.pack("<II", os.pwrite(file, body[40:40 + size], offset), 0)
        if operation == FALLOCATE:
            file, offset, size = struct.unpack_from("<QQQ", body)
            os.posix_fallocate(file, offset, size)
            return b""
        if operation == STATFS:
            return struct.pack("<QQQQQIIII24x", 1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 4096, 255, 4096, 0)
        raise OSError(errno.ENOSYS, "")

    def _names(self, node, offset, size):
        entries = b""
        for place, entry in enumerate(sorted(os.scandir(self._file(node)), key=lambda each: each.name)):
            name = os.fsencode(entry.name)
            packed = struct.pack("<QQII", entry.inode(), place + 1, len(name), stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode) >> 12) + name
            packed += bytes(-len(packed) % 8)
            if place >= offset and len(entries) + len(packed) <= size:
                entries += packed
        return entries
