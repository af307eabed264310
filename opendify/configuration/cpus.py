"""How many CPUs this process may really use, which in a container is fewer than the machine has."""

import os
from collections.abc import Iterator
from pathlib import Path


def effective_cpus(root: Path = Path("/"), *, affinity: int | None = None) -> float:
    """The CPUs that affinity and cgroup quotas leave to this process.

    `root` is where `/proc` and `/sys` are looked up; `affinity` is the number of CPUs that the
    scheduler may place the process on, asked of the system by default.

    Source: https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max),
        https://docs.kernel.org/scheduler/sched-bwc.html (cpu.cfs_quota_us)
    """
    return min([float(affinity or _affinity()), *_quotas(root)])


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    mounts = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers == "":
            yield from _quotas_v2(mounts, group)
        elif "cpu" in controllers.split(","):
            yield from _quotas_v1(mounts / controllers, group)
            yield from _quotas_v1(mounts / "cpu", group)


def _quotas_v2(mount: Path, group: str) -> Iterator[float]:
    for folder in _group_and_parents(mount, group):
        match _text(folder / "cpu.max").split():
            case [quota, period] if quota.isdigit() and period.isdigit() and int(period):
                yield int(quota) / int(period)


def _quotas_v1(mount: Path, group: str) -> Iterator[float]:
    for folder in _group_and_parents(mount, group):
        quota = _text(folder / "cpu.cfs_quota_us").strip()
        period = _text(folder / "cpu.cfs_period_us").strip()
        # -1 stands for no limit.
        if quota.isdigit() and period.isdigit() and int(period):
            yield int(quota) / int(period)


def _group_and_parents(mount: Path, group: str) -> Iterator[Path]:
    # A limit on any parent holds too. In a container without its own cgroup name space the group
    # is the host's path, which does not exist here; its limit then stands at the mount itself.
    names = [name for name in group.split("/") if name not in ("", "..")]
    for length in range(len(names), -1, -1):
        yield mount.joinpath(*names[:length])


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def default_workers(cpus: float) -> int:
    """Two workers a CPU and one more: 4 CPUs give 9; half a CPU gives 2, a tenth 1."""
    return int(cpus * 2) + 1
