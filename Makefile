# Developer chores; `make help` lists them. The tools are pinned in tools/go.mod
# and built into .cache/bin, so nothing but Go is needed on the machine.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

SERVER_TOOLS := tool-temporal-server tool-temporal-sql # not part of tools: no other chore needs them
BIN := bin
CACHE := .cache/bin
export TEMPORAL_CLI := $(CURDIR)/$(CACHE)/temporal

UNIT_PACKAGES = $$(go list ./... | grep -v '/e2e$$' | grep -v '/e2e/')

.PHONY: help
help: ## List these targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build bin/worker, bin/ingest, bin/deadletter and bin/demo
	@mkdir -p $(BIN)
	go build -trimpath -o $(BIN)/ ./cmd/...

.PHONY: demo
demo: tool-temporal build ## Run everything on this machine and watch events arrive
	$(BIN)/demo

.PHONY: test
test: ## Run all tests: unit, then end to end
	$(MAKE) test-unit
	$(MAKE) test-e2e

.PHONY: test-unit
test-unit: tool-temporal tool-workflowcheck ## Run the tests of each package, with the race detector
	$(CACHE)/workflowcheck ./workflows/...
	go test -race $(UNIT_PACKAGES)

.PHONY: test-e2e
test-e2e: tool-temporal build ## Run the built processes against real parts
	go test -p 1 -parallel 4 -count=1 -timeout 20m ./e2e/...

.PHONY: test-kafka
test-kafka: ## The same against Apache Kafka (needs a Java 17 runtime and Maven)
	@for tool in java mvn; do command -v $$tool >/dev/null || { \
		echo "make test-kafka needs $$tool: install a Java 17 runtime and Maven, as with: apt-get install openjdk-17-jre-headless maven" >&2; exit 1; }; done
	E2E_KAFKA=apache $(MAKE) test-e2e

.PHONY: test-postgres
test-postgres: tools-postgres ## Test the Temporal server on PostgreSQL that make bench can run
	TEST_POSTGRES=1 go test -count=1 -run TestTemporalServer ./internal/devstack

.PHONY: lint
lint: tool-golangci-lint ## Check format, vet, linters and go.mod
	@unformatted=$$(gofmt -s -l .); if [ -n "$$unformatted" ]; then \
		echo "not formatted (run gofmt -s -w on them):" >&2; echo "$$unformatted" >&2; exit 1; fi
	go vet ./...
	$(CACHE)/golangci-lint run ./...
	go mod tidy -diff

BACKEND ?= dev

.PHONY: bench
bench: build tools-$(BACKEND) ## Measure the core table; BACKEND=postgres: on a server on PostgreSQL
	go run ./bench -backend $(BACKEND) -doc docs/performance.md

.PHONY: bench-all
bench-all: bench ## The same, then memory and growth
	go run ./bench -backend $(BACKEND) -all -doc docs/performance.md

.PHONY: tools-dev tools-postgres
tools-dev: tool-temporal
tools-postgres: $(SERVER_TOOLS) ## Build the pinned Temporal server and its SQL tool; takes minutes once

TOOLS := tool-temporal tool-golangci-lint tool-workflowcheck

.PHONY: tools
tools: $(TOOLS) ## Build the pinned tools: the Temporal CLI, golangci-lint, workflowcheck

tool-temporal: PACKAGE := github.com/temporalio/cli/cmd/temporal
tool-golangci-lint: PACKAGE := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
tool-workflowcheck: PACKAGE := go.temporal.io/sdk/contrib/tools/workflowcheck

tool-temporal-server: PACKAGE := go.temporal.io/server/cmd/server
tool-temporal-sql: PACKAGE := go.temporal.io/server/cmd/tools/sql

.PHONY: $(TOOLS) $(SERVER_TOOLS)
$(TOOLS) $(SERVER_TOOLS):
	@tools/build $(PACKAGE) "$(CURDIR)/$(CACHE)/$(@:tool-%=%)"

.PHONY: clean
clean: ## Remove what is built; the tools and the go cache stay
	rm -rf $(BIN) coverage.out
