package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestExitStatus_FollowsFromTheError(t *testing.T) {
	usage := &Problems{}
	usage.Add("A", "is bad", "change it")
	usage.Add("B", "is bad", "change it")
	for name, test := range map[string]struct {
		err      error
		signaled bool
		status   int
		stderr   string
	}{
		"done":                      {status: 0},
		"failure":                   {err: errors.New("boom"), status: 1, stderr: "worker: boom\n"},
		"failure of a kind":         {err: fmt.Errorf("start: %w", &ExitError{Code: 1, Err: errors.New("boom")}), status: 1, stderr: "worker: start: boom\n"},
		"settings":                  {err: usage.Err(), status: 2, stderr: "A: is bad; change it\nB: is bad; change it\n"},
		"stopped while starting":    {err: fmt.Errorf("dial: %w", context.Canceled), signaled: true, status: 0},
		"canceled without a signal": {err: context.Canceled, status: 1, stderr: "worker: context canceled\n"},
		"failure while stopping":    {err: errors.New("boom"), signaled: true, status: 1, stderr: "worker: boom\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			assert.Equal(t, test.status, exitStatus("worker", &stderr, test.err, test.signaled))
			assert.Equal(t, test.stderr, stderr.String())
		})
	}
}

func TestSupervise_FirstSignalStopsAndSecondSignalKills(t *testing.T) {
	signals := make(chan os.Signal)
	killed := make(chan int, 1)
	exit := func(status int) { killed <- status }
	status := supervise("worker", signals, exit, &bytes.Buffer{}, func(ctx context.Context) error {
		require.NoError(t, ctx.Err())
		signals <- syscall.SIGTERM
		<-ctx.Done()
		require.Empty(t, killed)
		signals <- syscall.SIGINT
		assert.Equal(t, ExitFailure, <-killed)
		return nil
	})
	assert.Equal(t, ExitDone, status)
}

func TestProcessMain_CancelsItsContextOnSIGTERM(t *testing.T) {
	assert.Equal(t, ExitDone, Main("worker", func(ctx context.Context) error {
		require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGTERM))
		<-ctx.Done()
		return nil
	}))
}

func TestVersion_IsTheReleaseOrTheCommit(t *testing.T) {
	info := func(version string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: settings}
	}
	commit, dirty := debug.BuildSetting{Key: "vcs.revision", Value: "abc"}, debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	assert.Equal(t, "v1.2.3", versionOf("v1.2.3", info("v0.0.1")))
	assert.Equal(t, "v0.0.1", versionOf("", info("v0.0.1", commit)))
	assert.Equal(t, "abc", versionOf("", info("(devel)", commit)))
	assert.Equal(t, "abc+dirty", versionOf("", info("", commit, dirty)))
	assert.Equal(t, "devel", versionOf("", info("")))
	assert.Equal(t, "unknown", versionOf("", nil))
}
