package devstack_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
	"genesys-fanout/internal/process"
)

// needsPostgres skips a test unless TEST_POSTGRES is set, because the test needs PostgreSQL and a
// Temporal server that takes long to build.
func needsPostgres(t *testing.T) {
	t.Helper()
	if os.Getenv("TEST_POSTGRES") == "" {
		t.Skip("TEST_POSTGRES is not set: make test-postgres sets it")
	}
}

func startTemporalOnPostgres(t *testing.T) *devstack.TemporalOnPostgres {
	t.Helper()
	server, err := devstack.StartTemporalOnPostgres(deadline(t))
	require.NoError(t, err)
	t.Cleanup(server.Close)
	return server
}

const greetings = "greetings" // a task queue

func greet(_ workflow.Context, name string) (string, error) { return "hello " + name, nil }

func TestTemporalOnPostgres_KeepsItsRunsAfterAKill(t *testing.T) {
	needsPostgres(t)
	ctx, server := deadline(t), startTemporalOnPostgres(t)
	address := server.Address()
	c, err := server.Client(ctx)
	require.NoError(t, err)
	defer c.Close()

	greeter := worker.New(c, greetings, worker.Options{})
	greeter.RegisterWorkflow(greet)
	require.NoError(t, greeter.Start())
	done, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "done", TaskQueue: greetings}, greet, "you")
	require.NoError(t, err, "StartTemporalOnPostgres returns when the server accepts a start")
	var said string
	require.NoError(t, done.Get(ctx, &said))
	assert.Equal(t, "hello you", said)
	greeter.Stop()

	kind := temporal.NewSearchAttributeKeyKeyword("Kind")
	usable, err := process.EnsureSearchAttributes(ctx, c, devstack.Namespace, []temporal.SearchAttributeKey{kind}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.True(t, usable.Usable())
	open, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: "open", TaskQueue: greetings, TypedSearchAttributes: temporal.NewSearchAttributes(kind.ValueSet("kept")),
	}, greet, "again")
	require.NoError(t, err)

	server.Kill()
	_, err = server.Client(ctx)
	require.Error(t, err)
	require.NoError(t, server.Start(ctx))
	require.NoError(t, server.Start(ctx), "Start of a running server")
	assert.Equal(t, address, server.Address())

	require.NoError(t, c.GetWorkflow(ctx, "done", done.GetRunID()).Get(ctx, &said))
	await.True(t, "the open run in the list of runs", func() bool {
		found, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: `Kind = "kept" AND ExecutionStatus = "Running"`})
		return err == nil && len(found.GetExecutions()) == 1 && found.GetExecutions()[0].GetExecution().GetRunId() == open.GetRunID()
	})
	greeter = worker.New(c, greetings, worker.Options{})
	greeter.RegisterWorkflow(greet)
	require.NoError(t, greeter.Start())
	defer greeter.Stop()
	require.NoError(t, open.Get(ctx, &said), "the server continues an open run")
	assert.Equal(t, "hello again", said)

	used, err := server.CPU()
	require.NoError(t, err)
	assert.Positive(t, used)
}

func TestTemporalOnPostgres_CountsItsWrites(t *testing.T) {
	needsPostgres(t)
	ctx, server := deadline(t), startTemporalOnPostgres(t)
	c, err := server.Client(ctx)
	require.NoError(t, err)
	defer c.Close()
	before, err := server.Writes(ctx)
	require.NoError(t, err)
	const runs = 200
	for i := range runs {
		_, err = c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: fmt.Sprint("run-", i), TaskQueue: "nobody-polls"}, "Any")
		require.NoError(t, err)
	}
	// A start writes at least eight rows: the current execution, the execution, the tree and the node
	// of its history, two tasks of its shard, a task of its queue, and its visibility.
	const rowsOfStart = 8
	var rows, transactions int64
	assert.Eventually(t, func() bool {
		after, err := server.Writes(ctx)
		rows, transactions = after.Inserts-before.Inserts, after.Transactions-before.Transactions
		return err == nil && rows >= runs*rowsOfStart && transactions > runs
	}, devstack.WritesReportedAfter+3*time.Second, 100*time.Millisecond) // the server may need 3 s for the writes that follow a start
	assert.GreaterOrEqual(t, rows, int64(runs*rowsOfStart))
	t.Logf("%d runs: %d transactions, %d rows inserted", runs, transactions, rows)
}

// runServerParent starts a Temporal server on PostgreSQL and waits until it is killed.
func runServerParent() int {
	if _, err := devstack.StartTemporalOnPostgres(context.Background()); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("serving")
	select {}
}

// PostgreSQL removes its lock file and its shared memory when a signal asks it to end, but not when
// SIGKILL ends it.
func TestTemporalOnPostgres_PostgresEndsOrderlyWithItsParent(t *testing.T) {
	needsPostgres(t)
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a child with its parent")
	}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755)) // PostgreSQL may run as another user
	path, err := os.Executable()
	require.NoError(t, err)
	ctx := deadline(t)
	parent, err := devstack.StartProcess(ctx, devstack.ProcessOptions{Path: path, Env: []string{asServerParent + "=1", "TMPDIR=" + dir}})
	require.NoError(t, err)
	t.Cleanup(parent.Close)
	_, err = parent.WaitLine(ctx, "serving")
	require.NoError(t, err)
	lock, err := filepath.Glob(filepath.Join(dir, "*", "postgres", "postmaster.pid"))
	require.NoError(t, err)
	require.Len(t, lock, 1)
	parent.Kill()
	await.True(t, "the end of PostgreSQL", func() bool {
		_, err := os.Stat(lock[0])
		return os.IsNotExist(err)
	})
}
