# The collection as users install it.

.PHONY: dist
dist: venv ## Build the collection into build/dist
	@$(VENV)/bin/python tools/lint/artifact.py build/dist

# Fragments stay, so that a corrected one corrects the change log as long as the version is the same.
.PHONY: changelog
changelog: venv ## Bring CHANGELOG.md up to date with changelogs/fragments, for the version in galaxy.yml
	@$(VENV)/bin/antsibull-changelog release --update-existing --refresh --reload-plugins \
	  --ansible-doc-bin $(VENV)/bin/ansible-doc
	@rm -f changelogs/.plugin-cache.yaml
