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

// TemporalOnPostgres is a Temporal server with a PostgreSQL server of its own, both on this machine
// and with their default durability. It serves Namespace.
type TemporalOnPostgres struct {
	Temporal        // for the address, the clients and the process
	server   string // path of the binary
	postgres *postgres
	dir      string
	ports    [9]int // of the services

	// Faults is a fault injection of the server's persistence, as the value of faultInjection in the
	// server's configuration; empty for none. The next Start applies it.
	Faults string
}

// Outages are the ways in which a part can fail as a whole.
type Outages interface {
	Kill()                          // end it as a crash does
	Stop(ctx context.Context) error // end it in order
	Start(ctx context.Context) error
	Pause() error // stop it by SIGSTOP
	Resume() error
}

// Database returns the PostgreSQL server, whose outages are not those of the Temporal server.
func (s *TemporalOnPostgres) Database() Outages { return s.postgres }

const (
	// historyShards is the default of Temporal's images.
	historyShards = 4

	// retention of the namespace. It is the shortest that Temporal allows.
	retention = 24 * time.Hour

	buildServer = "make tools-postgres"

	storeDatabase, visibilityDatabase = "temporal", "temporal_visibility"
)

// StartTemporalOnPostgres starts both servers, with their data in a temporary folder. If a program is
// missing, the error says what to install or to build.
func StartTemporalOnPostgres(ctx context.Context) (_ *TemporalOnPostgres, err error) {
	s := &TemporalOnPostgres{}
	if s.server, err = tool("temporal-server", buildServer); err != nil {
		return nil, err
	}
	sql, err := tool("temporal-sql", buildServer)
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
		if err := s.createDatabase(ctx, sql, database, "postgresql/v12/"+schema); err != nil {
			return nil, err
		}
	}
	for i := range s.ports {
		if s.ports[i], err = FreePort(ctx); err != nil {
			return nil, err
		}
	}
	s.options.Port = s.ports[0]
	return s, s.Start(ctx)
}

// Start starts the Temporal server again after Kill or Stop, with the same ports and database, and
// waits until the server serves its namespace. It does nothing if the server runs.
func (s *TemporalOnPostgres) Start(ctx context.Context) error {
	if s.process != nil {
		return nil
	}
	if err := os.WriteFile(filepath.Join(s.dir, "server.yaml"), []byte(s.configuration()), 0o600); err != nil {
		return err
	}
	process, err := StartProcess(ctx, ProcessOptions{
		Path: s.server, Args: []string{"--root", s.dir, "--config", ".", "--env", "server", "--allow-no-auth", "start"},
	})
	if err != nil {
		return err
	}
	s.process = process
	if err := s.createNamespace(ctx); err != nil {
		s.Kill()
		return err
	}
	return nil
}

// createDatabase creates a database with a schema. sql is the path of Temporal's SQL tool.
func (s *TemporalOnPostgres) createDatabase(ctx context.Context, sql, database, schema string) error {
	for _, args := range [][]string{
		{"create-database"},
		{"setup-schema", "--version", "0.0"},
		{"update-schema", "--schema-name", schema},
	} {
		command := exec.CommandContext(ctx, sql, append([]string{
			"--plugin", "postgres12", "--endpoint", loopback, "--port", strconv.Itoa(s.postgres.port),
			"--user", postgresUser, "--password", "none", "--database", database,
		}, args...)...)
		command.Env = withDefaults(nil) // without SQL_TLS and other settings for the tool in the environment
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("%s of database %s: %w:\n%s", args[0], database, err, out)
		}
	}
	return nil
}

