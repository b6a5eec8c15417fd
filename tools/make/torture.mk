# Everything that can happen to backups, at random and for long.

.PHONY: torture
torture: ## Abuse real servers at random (MINUTES=10, SEED=1, LIFEBOAT_PG=17), kill backups at every step, 100,000 relations
	@LIFEBOAT_WORKERS=0 SEED="$(SEED)" MINUTES="$(or $(MINUTES),10)" LIFEBOAT_KILL_STRIDE=1 LIFEBOAT_RELATIONS="$(or $(RELATIONS),100000)" \
	  tools/dev/test.sh -s tests/integration/test_torture.py tests/integration/test_ledger.py \
	  tests/integration/test_killed_at_every_step.py tests/integration/test_many_and_much.py $(ARGS)
