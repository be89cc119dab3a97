# The developer's commands; `make help` lists them. The tools are pinned in tools/go.mod and
# built into .cache/bin, so the machine needs only Go, gcc and make.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

SERVER_TOOLS := tool-temporal-server tool-temporal-sql
# The modules beside the main one. They are separate so that the product does not depend on
# the modules that only they import. genesyssdk is not in this list, because some module
# mirrors do not serve its SDK.
MODULES := bench chaos deploy tools/screenshots
BIN := bin
CACHE := .cache/bin
export TEMPORAL_CLI := $(CURDIR)/$(CACHE)/temporal
# Build each module with the versions in its own go.mod.
export GOWORK := off

UNIT_PACKAGES = $$(go list ./... | grep -v '/e2e$$' | grep -v '/e2e/')

.PHONY: help
help: ## List these targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-15s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build bin/worker, bin/ingest, bin/deadletter and bin/demo
	@mkdir -p $(BIN)
	go build -trimpath -o $(BIN)/ ./cmd/...

.PHONY: build-failpoints
build-failpoints: ## Build the binaries with failpoints into bin/failpoints, for make chaos
	@mkdir -p $(BIN)/failpoints
	go build -trimpath -tags failpoints -o $(BIN)/failpoints/ ./cmd/worker ./cmd/ingest ./cmd/deadletter

.PHONY: demo
demo: build ## Run everything on this machine and watch events arrive
	@cli=$$(tools/demo-temporal) && TEMPORAL_CLI=$$cli $(BIN)/demo

.PHONY: test
test: ## Run all tests: unit, then end to end
	$(MAKE) test-unit
	$(MAKE) test-e2e

.PHONY: test-unit
test-unit: tool-temporal tool-workflowcheck ## Run the tests of each package, with the race detector
	$(CACHE)/workflowcheck ./workflows/...
	go test -race -timeout 30m $(UNIT_PACKAGES)
	for module in $(MODULES); do go -C $$module test ./...; done

.PHONY: test-e2e
test-e2e: tool-temporal build ## Run the built processes against real parts
	go test -p 1 -parallel 4 -count=1 -timeout 30m ./e2e/...

# If the SDK can be downloaded, the same tests run against it: cd genesyssdk && go test ./...
# go mod tidy is not run here, because it needs the SDK, which some module mirrors do not
# serve. Instead, a test compares genesyssdk/go.mod with the versions that are built.
.PHONY: test-genesyssdk
test-genesyssdk: ## Vet, test and build ingest on the Genesys SDK, with a stand-in for the SDK
	cd genesyssdk/standin && go vet ./...
	cd genesyssdk && export GOWORK="$$PWD/standin.work" && \
		go vet ./... && go test -race ./... && go build -o /dev/null ./cmd/ingest

.PHONY: test-kafka
test-kafka: ## Run the end-to-end tests on Apache Kafka (needs a Java 17 runtime and Maven)
	@for tool in java mvn; do command -v $$tool >/dev/null || { \
		echo "make test-kafka needs $$tool: install a Java 17 runtime and Maven, for example with: apt-get install openjdk-17-jre-headless maven" >&2; exit 1; }; done
	E2E_KAFKA=apache $(MAKE) test-e2e

.PHONY: test-postgres
test-postgres: tools-postgres ## Test the Temporal server on PostgreSQL that make bench BACKEND=postgres uses
	TEST_POSTGRES=1 go test -count=1 -run TestTemporalOnPostgres ./internal/devstack

.PHONY: lint
lint: tool-golangci-lint ## Check format, vet, linters and go.mod
	for module in . $(MODULES); do \
		(cd $$module && go vet ./... && $(CURDIR)/$(CACHE)/golangci-lint run ./... && go mod tidy -diff); done
	cd genesyssdk && GOWORK="$$PWD/standin.work" $(CURDIR)/$(CACHE)/golangci-lint run ./...
	cd genesyssdk/standin && $(CURDIR)/$(CACHE)/golangci-lint run ./...

.PHONY: fmt
fmt: tool-golangci-lint ## Format every module, and fix what the linters can fix
	for module in . $(MODULES); do (cd $$module && \
		$(CURDIR)/$(CACHE)/golangci-lint run --fix ./... && $(CURDIR)/$(CACHE)/golangci-lint fmt ./...); done

