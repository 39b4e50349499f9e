"""Short versions of the campaigns in Testing/robustness; processes of their own, since they fork and mount."""

import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGNS = Path(__file__).parents[1] / "robustness"


def run(name: str, *arguments: str) -> None:
    command = [sys.executable, CAMPAIGNS / f"{name}.py", "--seed", "1", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture
def can_mount(tmp_path):
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small file system needs root on Linux")
    subprocess.run(["umount", tmp_path], check=True)


def test_whatever_moment_a_writer_is_killed_nothing_is_half_and_a_second_start_ends_the_same():
    run("kills", "--count", "6", "--places", "CatalogueWriting", "StoreBuilding")


def test_a_disk_that_fills_up_or_is_read_only_is_told_and_nothing_is_half(can_mount):
    run("full_disk", "--count", "6", "--places", "CatalogueWriting", "StoreBuilding")
