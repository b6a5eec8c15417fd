# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Everything is set up in the git-ignored folder build/; nothing is installed into the system.

.DEFAULT_GOAL := help
VENV := build/venv

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Lose a database and get it back, on a throwaway PostgreSQL (KEEP=1 keeps it)
	@tools/dev/demo.sh

.PHONY: test
test: ## Run all tests against real servers (ARGS="-k restore", LIFEBOAT_PG="15 17")
	@tools/dev/test.sh $(ARGS)

.PHONY: clean
clean: ## Remove everything that make has set up or built
	@tools/dev/clean.sh

.PHONY: venv
venv:
	@tools/dev/setup.sh lint

include $(wildcard tools/make/*.mk)
