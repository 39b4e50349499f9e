"""What a process may use: the smaller of the host's and of what its control groups leave."""

from pathlib import Path

import psutil
import pytest

from hssl import machine

GB = 2**30


@pytest.fixture
def group(tmp_path, monkeypatch):
    """Stands in for /sys/fs/cgroup; returns a function that writes files of a group."""
    root = tmp_path / "cgroup"
    root.mkdir()
    monkeypatch.setattr(machine, "ROOT", root)
    monkeypatch.setattr(machine, "OWN", tmp_path / "self")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 64 * GB})())
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda process: set(range(16)), raising=False)

    def write(of: str, **files: object) -> Path:
        folder = root / of
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name.replace("__", ".")).write_text(f"{content}\n")
        return folder

    def own(text: str) -> None:
        (tmp_path / "self").write_text(text)

    write.own = own  # type: ignore[attr-defined]
    return write


def test_without_control_groups_the_host_counts(group):
    assert (machine.available_memory(), machine.cores()) == (64 * GB, 16)
    group.own("0::/\n")
    group("", memory__max="max", memory__current=GB, cpu__max="max 100000")
    assert (machine.available_memory(), machine.cores()) == (64 * GB, 16)


@pytest.mark.parametrize("path", ["/", "/docker/abc", "/not/seen/from/inside"])
def test_a_container_of_version_2_counts_and_cached_files_give_way(group, path):
    group.own(f"0::{path}\n")
    of = "" if "not" in path else path.strip("/")
    group(of, memory__max=8 * GB, memory__current=5 * GB, cpu__max="250000 100000")
    assert (machine.available_memory(), machine.cores()) == (3 * GB, 3)
    group(of, memory__stat=f"anon 1\ninactive_file {2 * GB}\nactive_file 7")
    assert machine.available_memory() == 5 * GB


def test_the_tightest_group_above_counts_and_what_is_overdrawn_is_nothing(group):
    group.own("0::/batch/job1/step\n")
    group("batch/job1", memory__max=4 * GB, memory__current=3 * GB, cpu__max="50000 100000")
    group("batch/job1/step", memory__max="max", memory__current=GB, cpu__max="400000 100000")
    assert (machine.available_memory(), machine.cores()) == (GB, 1)
    group("batch/job1", memory__current=5 * GB)
    assert machine.available_memory() == 0


def test_a_container_of_version_1_counts(group):
    group.own("5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n1:name=systemd:/docker/x\n")
    group(
        "memory/docker/x",
        memory__limit_in_bytes=2 * GB,
        memory__usage_in_bytes=GB,
        memory__stat="total_inactive_file 0",
    )
    group("memory", memory__limit_in_bytes=9223372036854771712, memory__usage_in_bytes=0)
    group("cpu/docker/x", cpu__cfs_quota_us=200000, cpu__cfs_period_us=100000)
    group("cpu", cpu__cfs_quota_us=-1, cpu__cfs_period_us=100000)
    assert (machine.available_memory(), machine.cores()) == (GB, 2)


def test_a_volume_that_the_container_has_no_room_for_is_refused_before_it_is_read(group, tmp_path):
    import numpy as np
    import SimpleITK as sitk

    from hssl.errors import InputError
    from hssl.imaging.volumes import read_volume

    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((130, 130, 130), np.uint8)), str(tmp_path / "a.nii"))
    group.own("0::/\n")
    group("", memory__max=18_000_000, memory__current=1_000_000)
    with pytest.raises(InputError, match="of memory"):
        read_volume(tmp_path / "a.nii")
