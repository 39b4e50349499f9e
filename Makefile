# Everything a fresh machine needs (Debian or Ubuntu with Python 3.11 or later): `make demo`, `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Qt, OpenGL without a screen, and a font, for the tests of the Slicer side.
SYSTEM_PACKAGES := libegl1 libgl1 libgl1-mesa-dri libxkbcommon0 libdbus-1-3 libfontconfig1 libxrender1 libxcursor1 fonts-dejavu-core
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: demo test test-engine test-module check screenshots clean test-slicer

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

# The pictures of the tutorial, from a walk through the panel with the real engine.
screenshots: $(VENV)/harness
	PYTHONUTF8=1 QT_QPA_PLATFORM=offscreen $(BIN)/python Testing/panel/screenshots.py --output Resources/Screenshots --minutes 5

$(VENV)/engine: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

$(VENV)/harness: $(VENV)/engine
	dpkg -s $(SYSTEM_PACKAGES) >/dev/null 2>&1 || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -qq -y --no-install-recommends $(SYSTEM_PACKAGES); }
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev,slicer-harness]"
	touch $@

clean:
	rm -rf $(VENV) demo
