"""What a reader needs to judge figures: machine, kernel, compiler, versions, commit. No path of
this machine."""

import contextlib
import os
import platform
import re
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def command_output(*command):
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, timeout=10, check=False, cwd=ROOT)
        return (done.stdout + done.stderr).decode(errors="replace").strip()
    return ""


def first_line(text):
    return text.splitlines()[0] if text else "unknown"


def package_version(name):
    found = command_output("dpkg-query", "-W", "-f", "${Version}", name)
    return found if re.fullmatch(r"\S+", found) else "unknown"


def processor():
    with contextlib.suppress(OSError):
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as info:
            for line in info:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.machine()


def commit():
    short = command_output("git", "rev-parse", "--short", "HEAD")
    if not re.fullmatch(r"[0-9a-f]+", short):
        return "uncommitted"
    changed = command_output("git", "status", "--porcelain", "--untracked-files=no")
    return short + (" with changes" if changed else "")


def compiler(build):
    """Name, version and optimisation of what built the folder's programs."""
    with contextlib.suppress(OSError):
        with open(os.path.join(build, "CMakeCache.txt"), encoding="utf-8") as cache:
            values = dict(re.findall(r"^(CMAKE_\w+):\w+=(.*)$", cache.read(), re.M))
        kind = values.get("CMAKE_BUILD_TYPE", "")
        flags = values.get(f"CMAKE_CXX_FLAGS_{kind.upper()}", "")
        name = first_line(command_output(values.get("CMAKE_CXX_COMPILER", "g++"), "--version"))
        return f"{name}, {kind} {flags}".strip()
    return "unknown"


def surroundings(build, versions=None):
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "kernel": platform.release(),
        "cpu": processor(),
        "cpus": os.cpu_count(),
        "compiler": compiler(build),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "commit": commit(),
        "versions": {"ringmx": first_line(command_output(os.path.join(build, "ringmx"),
                                                         "--version")), **(versions or {})},
    }


def describe(facts):
    versions = ", ".join(f"{name}: {text}" for name, text in sorted(facts["versions"].items()))
    return (f"{facts['date']}, {facts['cpu']} x {facts['cpus']}, Linux {facts['kernel']}, "
            f"{facts['compiler']}, load average {facts['load_average'][0]} at the start, commit "
            f"{facts['commit']}; {versions}.")
