# Checks of the source, and the pages that are made from it.

.PHONY: lint
lint: venv ## Check the source with every linter, or with some: make lint CHECKS="ruff mypy"
	@$(VENV)/bin/python tools/lint/run.py build/lint $(CHECKS)

.PHONY: docs
docs: venv ## Make the reference pages of modules and roles from their documentation
	@$(VENV)/bin/python tools/docs/generate.py "$$($(VENV)/bin/python tools/lint/collection_tree.py build/docs/tree)" .
