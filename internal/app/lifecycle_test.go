// Package app_test starts the processes in one test process.
package app_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	kafkaingest "genesys-fanout/ingest"
	"genesys-fanout/internal/app/ingest"
	"genesys-fanout/internal/app/worker"
	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
	"genesys-fanout/internal/devstack/fixture"
	"genesys-fanout/internal/process"
)

const topic = "events"

// TestLifecycle_BothProcessesStartStopAndStartAgain checks that a process has no state besides its
// Options, by two starts of each in one test process.
func TestLifecycle_BothProcessesStartStopAndStartAgain(t *testing.T) {
	f := fixture.New(t, fixture.Options{Targets: `
targets:
  - name: analytics
    url: $analytics
`})
	ctx := f.Ctx
	kafka, err := devstack.StartKafka(ctx, devstack.KafkaOptions{Dir: t.TempDir(), Topics: map[string]int32{topic: 1}})
	require.NoError(t, err)
	t.Cleanup(kafka.Close)
	problems := &process.Problems{}
	connection := process.ParseTemporal(process.Env{"TEMPORAL_ADDRESS": f.Server.Address()}, problems)
	require.NoError(t, problems.Err())
	log := slog.New(slog.DiscardHandler)

	for round := range 2 {
		workerAddr, ingestAddr := freeAddr(t), freeAddr(t)
		stop := start(ctx, t,
			worker.New(worker.Options{
				TaskQueue: "lifecycle", HTTPAddr: workerAddr, DeadLetters: f.TrackerPath,
				Targets: f.Set, Temporal: connection, Log: log,
			}).Run,
			ingest.New(ingest.Options{
				TaskQueue: "lifecycle", HTTPAddr: ingestAddr, Eager: true, MaxStarts: 16,
				GroupID: "lifecycle", OffsetReset: "earliest", Targets: f.Set, Temporal: connection, Log: log,
				Connect: func(context.Context) (kafkaingest.Connection, error) {
					return kafkaingest.Connection{
						BootstrapServers: kafka.Bootstrap(), SecurityProtocol: "SASL_SSL", SASLMechanism: "SCRAM-SHA-512",
						SASLUsername: kafka.Username(), SASLPassword: kafka.Password(), CALocation: kafka.CAFile(), Topics: []string{topic},
					}, nil
				},
			}).Run)
		for _, addr := range []string{workerAddr, ingestAddr} {
			await.Equal(t, "/readyz of "+addr, http.StatusOK, func() int { return status(ctx, t, "http://"+addr+"/readyz") })
		}
		require.NoError(t, kafka.Produce(ctx, topic, 0, nil, fmt.Appendf(nil, `{"event_id":"evt-%d"}`, round)))
		await.Equal(t, "events at the target", round+1, f.Targets["analytics"].Events)
		stop()
		assert.Zero(t, status(ctx, t, "http://"+workerAddr+"/healthz"), "the worker no longer listens")
	}
	assert.Equal(t, 2, f.Targets["analytics"].Count(), "each event was delivered once")
}

// start runs processes. It returns a function that stops them and asserts that they end
// without an error.
func start(ctx context.Context, t *testing.T, runs ...func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	t.Cleanup(cancel)
	ended := make(chan error, len(runs))
	for _, run := range runs {
		go func() { ended <- run(ctx) }()
	}
	return func() {
		cancel()
		for range runs {
			assert.NoError(t, <-ended)
		}
	}
}

// status returns the HTTP status of a GET request, or 0 if nothing answers.
func status(ctx context.Context, t *testing.T, url string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	require.NoError(t, response.Body.Close())
	return response.StatusCode
}

func freeAddr(t *testing.T) string {
	t.Helper()
	port, err := devstack.FreePort(t.Context())
	require.NoError(t, err)
	return devstack.Loopback(port)
}
