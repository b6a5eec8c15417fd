# Speed, as ratios to peers at the same work in the same run.

.PHONY: bench
bench: ## Compare with pgBackRest (SCALE=300, RUNS=3, ONLY=restore_local,..., ARGS=--profile)
	@SCALE="$(SCALE)" RUNS="$(RUNS)" ONLY="$(ONLY)" PG="$(PG)" tools/bench/bench.sh $(ARGS)