// configuration returns the server's configuration. It is Temporal's own example for PostgreSQL,
// without archival.
func (s *TemporalOnPostgres) configuration() string {
	ports, faults := s.ports, ""
	if s.Faults != "" {
		faults = "faultInjection: " + s.Faults + ", "
	}
	store := func(database, faults string, connections int) string {
		return fmt.Sprintf("{%ssql: {pluginName: postgres12, databaseName: %s, connectAddr: %q, connectProtocol: tcp, user: %s, password: none, maxConns: %d, maxIdleConns: %d, maxConnLifetime: 1h}}",
			faults, database, Loopback(s.postgres.port), postgresUser, connections, connections)
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
`, historyShards, store(storeDatabase, faults, 20), store(visibilityDatabase, "", 10),
		ports[0], ports[1], ports[2], ports[3], ports[4], ports[5], ports[6], ports[7], ports[8],
		Loopback(ports[0]), Loopback(ports[0]))
}

// createNamespace waits until the server is up, creates the namespace if it does not exist, and waits
// until the server serves it.
func (s *TemporalOnPostgres) createNamespace(ctx context.Context) error {
	if err := s.process.awaitSuccess(ctx, "namespace "+Namespace, s.registerNamespace); err != nil {
		return err
	}
	return s.awaitNamespace(ctx)
}

func (s *TemporalOnPostgres) registerNamespace(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	c, err := client.NewNamespaceClient(client.Options{HostPort: s.Address()})
	if err != nil {
		return err
	}
	defer c.Close()
	err = c.Register(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: Namespace, WorkflowExecutionRetentionPeriod: durationpb.New(retention),
	})
	if _, ok := errors.AsType[*serviceerror.NamespaceAlreadyExists](err); ok {
		return nil
	}
	return err
}

// CPU returns the processor time that the server and its database have used so far.
func (s *TemporalOnPostgres) CPU() (time.Duration, error) {
	server, err := s.Temporal.CPU()
	if err != nil {
		return 0, err
	}
	database, err := s.postgres.cpu()
	return server + database, err
}

// Writes are the transactions that PostgreSQL has committed, and the rows that they wrote, in both of
// Temporal's databases.
type Writes struct {
	Transactions              int64
	Inserts, Updates, Deletes int64 // rows
}

// Rows returns the number of rows that were inserted, updated or deleted.
func (w Writes) Rows() int64 { return w.Inserts + w.Updates + w.Deletes }

// WritesReportedAfter is the time after a write until Writes is sure to count it. A session of
// PostgreSQL reports its statistics at most once a second. It reports what it has kept back when it
// works again, or when it has been idle for 10 s. Most of the server's sessions are idle when the
// load ends, so the time is these 10 s and one more for the report.
const WritesReportedAfter = 11 * time.Second

// Writes reads PostgreSQL's statistics, which lag by up to WritesReportedAfter. The Temporal server
// deletes finished tasks in batches, so the deletes of half a minute may be those of earlier events,
// or none.
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

// Dump writes Temporal's databases into files, as a backup does, and returns their folder.
func (s *TemporalOnPostgres) Dump(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp(s.dir, "dump-")
	if err != nil {
		return "", err
	}
	for _, database := range []string{storeDatabase, visibilityDatabase} {
		if _, err := s.postgres.run(ctx, "pg_dump", "-Fc", "-d", database, "-f", filepath.Join(dir, database)); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// Restore replaces Temporal's databases by those of a dump. The Temporal server must not run.
func (s *TemporalOnPostgres) Restore(ctx context.Context, dump string) error {
	for _, database := range []string{storeDatabase, visibilityDatabase} {
		for _, statement := range []string{"DROP DATABASE %s WITH (FORCE)", "CREATE DATABASE %s"} {
			if _, err := s.postgres.query(ctx, "postgres", fmt.Sprintf(statement, database)); err != nil {
				return err
			}
		}
		if _, err := s.postgres.run(ctx, "pg_restore", "-d", database, filepath.Join(dump, database)); err != nil {
			return err
		}
	}
	return nil
}

// Close ends both servers and removes their data.
func (s *TemporalOnPostgres) Close() {
	s.Temporal.Close()
	if s.postgres != nil {
		_ = s.postgres.Resume() // else a paused server would not end
		s.postgres.Kill()
	}
	_ = os.RemoveAll(s.dir)
}
