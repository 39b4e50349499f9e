# Everything a fresh machine needs (Debian or Ubuntu with Python 3.11 or later): `make demo`, `make test`.

PYTHON ?= python3
VENV := .venv
TOOLS := .venv-tools
BIN := $(VENV)/bin
# Qt, OpenGL without a screen, and a font, for the tests of the Slicer side.
SYSTEM_PACKAGES := libegl1 libgl1 libgl1-mesa-dri libxkbcommon0 libdbus-1-3 libfontconfig1 libxrender1 libxcursor1 fonts-dejavu-core
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: demo test test-engine test-module check pictures clean test-slicer lock sbom audit licences

demo: $(VENV)/engine
	$(BIN)/hssl demo demo

# The engine and the Slicer side run at the same time, each with a thread of its own in a worker process of its own: a
# crash in Qt, VTK or torch fails the test that it belongs to, by name, and does not take the others with it.
PYTEST = PYTHONUTF8=1 OMP_NUM_THREADS=1 QT_QPA_PLATFORM=offscreen $(BIN)/python -m pytest --numprocesses 1

test: check
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target test-engine test-module

test-engine: $(VENV)/harness
	$(PYTEST) Testing/engine Testing/robustness

test-module: $(VENV)/harness
	$(PYTEST) Testing --ignore Testing/engine --ignore Testing/robustness

# The tests of Testing/slicer in a real Slicer: make test-slicer SLICER=/path/to/Slicer [JOBS_PYTHON=/path/to/python with torch]
test-slicer:
	@test -n "$(SLICER)" || { echo "Say where Slicer is: make test-slicer SLICER=/path/to/Slicer"; exit 2; }
	$(PYTHON) Testing/slicer/real/run.py "$(SLICER)" --python "$(JOBS_PYTHON)"

check: $(VENV)/harness
	$(BIN)/ruff check HSSLSegmentation Testing tools
	$(BIN)/ruff format --check HSSLSegmentation Testing tools
	$(BIN)/mypy
	PYTHONPATH=HSSLSegmentation $(BIN)/lint-imports --no-logo

# The pictures of the tutorial, from a walk through the panel and the effect in a real Slicer, with the real engine.
pictures: $(VENV)/harness
	$(BIN)/python Testing/slicer/real/pictures.py "$(SLICER)" --python "$(JOBS_PYTHON)"

PIP = $(BIN)/pip install --quiet --disable-pip-version-check
# What is installed is locked by version and hash, but for torch, whose build (CPU, CUDA) is the machine's own.
LOCKS := Testing/locks

$(VENV)/engine: $(LOCKS)/engine.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) --require-hashes --requirement $(LOCKS)/engine.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/harness: $(VENV)/engine
	dpkg -s $(SYSTEM_PACKAGES) >/dev/null 2>&1 || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -qq -y --no-install-recommends $(SYSTEM_PACKAGES); }
	$(PIP) --require-hashes --requirement $(LOCKS)/slicer-harness.txt
	touch $@

# The lock files anew from pyproject.toml, with the newest versions within its bounds. Torch brings the rest of CUDA itself.
CUDA := cuda-bindings cuda-pathfinder cuda-toolkit triton nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc \
	nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse \
	nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx
LOCK = $(TOOLS)/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --upgrade --no-header \
	--no-emit-index-url $(addprefix --no-emit-package ,torch $(CUDA)) --no-annotate

lock: $(TOOLS)
	$(LOCK) --extra dev --output-file $(LOCKS)/engine.txt
	$(LOCK) --extra dev --extra slicer-harness --output-file $(LOCKS)/slicer-harness.txt

# Bill of materials (CycloneDX) of all that `make test` installs.
sbom: $(VENV)/harness $(TOOLS)
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-file hssl-sbom.json $(BIN)/python

# Known vulnerabilities of what is locked; asks PyPI.
audit: $(TOOLS)
	$(TOOLS)/bin/pip-audit --requirement $(LOCKS)/slicer-harness.txt --disable-pip --no-deps --strict

# Licences of all that `make test` installs; an error where one does not go with Apache-2.0. Qt's Python is for tests alone.
licences: $(VENV)/harness $(TOOLS)
	$(TOOLS)/bin/pip-licenses --python $(BIN)/python --from mixed --order name --ignore-packages PySide6_Essentials shiboken6 \
		--partial-match --fail-on "GPL-2.0;GPL-3.0;GNU General Public;UNKNOWN"

$(TOOLS):
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check "uv>=0.5,<1" "cyclonedx-bom>=5,<8" "pip-audit>=2.7,<3" \
		"pip-licenses>=5,<6"

clean:
	rm -rf $(VENV) $(TOOLS) demo hssl-sbom.json
