# `make demo` and `make test` work from a fresh clone: each makes .venv first.
PYTHON ?= python3
DEMO := demo_out

.PHONY: demo test lint clean

# One environment for everything; made again when what it should hold changes.
.venv/ready: setup.py pyproject.toml requirements/runtime.txt requirements/tests.txt
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/pip install -q --upgrade pip setuptools wheel
	.venv/bin/pip install -q -e . -r requirements/tests.txt
	touch $@

test: .venv/ready
	.venv/bin/python -m pytest tests -n 2

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check mmkit tests tools
	.venv/bin/mypy

demo: .venv/ready
	rm -rf $(DEMO)
	.venv/bin/python tools/make_shapes.py data/shapes
	.venv/bin/python tools/train.py configs/faster_rcnn/faster_rcnn_r18_fpn_shapes.py --work-dir $(DEMO) --seed 0
	.venv/bin/python tools/test.py configs/faster_rcnn/faster_rcnn_r18_fpn_shapes.py $(DEMO)/latest.pth \
		--eval bbox --show-dir $(DEMO)/detections --show-score-thr 0.5
	.venv/bin/python tools/analysis/plot_curves.py $(DEMO)/*.log.json --out $(DEMO)/curves.png
	@echo "curves: $(DEMO)/curves.png   detections: $(DEMO)/detections/"

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
