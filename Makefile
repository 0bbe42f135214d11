# What one does here, one target a thing. `make` alone lists them.
#
# ARGS   goes to roam in `make demo`
# COUNT  how often each benchmark runs
# CHECKS how many random cases each law is tried on in `make laws`
# SEEDS START REGIONS SEED MUTANT go to `make sim`: so many seeds, the first one,
#        Regions in each, one seed alone with its story, rules to break; SEEDS START SEED
#        to `make control-sim` too
# SESSIONS ROUNDS SLICE go to `make bench-valkey`: how many sessions are many, how often
#        both sides run, for how long
# PLANNED UNPLANNED  how often `make failover` changes the primary, each way
# OPS    how many operations `make scripts` compares
# STATES how many distinct states `make scope` sees at the least; 0: as many as CI
# MUTANTS which of them `make mutants` wakes; none: all
# FUZZTIME how long each Fuzz test looks for new inputs; KEEP how many of them to keep

ARGS ?=
PLANNED ?= 10
UNPLANNED ?= 20
COUNT ?= 6
CHECKS ?= 20000
SEEDS ?= 1000
STATES ?= 0
OPS ?= 2000000
MUTANTS ?=
FUZZTIME ?= 10s
KEEP ?= 0

BIN := $(CURDIR)/bin
# Tests tagged integration start real servers and a browser: Linux only.
TAGS := $(if $(filter Darwin,$(shell uname -s)),,integration)

.DEFAULT_GOAL := help
.PHONY: lambda aws-drill failover failover-docs control-sim bench-valkey bench-docs scripts laws mutants scope ryw trace help demo test lint house check bench sim fuzz tools vuln deadcode tidy fmt clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## start three Regions, a shop and the console on this machine (ARGS=…)
	go build -o $(BIN)/roam ./cmd/roam
	@$(BIN)/roam demo $(ARGS)

test: ## run every test with the race detector, after installing what the tests need
	./scripts/install-test-deps.sh
	go test -race -count=1 -timeout 15m $(if $(TAGS),-tags $(TAGS)) $$(go list ./... | grep -v -e /internal/cli$$ -e /internal/lab$$)
	go test -race -count=1 -timeout 15m -p 1 $(if $(TAGS),-tags $(TAGS)) ./internal/cli ./internal/lab # whole deployments, and browsers: one at a time

lint: tools ## run the linters, the formatter's check, tidy's check and govulncheck
	$(BIN)/golangci-lint run $(if $(TAGS),--build-tags $(TAGS)) ./...
	$(BIN)/golangci-lint fmt --diff
	$(BIN)/staticcheck $(if $(TAGS),-tags $(TAGS)) ./...
	go mod tidy -diff
	go mod tidy -C tools -diff
	./scripts/vuln.sh $(BIN)/govulncheck

house: ## hold the repository to its own rules
	go test -count=1 ./internal/house

check: lint ## all that must be green before a commit: lint, vet, house, test
	go vet $(if $(TAGS),-tags $(TAGS)) ./...
	$(MAKE) house
	$(MAKE) test

bench: tools ## run every benchmark COUNT times, keep the figures in bench/results and sum them up
	@mkdir -p bench/results
	@out=bench/results/$$(date -u +%Y%m%dT%H%M%SZ).txt; \
	go test -run '^$$' -bench . -benchmem -count $(COUNT) ./... > $$out || { cat $$out; exit 1; }; \
	cat $$out; $(BIN)/benchstat $$out; echo "kept in $$out; compare two runs with bin/benchstat old new"

bench-valkey: ## run Roam on Valkey side by side with what people use instead, and print the ratios (SESSIONS= ROUNDS= SLICE=)
	@SESSIONS='$(SESSIONS)' ROUNDS='$(ROUNDS)' SLICE='$(SLICE)' ./scripts/bench-valkey.sh

failover: ## change the primary of a deployment on real servers, and check that nothing is lost (PLANNED= UNPLANNED= ARGS=…)
	@./scripts/install-test-deps.sh
	go build -o $(BIN)/roam-drill ./cmd/roam-drill
	@$(BIN)/roam-drill -planned $(PLANNED) -unplanned $(UNPLANNED) $(ARGS)

