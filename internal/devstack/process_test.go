package devstack_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
)

// Environment variables by which a test starts this test binary as another program: as the process
// under test, or as a process that starts it. The value of the first two is the address of the
// process under test.
const (
	asChild  = "DEVSTACK_CHILD"
	asParent = "DEVSTACK_PARENT"

	asServerParent = "DEVSTACK_SERVER_PARENT" // starts a Temporal server on PostgreSQL
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(asChild); addr != "" {
		os.Exit(runChild(addr))
	}
	if addr := os.Getenv(asParent); addr != "" {
		os.Exit(runParent(addr))
	}
	if os.Getenv(asServerParent) != "" {
		os.Exit(runServerParent())
	}
	os.Exit(m.Run())
}

// runParent starts a child and waits for its end.
func runParent(addr string) int {
	path, err := os.Executable()
	if err != nil {
		return 1
	}
	p, err := devstack.StartProcess(context.Background(), devstack.ProcessOptions{Path: path, Env: []string{asChild + "=" + addr}})
	if err != nil {
		return 1
	}
	<-p.Done()
	return 0
}

// runChild serves /readyz, prints its environment, and ends with 3 on SIGTERM.
func runChild(addr string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	http.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	go func() { _ = http.ListenAndServe(addr, nil) }()
	_, _ = os.Stdout.WriteString(strings.Join(os.Environ(), " ") + "\nserving\n")
	<-ctx.Done()
	_, _ = os.Stderr.WriteString("the last line without an end")
	return 3
}

func startChild(t *testing.T) *devstack.Process { return startAs(t, asChild) }

func startAs(t *testing.T, role string) *devstack.Process {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	port, err := devstack.FreePort(t.Context())
	require.NoError(t, err)
	addr := devstack.Loopback(port)
	p, err := devstack.StartProcess(deadline(t), devstack.ProcessOptions{
		Path: path, Env: []string{role + "=" + addr}, HTTPAddr: addr,
	})
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

func TestProcess_ReadyOutputMemoryAndExitCode(t *testing.T) {
	t.Setenv("LEAKED", "from the test")
	ctx, p := deadline(t), startChild(t)
	require.NoError(t, p.WaitReady(ctx))
	line, err := p.WaitLine(ctx, asChild)
	require.NoError(t, err)
	assert.NotContains(t, line, "LEAKED")
	assert.Contains(t, line, "PATH=")
	if runtime.GOOS == "linux" {
		memory, err := p.RSS()
		require.NoError(t, err)
		assert.Positive(t, memory.Now)
		assert.GreaterOrEqual(t, memory.Peak, memory.Now)
	}
	code, err := p.Stop(ctx)
	require.NoError(t, err)
	assert.Equal(t, 3, code)
	assert.Contains(t, p.Text(), "the last line without an end")

	_, err = p.WaitLine(ctx, "never said")
	require.ErrorContains(t, err, "ended with 3")
	require.ErrorIs(t, p.Signal(syscall.SIGTERM), os.ErrProcessDone)
}

func TestProcess_Kill(t *testing.T) {
	ctx, p := deadline(t), startChild(t)
	require.NoError(t, p.WaitReady(ctx))
	p.Kill()
	code, err := p.Wait(ctx)
	require.NoError(t, err)
	assert.Equal(t, -1, code)
	require.ErrorContains(t, p.WaitReady(ctx), "ended with -1")
}

func TestProcess_EndsWithItsParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a child with its parent")
	}
	ctx, p := deadline(t), startAs(t, asParent)
	require.NoError(t, p.WaitReady(ctx)) // answered by the grandchild
	p.Kill()
	await.True(t, "the end of the grandchild", func() bool {
		_, err := p.Get(ctx, "/readyz")
		return errors.Is(err, syscall.ECONNREFUSED)
	})
}
