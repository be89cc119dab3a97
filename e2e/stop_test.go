package e2e

import (
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/devstack"
)

// stopLimit is the contract's: the longest target timeout, here the default of
// 5 s, and 10 s.
const stopLimit = 15 * time.Second

// TestStop_EndsInTimeWhilePeersAreSilent: SIGTERM ends both processes with 0
// within one deadline, whatever no longer answers, and with starts and
// deliveries in flight. What was cut off is in the log, and nothing is lost.
func TestStop_EndsInTimeWhilePeersAreSilent(t *testing.T) {
	const (
		queues = `msg="the stop was cut off" limit=15s unfinished="Temporal's task queues"`
		group  = "Kafka did not answer the last commit or the leave of the group in time"
	)
	for name, test := range map[string]struct {
		temporal, kafka bool
		firstAttempts   string   // the process that makes them, and so has them in flight
		cutOff          []string // what ingest says of its stop
	}{
		"temporal":                   {true, false, "ingest", []string{queues}},
		"kafka":                      {false, true, "ingest", []string{group}},
		"temporal and kafka":         {true, true, "ingest", []string{queues, group}},
		"temporal and a busy worker": {true, false, "worker", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kafka, err := devstack.StartKafka(t.Context(), devstack.KafkaOptions{Dir: t.TempDir(), Backend: devstack.BackendKfake})
			require.NoError(t, err)
			t.Cleanup(kafka.Close)
			slow := func(devstack.Request) devstack.Answer {
				return devstack.Answer{Status: http.StatusOK, Delay: 3 * time.Second}
			}
			s := newStackOn(t, shared.temporal, kafka, targetScripts{"analytics": slow}, oneTarget)
			proxy := s.proxy()
			behind := "TEMPORAL_ADDRESS=" + proxy.Address()
			eager := fmt.Sprintf("FANOUT_EAGER_START=%t", test.firstAttempts == "ingest")
			worker, ingest := s.run("worker", behind), s.run("ingest", behind, eager)
			s.publish(0, 200)
			s.waitFor("analytics", hasEvents(10))

			if test.temporal {
				proxy.Silence()
			}
			if test.kafka {
				require.NoError(t, kafka.Silence())
			}
			began := time.Now()
			for _, p := range []*devstack.Process{ingest, worker} {
				require.NoError(t, p.Signal(syscall.SIGTERM))
			}
			for _, p := range []*devstack.Process{ingest, worker} {
				code, err := p.Wait(s.ctx)
				require.NoError(t, err)
				assert.Zero(t, code, p.Text())
			}
			assert.Less(t, time.Since(began), stopLimit)
			for _, part := range test.cutOff {
				assert.Contains(t, ingest.Text(), part)
			}

			proxy.EndSilence()
			kafka.EndSilence()
			s.run("worker")
			s.run("ingest")
			s.atLeastOnce("analytics", 200)
			s.waitCommitted(200)
		})
	}
}
