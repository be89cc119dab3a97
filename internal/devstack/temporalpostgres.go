package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"
)

// TemporalOnPostgres is a Temporal server on a PostgreSQL of its own, all on this
// machine, with the durability that both have by default. It serves Namespace.
type TemporalOnPostgres struct {
	Temporal        // its address and its clients
	server   string // path of the binary
	postgres *postgres
	dir      string
}

const (
	// historyShards is what Temporal's own images take.
	historyShards = 4

	// serverRetention of the one namespace: the least there is.
	serverRetention = 24 * time.Hour

	toolsCure = "make tools-postgres"

	storeDatabase, visibilityDatabase = "temporal", "temporal_visibility"
)

// StartTemporalOnPostgres starts both, with their data in a temporary folder. The
// error says what to install or to build where something is missing.
func StartTemporalOnPostgres(ctx context.Context) (_ *TemporalOnPostgres, err error) {
	s := &TemporalOnPostgres{}
	if s.server, err = tool("temporal-server", toolsCure); err != nil {
		return nil, err
	}
	sql, err := tool("temporal-sql", toolsCure)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "fanout-temporal-"); err != nil {
		return nil, err
	}
	if s.postgres, err = startPostgres(ctx, s.dir); err != nil {
		return nil, err
	}
	for database, schema := range map[string]string{storeDatabase: "temporal", visibilityDatabase: "visibility"} {
		if err := s.makeDatabase(ctx, sql, database, "postgresql/v12/"+schema); err != nil {
			return nil, err
		}
	}
	config, err := s.configure(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(s.dir, "server.yaml"), []byte(config), 0o600); err != nil {
		return nil, err
	}
	return s, s.Start(ctx)
}

// Start starts the server again after Kill, on the same ports and database, and
// waits until it serves its namespace. It does nothing on a running server.
func (s *TemporalOnPostgres) Start(ctx context.Context) error {
	if s.process != nil {
		return nil
	}
	process, err := StartProcess(ctx, ProcessOptions{
		Path: s.server, Args: []string{"--root", s.dir, "--config", ".", "--env", "server", "--allow-no-auth", "start"},
	})
	if err != nil {
		return err
	}
	s.process = process
	if err := s.makeNamespace(ctx); err != nil {
		s.Kill()
		return err
	}
	return nil
}

func (s *TemporalOnPostgres) makeDatabase(ctx context.Context, sql, database, schema string) error {
	for _, args := range [][]string{
		{"create-database"},
		{"setup-schema", "--version", "0.0"},
		{"update-schema", "--schema-name", schema},
	} {
		command := exec.CommandContext(ctx, sql, append([]string{
			"--plugin", "postgres12", "--endpoint", loopback, "--port", strconv.Itoa(s.postgres.port),
			"--user", postgresUser, "--password", "none", "--database", database,
		}, args...)...)
		command.Env = withDefaults(nil) // SQL_TLS and the like are not meant for this one
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("%s of database %s: %w:\n%s", args[0], database, err, out)
		}
	}
	return nil
}