.PHONY: tidy
tidy: ## Tidy go.mod and go.sum of every module
	for module in . $(MODULES); do (cd $$module && go mod tidy); done

FUZZTIME ?= 10s

.PHONY: fuzz
fuzz: ## Run each fuzzer for FUZZTIME (default 10s)
	for package in $$(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./event ./target ./fanout ./deadletter ./internal/...); do \
		for fuzzer in $$(go test -list '^Fuzz' "$$package" | grep '^Fuzz' || true); do \
			echo "$$package $$fuzzer"; go test -run '^$$' -fuzz "^$$fuzzer\$$" -fuzztime $(FUZZTIME) "$$package"; done; done

# CHAOS are flags of the program, such as "-seed 7 -faults kill,pause" or "-list".
CHAOS ?=

.PHONY: chaos
chaos: build-failpoints tool-temporal ## Inject faults into every part and audit each event (10 minutes; root, Java and PostgreSQL for all)
	if compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null; then $(MAKE) tools-postgres; fi
	go build -C chaos -trimpath -o "$(CURDIR)/$(BIN)/chaos" .
	$(BIN)/chaos $(CHAOS)

BACKEND ?= dev

.PHONY: bench
bench: build-bench tools-$(BACKEND) ## Measure the core table (BACKEND=postgres: with Temporal on PostgreSQL)
	$(BIN)/bench -backend $(BACKEND) -doc docs/performance.md

.PHONY: bench-all
bench-all: bench bench-records ## Measure the tables core, records and growth
	$(BIN)/bench -backend $(BACKEND) -table growth -doc docs/performance.md

.PHONY: bench-records
bench-records: build-bench tools-$(BACKEND) ## Measure the command deadletter with 100,000 records
	$(BIN)/bench -backend $(BACKEND) -table records -doc docs/performance.md

BEFORE ?=

.PHONY: bench-change
bench-change: build-bench tools-$(BACKEND) ## Compare with the binaries of an earlier commit (BEFORE=their folder)
	$(BIN)/bench -backend $(BACKEND) -table change -before "$(BEFORE)"

.PHONY: build-bench
build-bench: build
	go build -C bench -trimpath -o "$(CURDIR)/$(BIN)/bench" .

.PHONY: screenshots
screenshots: ## Take the pictures in docs/img of Temporal UI, from the demo (needs chromium)
	@command -v chromium >/dev/null || { \
		echo "make screenshots needs chromium: install it, for example with: apt-get install chromium" >&2; exit 1; }
	$(MAKE) tool-temporal build
	go build -C tools/screenshots -trimpath -o "$(CURDIR)/$(BIN)/screenshots" .
	$(BIN)/screenshots

.PHONY: tools-dev tools-postgres
tools-dev: tool-temporal
tools-postgres: $(SERVER_TOOLS) ## Build the pinned Temporal server and its SQL tool; takes minutes once

.PHONY: vulncheck
vulncheck: tool-govulncheck ## Look for known vulnerabilities (asks the Go vulnerability database)
	for module in . $(MODULES); do (cd $$module && $(CURDIR)/$(CACHE)/govulncheck ./...); done

TOOLS := tool-temporal tool-golangci-lint tool-workflowcheck
OTHER_TOOLS := tool-govulncheck $(SERVER_TOOLS) # each is built by the one target that needs it

.PHONY: tools
tools: $(TOOLS) ## Build the pinned tools: the Temporal CLI, golangci-lint, workflowcheck

tool-temporal: PACKAGE := github.com/temporalio/cli/cmd/temporal
tool-golangci-lint: PACKAGE := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
tool-workflowcheck: PACKAGE := go.temporal.io/sdk/contrib/tools/workflowcheck

tool-temporal-server: PACKAGE := go.temporal.io/server/cmd/server
tool-temporal-sql: PACKAGE := go.temporal.io/server/cmd/tools/sql

tool-govulncheck: PACKAGE := golang.org/x/vuln/cmd/govulncheck

.PHONY: $(TOOLS) $(OTHER_TOOLS)
$(TOOLS) $(OTHER_TOOLS):
	@tools/build $(PACKAGE) "$(CURDIR)/$(CACHE)/$(@:tool-%=%)"

.PHONY: clean
clean: ## Remove the built binaries; the tools and the Go cache stay
	rm -rf $(BIN) coverage.out
