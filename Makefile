# Developer chores; `make help` lists them. The tools are pinned in tools/go.mod
# and built into .cache/bin, so nothing but Go is needed on the machine.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := bin
CACHE := .cache/bin
export TEMPORAL_CLI := $(CURDIR)/$(CACHE)/temporal

UNIT_PACKAGES = $$(go list ./... | grep -v '/e2e$$' | grep -v '/e2e/')

.PHONY: help
help: ## List these targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build bin/worker, bin/ingest and bin/demo
	@mkdir -p $(BIN)
	go build -trimpath -o $(BIN)/ ./cmd/worker ./cmd/ingest ./cmd/demo

.PHONY: demo
demo: $(CACHE)/temporal build ## Run everything on this machine and watch events arrive
	$(BIN)/demo

.PHONY: test
test: ## Run all tests: unit, then end to end
	$(MAKE) test-unit
	$(MAKE) test-e2e

.PHONY: test-unit
test-unit: $(CACHE)/temporal ## Run the tests of each package, with the race detector
	go test -race $(UNIT_PACKAGES)

.PHONY: test-e2e
test-e2e: $(CACHE)/temporal build ## Run the built processes against real parts
	go test ./e2e/... -count=1 -parallel 4 -timeout 20m

.PHONY: test-kafka
test-kafka: ## The same against Apache Kafka (needs a Java 17 runtime and Maven)
	@for tool in java mvn; do command -v $$tool >/dev/null || { \
		echo "make test-kafka needs $$tool: install a Java 17 runtime and Maven, as with: apt-get install openjdk-17-jre-headless maven" >&2; exit 1; }; done
	E2E_KAFKA=apache $(MAKE) test-e2e

.PHONY: lint
lint: $(CACHE)/golangci-lint $(CACHE)/workflowcheck ## Check format, vet, linters, go.mod and workflow determinism
	@unformatted=$$(git ls-files -co --exclude-standard '*.go' | xargs -r ls -d 2>/dev/null | xargs -r gofmt -s -l); \
		if [ -n "$$unformatted" ]; then echo "run gofmt -s -w on:" >&2; echo "$$unformatted" >&2; exit 1; fi
	go vet ./...
	$(CACHE)/golangci-lint run ./...
	go mod tidy -diff
	$(CACHE)/workflowcheck ./workflows/...

.PHONY: tools
tools: $(CACHE)/temporal ## Build the Temporal CLI, which the demo and the tests run

$(CACHE)/temporal: PACKAGE := github.com/temporalio/cli/cmd/temporal
$(CACHE)/golangci-lint: PACKAGE := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(CACHE)/workflowcheck: PACKAGE := go.temporal.io/sdk/contrib/tools/workflowcheck

$(CACHE)/%: tools/go.sum tools/go.mod tools/build
	@tools/build $(PACKAGE) $@

.PHONY: clean
clean: ## Remove what is built; the tools and the go cache stay
	rm -rf $(BIN) coverage.out