// configure chooses the ports and writes the configuration: as Temporal's own
// example for PostgreSQL has it, without archival.
func (s *TemporalOnPostgres) configure(ctx context.Context) (string, error) {
	var ports [9]int
	for i := range ports {
		var err error
		if ports[i], err = FreePort(ctx); err != nil {
			return "", err
		}
	}
	s.options.Port = ports[0]
	store := func(database string, connections int) string {
		return fmt.Sprintf("{sql: {pluginName: postgres12, databaseName: %s, connectAddr: %q, connectProtocol: tcp, user: %s, password: none, maxConns: %d, maxIdleConns: %d, maxConnLifetime: 1h}}",
			database, Loopback(s.postgres.port), postgresUser, connections, connections)
	}
	return fmt.Sprintf(`log: {stdout: true, level: error}
persistence:
  defaultStore: store
  visibilityStore: visibility
  numHistoryShards: %d
  datastores:
    store: %s
    visibility: %s
global:
  membership: {maxJoinDuration: 30s, broadcastAddress: 127.0.0.1}
services:
  frontend: {rpc: {grpcPort: %d, httpPort: %d, membershipPort: %d, bindOnLocalHost: true}}
  matching: {rpc: {grpcPort: %d, membershipPort: %d, bindOnLocalHost: true}}
  history: {rpc: {grpcPort: %d, membershipPort: %d, bindOnLocalHost: true}}
  worker: {rpc: {grpcPort: %d, membershipPort: %d, bindOnLocalHost: true}}
clusterMetadata:
  enableGlobalNamespace: false
  failoverVersionIncrement: 10
  masterClusterName: active
  currentClusterName: active
  clusterInformation:
    active: {enabled: true, initialFailoverVersion: 1, rpcName: frontend, rpcAddress: %q}
dcRedirectionPolicy: {policy: noop}
publicClient: {hostPort: %q}
`, historyShards, store(storeDatabase, 20), store(visibilityDatabase, 10),
		ports[0], ports[1], ports[2], ports[3], ports[4], ports[5], ports[6], ports[7], ports[8],
		Loopback(ports[0]), Loopback(ports[0])), nil
}

// makeNamespace waits until the server is up and serves the namespace.
func (s *TemporalOnPostgres) makeNamespace(ctx context.Context) error {
	if err := s.process.awaitAnswer(ctx, "namespace "+Namespace, s.register); err != nil {
		return err
	}
	return s.waitServed(ctx)
}

func (s *TemporalOnPostgres) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	c, err := client.NewNamespaceClient(client.Options{HostPort: s.Address()})
	if err != nil {
		return err
	}
	defer c.Close()
	err = c.Register(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: Namespace, WorkflowExecutionRetentionPeriod: durationpb.New(serverRetention),
	})
	if _, ok := errors.AsType[*serviceerror.NamespaceAlreadyExists](err); ok {
		return nil
	}
	return err
}

// CPU is the processor time that the server and its database have used so far.
func (s *TemporalOnPostgres) CPU() (time.Duration, error) {
	server, err := s.Temporal.CPU()
	if err != nil {
		return 0, err
	}
	database, err := s.postgres.cpu()
	return server + database, err
}

// Writes is what the database has committed so far.
type Writes struct {
	Transactions              int64
	Inserts, Updates, Deletes int64 // rows, of both of Temporal's databases
}

// Rows is the number of rows written, however.
func (w Writes) Rows() int64 { return w.Inserts + w.Updates + w.Deletes }

// WritesReportedAfter is how long after a write Writes surely counts it. A session
// of PostgreSQL reports at most once a second, and what it held back when it next
// works or has been idle for 10 s: 10 s, and one for the reporting. Most of the
// server's sessions idle once the load ends.
const WritesReportedAfter = 11 * time.Second

// Writes reads PostgreSQL's own statistics, which lag by up to WritesReportedAfter.
// The server deletes finished tasks in sweeps, so the deletes of half a minute may
// be those of other events, or none.
func (s *TemporalOnPostgres) Writes(ctx context.Context) (Writes, error) {
	row, err := s.postgres.query(ctx, "postgres",
		"select sum(xact_commit)::text, sum(tup_inserted)::text, sum(tup_updated)::text, sum(tup_deleted)::text from pg_stat_database where datname like 'temporal%'")
	if err != nil {
		return Writes{}, err
	}
	var w Writes
	if _, err := fmt.Sscanf(row, "%d|%d|%d|%d", &w.Transactions, &w.Inserts, &w.Updates, &w.Deletes); err != nil {
		return Writes{}, fmt.Errorf("read PostgreSQL's statistics %q: %w", row, err)
	}
	return w, nil
}

// Close ends the server and its database, and removes their data.
func (s *TemporalOnPostgres) Close() {
	s.Temporal.Close()
	if s.postgres != nil {
		s.postgres.close()
	}
	_ = os.RemoveAll(s.dir)
}