aws-drill: ## move the primary of a Global Datastore on fakes of AWS, and say how long each stage takes until shops write again (DRILL=…)
	./scripts/install-test-deps.sh
	go run ./cmd/roam-awsdrill $(DRILL)

failover-docs: ## make docs/failover.md of what make failover has measured
	go run ./cmd/roam-drill -page > bench/results/failover.md
	cp bench/results/failover.md docs/failover.md

lambda: ## build the archives of the Lambda functions, dist/lambda-arm64.zip and dist/lambda-amd64.zip
	@./scripts/lambda.sh

bench-docs: ## make docs/benchmarks.md of what make bench-valkey has measured
	go run ./internal/sidebyside/sheet > bench/results/benchmarks.md
	cp bench/results/benchmarks.md docs/benchmarks.md

sim: ## simulate SEEDS deployments in virtual time and check that sessions survive (START= REGIONS= SEED= MUTANT=)
	@SEEDS='$(SEEDS)' START='$(START)' REGIONS='$(REGIONS)' SEED='$(SEED)' MUTANT='$(MUTANT)' ARGS='$(ARGS)' ./scripts/sim.sh $(BIN)

control-sim: ## simulate SEEDS control planes among faults, 10,000 by default, and check that no write is lost silently (START= SEED=)
	go test -count=1 -timeout 2h ./internal/controlsim -run '^TestControlPlane$$' -v -args \
		-seeds $(if $(filter file,$(origin SEEDS)),10000,$(SEEDS)) $(if $(START),-start $(START)) $(if $(SEED),-seed $(SEED))

trace: ## hold a few seeds against the traces recorded elsewhere, also in 32 bits where this machine runs such programs
	go test -count=1 ./internal/sim -run '^TestSameSeedSameTrace$$'
	@case "$$(go env GOOS GOARCH | tr '\n' ' ')" in 'linux amd64 ') set -x; \
		GOARCH=386 CGO_ENABLED=0 go test -count=1 ./internal/sim -run '^TestSameSeedSameTrace$$';; esac

laws: ## try the laws of crdt and the exploration of replica on CHECKS random cases each
	./scripts/laws.sh $(CHECKS)

scope: ## try all that can become of four operations in two Regions, without the race detector (STATES=…)
	go test -count=1 -timeout 12h ./internal/scope -run '^TestSmallScope$$' -v -states=$(STATES)

scripts: ## compare what scripts do on a real Valkey with what Go does, on OPS random operations
	./scripts/install-test-deps.sh
	go test -count=1 -timeout 2h -tags integration ./engine/valkey -run '^TestScriptsEqualGo$$' -v -args -ops $(OPS)

mutants: ## break each rule in turn and have the simulator find it (MUTANTS=…)
	./scripts/mutants.sh $(MUTANTS)

ryw: ## write in one Region and read in another 5 ms later, 10,000 times, and say how many reads had to ask elsewhere
	go test -count=1 ./internal/lab -run '^TestReadYourWrites$$' -v -args -rounds 10000

fuzz: ## let each Fuzz test look for new inputs for FUZZTIME, and sum up (KEEP=40 keeps some)
	./scripts/fuzz.sh $(FUZZTIME) $(KEEP)

tools: ## build the pinned tools of tools/go.mod into bin, once a version
	@./scripts/tools.sh $(BIN)

vuln: tools ## look for known vulnerabilities, where the database can be reached
	./scripts/vuln.sh $(BIN)/govulncheck

deadcode: tools ## list functions that no command and no test reaches: advice, no verdict
	$(BIN)/deadcode -test $(if $(TAGS),-tags $(TAGS)) ./...

tidy: ## bring go.mod and go.sum up to date, the tools' too
	go mod tidy
	go mod tidy -C tools

fmt: tools ## format the source
	$(BIN)/golangci-lint fmt

clean: ## remove what these targets made
	rm -rf $(BIN) dist bench/results
	find . -type f \( -name '*.test' -o -name '*.prof' \) -not -path './.git/*' -delete
